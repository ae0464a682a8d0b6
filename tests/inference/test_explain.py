"""`python -m keras_r3d.explain`: files, messages, and the check on the demo videos."""

import hashlib
import subprocess
import sys
from pathlib import Path

import commands
import cv2
import heats
import keras
import numpy as np
import pytest
from conftest import write_video
from demo_shapes import shape_masks
from html_pages import Page

from keras_r3d import applications, explain, recipe
from keras_r3d.data import clips, demo
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.pixels import resize
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.explanation import feature_maps, gradcam, overlay
from keras_r3d.inference.models.opening import Named
from keras_r3d.system.errors import R3DError
from keras_r3d.video_classifier import VideoClassifier, open_named

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A `.keras` file with two class names, not trained."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.utils.set_random_seed(1)
    network = applications.R3D10(
        input_shape=(4, 32, 32, 3), labels=["hand$hake", "ein_Wort"], width=0.0625
    )
    network.save(path)
    return path


@pytest.fixture(scope="module")
def classifier(model) -> VideoClassifier:
    return open_named(Named(model=str(model)))


def test_a_video_is_explained(model, tmp_path):
    video = write_video(tmp_path / "film.avi", 10, tint=(1, 0.2, 0.2), base=100)
    output = tmp_path / "new" / "out"
    flags = [f"--model={model}", f"--output={output}", "--class=ein_Wort", "--window=2"]
    code, said = commands.run(explain.main, video, *flags, "--npz", "--occlusion")
    assert code == 0, said
    assert "Window 2, 0.80-1.00 s" in said
    assert "2 frames of its own; they are looped to the 4" in said
    assert "rank correlation" in said
    kinds = ("html", "mp4", "npz", "png")
    assert sorted(p.name for p in output.iterdir()) == [f"film.explain.{kind}" for kind in kinds]
    with np.load(output / "film.explain.npz") as saved:
        assert saved["grad_cam"].shape == saved["occlusion"].shape == (4, 32, 32)
        assert saved["class"] == "ein_Wort"
        heat = saved["grad_cam"]
    page = Page((output / "film.explain.html").read_text())
    assert page.tags["video"] == 1
    grad_cam, occlusion = page.data["chart"]["series"]
    # Two of the four frames have a time of their own.
    assert grad_cam["x"] == occlusion["x"] == pytest.approx([0.8, 0.9])
    assert grad_cam["y"] == pytest.approx(heat[:2].mean(axis=(1, 2)), rel=1e-5)
    film = VideoFile(str(output / "film.explain.mp4"))
    assert film.index().seconds == pytest.approx([0, 0.1])


def test_what_cannot_be_explained_is_one_sentence(classifier, tmp_path):
    video = str(write_video(tmp_path / "film.avi", 10))
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "film.explain.png").touch()
    for arguments, message in [
        ({"video": tmp_path / "none.mp4"}, "there is no such file"),
        ({"video": tmp_path / "text.mp4"}, "cannot be opened as a video"),
        ({"class_name": "hand$hak"}, r"does not know 'hand\$hak'. Did you mean 'hand\$hake'"),
        ({"window": "9"}, r"has no such window\. It has 3, the last ends at 1\.00 s"),
        ({"window": "7.5s"}, "has no such window"),
        ({"window": "soon"}, r"must be a number, such as 3, or a time, such as 2\.5s"),
        ({"layer": "conv7"}, r"no layer 'conv7' with a map .*\. Sensible ones: conv1_relu"),
        ({"output": tmp_path / "there"}, r"film\.explain\.png already exists"),
    ]:
        with pytest.raises(R3DError, match=message):
            classifier.explain(**{"video": video, **arguments})
    with pytest.raises(R3DError, match=r"Name a model: `model` RUN or `model` FILE\."):
        Named()
    with pytest.raises(R3DError, match=r"no such model|damaged"):
        open_named(Named(model=str(tmp_path / "no.keras")))


def test_windows_and_views_are_those_of_the_recipe(model, tmp_path):
    """Two spread windows of three views each: scores are means over the views."""
    video = write_video(tmp_path / "film.avi", 30, tint=(1, 0.2, 0.2), base=20)
    classifier = open_named(Named(model=str(model)), "2x3")
    said = str(classifier.explain(video))
    found = classifier.predict(video)
    label, score = found.top(1)[0]
    assert f"film.avi: {label} {score:.1%} over 2 windows" in said
    number = int(found.window_scores[:, found.labels.index(label)].argmax())
    start, end = found.window_seconds[number]
    assert f"Window {number}, {start:.2f}-{end:.2f} s: " in said


def test_windows_are_named_by_number_or_time(classifier, tmp_path):
    video = write_video(tmp_path / "film.avi", 10)
    best = classifier.explain(video, method="grad_cam")
    scores = classifier.predict(video).window_scores[:, classifier.classes.index(best.label)]
    assert best.window == scores.argmax()
    assert classifier.explain(video, method="grad_cam", window="0").window == 0
    assert classifier.explain(video, method="grad_cam", window="0.4s").window == 1


def test_colors_are_right_and_heat_shows_where_it_is(tmp_path):
    clip = np.zeros((3, 40, 60, 3), np.uint8)
    clip[..., 0] = 200
    hot = np.zeros((3, 40, 60), np.float32)
    hot[:, :20] = 1
    blended = overlay.blend(clip, hot).astype(int)
    assert (np.ptp(blended[:, 20:], axis=-1) == 0).all(), "gray where it is cold"
    assert (blended[:, :20, :, 0] > blended[:, :20, :, 2] + 50).all()
    mp4 = overlay.video(clip, {"Grad-CAM": hot}, np.array([0.0, 0.1, 0.2]))
    (tmp_path / "a.mp4").write_bytes(mp4)
    reader = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    frame = reader.read()[1][..., ::-1].astype(int)
    assert frame.shape == (360, 2 * 540, 3)
    assert np.abs(frame[240, 270] - [200, 0, 0]).max() < 30, "the clip, RGB, on the left"
    assert np.ptp(frame[240, 810]) < 30, "its gray copy on the right"
    picture = overlay.strip(clip, {"Grad-CAM": hot}, np.array([0.0, 0.1, 0.2]), ["film $x_1", "b"])
    picture.savefig(tmp_path / "a.png")
    drawn = cv2.imread(str(tmp_path / "a.png"))[..., ::-1].astype(int)
    assert (np.abs(drawn - [200, 0, 0]).max(axis=-1) < 10).sum() > 1000


def test_the_place_of_the_demo_shape_is_where_it_is_drawn():
    """Exactly: the shape has one color, and what it does not touch stands still."""
    mask = shape_masks("left", "test", 3)
    frames = demo.frames("left", "test", demo.video_rng("left", "test", 3)).astype(int)
    assert (np.ptp(frames[mask == 1], axis=0) == 0).all()
    free = np.broadcast_to((mask == 0)[..., None], frames.shape)
    least = np.where(free, frames, 255).min(axis=0)
    most = np.where(free, frames, 0).max(axis=0)
    seen = free.any(axis=0)
    assert (least[seen] == most[seen]).all()
    assert 0.05 < mask.mean() < 0.2


def test_the_demo_has_the_pixels_it_always_had():
    frames = demo.frames("left", "test", np.random.default_rng([2, 3, 0]))
    assert hashlib.sha256(frames.tobytes()).hexdigest()[:16] == "d8adf75e2a0e074a"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_heat_lies_on_the_moving_shape_and_random_weights_lose_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "keras_r3d.train", "--recipe=demo", f"--workdir={tmp_path / 'r'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    network = keras.models.load_model(tmp_path / "r" / "best.keras")
    reader, shape_of = VideoReader(0, 0), recipe.load("demo").clips
    size = shape_of.size
    pixels, masks, labels = [], [], []
    for label, name in enumerate(demo.CLASSES):
        for number in range(4):
            video = demo.render() / "test" / name / f"{number:03}.mp4"
            mask = shape_masks(name, "test", number)
            for window in clips.windows(reader, Video(str(video), ""), shape_of):
                pixels.append(window.pixels[0])
                masks.append([resize(mask[n], size, size) for n in window.frame_numbers])
                labels.append(label)
    stage = feature_maps.choose(network, shape_of.shape[:3])
    shape = np.array(masks)
    near = heats.widened(shape, stage.steps)

    def shares(network):
        found = gradcam.grad_cam(network, np.stack(pixels), labels)
        return heats.share_on(found, shape).mean(), heats.share_on(found, near).mean()

    keras.utils.set_random_seed(1)
    trained, random = shares(network), shares(keras.models.clone_model(network))
    # On the shape, or within one cell of the map of it.
    assert trained[1] >= 0.6
    assert random[1] < 0.6
    assert random[1] <= trained[1] - 0.1
    assert trained[0] >= 3 * shape.mean(), "on the shape itself: three times its share of the area"
