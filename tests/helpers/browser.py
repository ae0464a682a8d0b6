"""Chromium without a window, driven by Selenium, with a camera that plays a file."""

import contextlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.export.web.serving import open_server

HTML = "<img src=x onerror=alert(1)>"  # name of a class, which must stay text
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves a folder as `python -m keras_r3d.web` does; gives its address."""
    with open_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


class Page:
    """A page in Chromium. Whatever it does, its console must stay empty: `close` asserts it.

    Args:
        camera: a file of `write_camera`, which its camera plays again and again; None is no camera.
        gpu: has WebGPU, computed by the CPU.
        flags: of Chromium.
        files: folder that it saves files in.
    """

    def __init__(
        self,
        address: str,
        *,
        camera: Path | None = None,
        gpu: bool = False,
        flags: Sequence[str] = (),
        files: Path | None = None,
        size: tuple[int, int] = (1280, 900),
    ):
        from selenium import webdriver

        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or "chromium"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if files is not None:
            saved = {"download.default_directory": str(files)}
            options.add_experimental_option("prefs", saved)
        flags = [*_FLAGS, *flags, f"--user-data-dir={self._profile.name}"]
        software = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
        flags += software if gpu else ["--disable-gpu"]
        if camera is not None:
            flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
            flags += [f"--use-file-for-fake-video-capture={camera}"]
        for flag in flags:
            options.add_argument(flag)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options, service)
        self.resize(*size)
        self.driver.get(address)

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, kind, *_) -> None:
        rows = [
            row["message"] for row in self.driver.get_log("browser") if row["level"] == "SEVERE"
        ]
        self.driver.quit()
        self._profile.cleanup()
        assert kind is not None or not rows, rows

    def resize(self, width: int, height: int) -> None:
        """Makes the window as wide as a phone's or a computer's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def sleep(self, seconds: float, *, frozen: bool) -> None:
        """Puts the tab behind another one for a while, where it may also be frozen."""
        import websocket  # which Selenium brings; its own commands would bring the tab to the front

        tab = self.driver.current_window_handle
        host = self.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        address = f"ws://{host}/devtools/page/{tab}"
        self.driver.switch_to.new_window("tab")
        with contextlib.closing(
            websocket.create_connection(address, suppress_origin=True)
        ) as tools:
            for state in ("frozen", "active") if frozen else ("active",):
                command = {"method": "Page.setWebLifecycleState", "params": {"state": state}}
                tools.send(json.dumps(command | {"id": 1}))
                time.sleep(seconds)
        self.driver.close()
        self.driver.switch_to.window(tab)

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs JavaScript."""
        return self.driver.execute_script(script, *arguments)

    def text(self, name: str) -> str:
        """Returns the text of an element."""
        script = "return document.getElementById(arguments[0])?.textContent ?? ''"
        return self.run(script, name)

    @property
    def error(self) -> str:
        """What the page says is wrong; "" if nothing is."""
        return self.run("return document.querySelector('#status.error')?.textContent ?? ''")

    def until(self, condition: str, seconds: float = 60.0) -> Any:
        """Waits until a JavaScript expression holds; returns it. Fails if the page complains."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}")):
            assert not self.error, self.error
            assert time.monotonic() < end, f"not {condition} in {seconds} s: {self.text('status')}"
            time.sleep(0.05)
        return value

    def ready(self) -> float:
        """Waits until the network is loaded; returns how many seconds it took."""
        self.until("document.getElementById('status').textContent.startsWith('Ready')")
        return float(self.text("status").split()[2])

    def complaint(self, seconds: float = 60.0) -> str:
        """Waits until the page says that something is wrong."""
        end = time.monotonic() + seconds
        while not (text := self.error):
            assert time.monotonic() < end, f"no complaint in {seconds} s: {self.text('status')}"
            time.sleep(0.05)
        return text

    def click(self, name: str) -> None:
        """Clicks an element."""
        self.driver.find_element("id", name).click()

    def start_camera(self, then: str = "") -> None:
        """Starts the camera, which plays its file from the start; then runs JavaScript at once."""
        if self.text("camera").startswith("Stop"):
            self.click("camera")
        self.run(
            "document.getElementById('camera').click();"
            "const waiting = setInterval(() => {"
            "if (!document.body.classList.contains('live')) return;"
            f"clearInterval(waiting); {then} }}, 10);"
        )
        self.until("document.body.classList.contains('live')")

    def score(self, video: Path) -> dict[str, float]:
        """Chooses a video file; returns its scores."""
        self.run(
            "const status = document.getElementById('status');"
            "status.textContent = ''; status.classList.remove('error')"
        )
        self.driver.find_element("id", "file").send_keys(str(video))
        self.until("document.getElementById('status').textContent.includes(': scored.')")
        return self.scores()

    def scores(self) -> dict[str, float]:
        """Returns the scores that the bars show, by class."""
        return self.run(
            "return Object.fromEntries([...document.querySelectorAll('.bar')].map("
            "(bar) => [bar.firstChild.textContent, bar.querySelector('meter').value]))"
        )

    def named(self) -> tuple[str, dict[str, float]]:
        """Returns the label and the scores of one and the same window."""
        while True:
            before, label, after = self.scores(), self.text("label"), self.scores()
            if before == after:
                return label, after

    def watch_labels(self) -> None:
        """Begins to keep what is shown: how long each label, and all scores."""
        self.run(
            "const label = document.getElementById('label'); window.shown = {};"
            "let [text, since] = [label.textContent, performance.now()];"
            "window.note?.disconnect();"
            "window.note = new MutationObserver(() => { const now = performance.now();"
            "shown[text] = (shown[text] ?? 0) + now - since;"
            "[text, since] = [label.textContent, now]; });"
            "note.observe(label, {childList: true, characterData: true, subtree: true});"
        )

    def longest_label(self, but: str = "") -> str:
        """Returns the label that was shown longest since, but for one."""
        shown = self.run("return window.shown")
        rows = {label: spent for label, spent in shown.items() if label not in ("", but)}
        return max(rows, key=lambda label: rows[label], default="")


def write_camera(path: Path, video: Path, before: float = 0.0, after: float = 0.0) -> float:
    """Writes what a camera plays: a video, whose first and last frame stand still for a while.

    Args:
        before: seconds of the first frame.
        after: seconds of the last frame.

    Returns:
        How many seconds it takes.
    """
    file = VideoFile(str(video))
    index = file.index()
    frames = [picture.rgb() for _, picture in file.frames(index)]
    rate = (len(frames) - 1) / (index.seconds[-1] - index.seconds[0])
    frames = [frames[0]] * round(before * rate) + frames + [frames[-1]] * round(after * rate)
    height, width = frames[0].shape[:2]
    part = path.with_suffix(".part")
    with part.open("wb") as target:
        size = f"W{width} H{height} F{round(1000 * rate)}:1000"
        target.write(f"YUV4MPEG2 {size} Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            target.write(b"FRAME\n" + _planes(frame))
    part.replace(path)
    return len(frames) / rate


def _planes(frame: np.ndarray) -> bytes:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes()
