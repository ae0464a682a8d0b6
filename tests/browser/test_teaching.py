"""Movements taught in the page, before a camera that plays videos: `make test-browser`."""

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from browser import HTML, Page, serving, write_camera
from commands import ROOT

from keras_r3d import VideoClassifier
from keras_r3d.data import open_videos

pytest_plugins = ["web_pages"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]

BEFORE, AFTER = 0.6, 1.5  # seconds that a movement waits for the recording to begin, and its end


class Teacher:
    """Records movements in a page, whose camera plays videos.

    Args:
        seconds: that a movement takes.
    """

    def __init__(self, page: Page, camera: Path, seconds: float):
        self.page, self._camera = page, camera
        page.ready()
        page.run("seconds.value = arguments[0]; seconds.oninput()", seconds)

    def name_classes(self, names) -> None:
        """Names the classes behind "nothing"."""
        for _ in names[1:]:
            self.page.click("add")
        for place, name in enumerate(names, 1):
            self.rename(place, name)

    def rename(self, place: int, name: str) -> None:
        self.page.run(
            "const input = document.querySelectorAll('.class input')[arguments[0]];"
            "input.value = arguments[1]; input.onchange()",
            place,
            name,
        )

    def record(self, place: int, video: Path, still: bool = False) -> None:
        """Records a movement, or the first frame of a video standing still."""
        write_camera(self._camera, video, *((5, 0) if still else (BEFORE, AFTER)))
        strips = f"document.querySelectorAll('.class')[{place}].querySelectorAll('figure').length"
        count = self.page.run(f"return {strips}")
        self.page.start_camera(f"document.querySelectorAll('.record')[{place}].click();")
        self.page.until(f"{strips} === {count + 1}")

    def label_of(self, video: Path) -> str:
        """Returns what the page names while a video is played, but for "nothing"."""
        seconds = write_camera(self._camera, video, BEFORE, AFTER)
        self.page.start_camera()
        self.page.watch_labels()
        time.sleep(seconds)
        return self.page.longest_label(but="nothing")


def saved(page: Page, folder: Path) -> Path:
    """Saves the recordings; returns the archive."""
    page.click("save")
    path, end = folder / "movements.zip", time.monotonic() + 60
    while not path.is_file():
        assert time.monotonic() < end
        time.sleep(0.1)
    return path


@pytest.fixture(scope="module")
def taught(teach, videos, tmp_path_factory):
    """What a visitor did: the archive, what the page said, and what it named."""
    folder = tmp_path_factory.mktemp("taught")
    camera = folder / "camera.y4m"
    write_camera(camera, videos / "up" / "1.mp4")
    with (
        serving(teach) as address,
        Page(f"{address}?countdown=0", camera=camera, files=folder) as page,
    ):
        teacher = Teacher(page, camera, 2.5)
        teacher.name_classes([HTML, "up"])
        for seed in ("1", "3"):
            teacher.record(0, videos / "left" / f"{seed}.mp4", still=True)
            teacher.record(1, videos / "left" / f"{seed}.mp4")
            teacher.record(2, videos / "up" / f"{seed}.mp4")
        said = {
            "accuracy": page.text("accuracy"),
            "images": page.run("return document.images.length"),
        }
        named = {label: teacher.label_of(videos / label / "3.mp4") for label in ("left", "up")}
        return saved(page, folder), said, named


def test_it_names_what_it_was_taught(taught):
    _, said, named = taught
    assert " of 6 recordings are named right by a fit that has not seen them" in said["accuracy"]
    assert int(said["accuracy"].split()[0]) >= 4
    assert float(said["accuracy"].split("(")[1].split(" ms")[0]) < 1000
    assert named == {"left": HTML, "up": "up"}
    assert said["images"] == 0  # names are text


def test_recordings_are_videos_to_train_on(taught, tmp_path):
    path, _, _ = taught
    names = zipfile.ZipFile(path)
    assert names.testzip() is None
    videos = open_videos(path)
    assert sorted(videos.classes) == sorted([HTML, "nothing", "up"])
    assert len(videos.splits["train"]) == 6
    command = [
        sys.executable,
        "-m",
        "keras_r3d.train",
        str(path),
        "--recipe=few",
        "--weights=motion",
    ]
    done = subprocess.run(
        [*command, f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(VideoClassifier(tmp_path / "run").classes) == sorted(videos.classes)


def test_the_head_is_a_classifier(taught, videos):
    path, _, _ = taught
    classifier = VideoClassifier(path)
    assert list(classifier.classes) == ["nothing", HTML, "up"]
    assert classifier.predict(videos / "up" / "3.mp4").top(1)[0][0] == "up"
    assert classifier.predict(videos / "left" / "3.mp4").top(1)[0][0] == HTML
