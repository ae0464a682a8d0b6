"""Chromium without a window, driven by Selenium, with a camera that plays a file."""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from keras_r3d.export.web.serving import open_server

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # A test drives it alone, and is not to wait because nobody looks.
    *("--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows"),
)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves a folder as `python -m keras_r3d.web` does; gives its address."""
    with open_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def chromium(*flags: str, camera: Path | None = None, size: Sequence[int] = (1280, 900)):
    """Gives a driver; `camera` is the .y4m file that its camera plays, again and again."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        if camera is not None:
            options.add_argument("--use-fake-ui-for-media-stream")
            options.add_argument("--use-fake-device-for-media-stream")
            options.add_argument(f"--use-file-for-fake-video-capture={camera}")
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options, service)
        driver.set_script_timeout(60)
        try:
            yield driver
        finally:
            driver.quit()


def write_camera(path: Path, frames: Sequence[np.ndarray], fps: float) -> Path:
    """Writes frames, BGR, as the file of a camera."""
    height, width = frames[0].shape[:2]
    with path.with_suffix(".part").open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{round(1000 * fps)}:1000 Ip C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path.with_suffix(".part").replace(path)


def until(driver, script: str, seconds: float = 30.0):
    """Waits until a JavaScript expression is true; returns it."""
    end = time.monotonic() + seconds
    while not (value := driver.execute_script(f"return {script}")):
        assert time.monotonic() < end, f"{script}: {driver.find_element('id', 'status').text}"
        time.sleep(0.05)
    return value


def scores(driver) -> dict[str, float]:
    """Returns the scores that the bars show, by class."""
    return driver.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.bar')].map("
        "bar => [bar.firstChild.textContent, bar.querySelector('meter').value]))"
    )


def drop(driver, path: Path) -> None:
    """Chooses a video file in the page."""
    driver.find_element("id", "file").send_keys(str(path))


def problems(driver) -> list[str]:
    """Returns what the browser's console has, but for warnings."""
    return [row["message"] for row in driver.get_log("browser") if row["level"] == "SEVERE"]
