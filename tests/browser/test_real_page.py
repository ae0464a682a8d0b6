"""The pages on real gestures: `KERAS_R3D_REAL_DATA=DIR make test-browser`."""

import os
from pathlib import Path

import av
import pytest
from browser import Page, serving, write_camera
from test_teaching import Teacher, saved

from keras_r3d import VideoClassifier
from keras_r3d.data import open_videos

pytest_plugins = ["web_pages"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def gestures() -> Path:
    folder = os.environ.get("KERAS_R3D_REAL_DATA")
    if not folder:
        pytest.skip("KERAS_R3D_REAL_DATA is unset")
    return Path(folder) / "gestures"


@pytest.fixture(scope="module")
def page(gestures, tmp_path_factory) -> Path:
    """The folder of a page that names the gestures."""
    workdir = tmp_path_factory.mktemp("run") / "few"
    classifier = VideoClassifier("motion").fit(gestures, workdir=workdir, say=lambda _: None)
    return classifier.export("web", videos=10).path


def codec(path: str) -> str:
    with av.open(path) as container:
        return container.streams.video[0].codec_context.name


def test_dropped_videos_are_named_as_predict_names_them(page, gestures):
    classifier = VideoClassifier(page / "model.tflite")
    same, rows = 0, []
    with serving(page) as address, Page(address) as opened:
        opened.ready()
        for video in open_videos(gestures).splits["test"]:
            if codec(video.path) != "h264":  # MPEG-4 Part 2, which browsers do not play
                opened.driver.find_element("id", "file").send_keys(video.path)
                assert "is no video that this browser plays" in opened.complaint()
                continue
            expected = classifier.predict(video.path)
            scores = opened.score(Path(video.path))
            best, share = expected.top(1)[0]
            rows.append(abs(scores[best] - share))
            same += max(scores, key=scores.__getitem__) == best
    print(f"{same} of {len(rows)} the same; scores differ by {max(rows):.3f} at most")
    assert len(rows) == 30
    assert same >= 0.95 * len(rows)


def test_the_camera_names_gestures(page, gestures, tmp_path):
    camera = tmp_path / "camera.y4m"
    videos = [video for video in open_videos(gestures).splits["test"] if "_12" in video.path][::2]
    write_camera(camera, Path(videos[0].path))
    right = 0
    with serving(page) as address, Page(address, camera=camera) as opened:
        teacher = Teacher(opened, camera, 3.0)
        for video in videos:
            right += teacher.label_of(Path(video.path)) == video.label
    print(f"{right} of {len(videos)} gestures before the camera")
    assert right >= 0.7 * len(videos)


def test_three_gestures_are_taught_by_four_recordings(teach, gestures, tmp_path):
    labels = ["left", "right", "up"]
    splits = open_videos(gestures).splits
    camera = tmp_path / "camera.y4m"
    examples = {
        label: [v for v in splits["train"] if v.label == label][::2][:4] for label in labels
    }
    write_camera(camera, Path(examples["up"][0].path))
    with (
        serving(teach) as address,
        Page(f"{address}?countdown=0", camera=camera, files=tmp_path) as page,
    ):
        teacher = Teacher(page, camera, 3.0)
        teacher.name_classes(labels)
        for number in range(4):
            teacher.record(0, Path(examples[labels[number % 3]][number].path), still=True)
            for place, label in enumerate(labels, 1):
                teacher.record(place, Path(examples[label][number].path))
        said = page.text("accuracy")
        tests = [video for video in splits["test"] if video.label in labels]
        named = [teacher.label_of(Path(video.path)) for video in tests]
        path = saved(page, tmp_path)
    right = sum(name == video.label for name, video in zip(named, tests, strict=True))
    print(f"{said} {right} of {len(tests)} test videos right: {named}")
    assert right >= 0.9 * len(tests)
    predictions = VideoClassifier(path).predict([video.path for video in tests])
    by_python = [prediction.top(1)[0][0] for prediction in predictions]
    print(f"by VideoClassifier: {by_python}")
    assert sum(n == v.label for n, v in zip(by_python, tests, strict=True)) >= 0.9 * len(tests)
