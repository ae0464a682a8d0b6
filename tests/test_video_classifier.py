"""The front door: opened from every kind of model, and every verb."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import write_video
from video_files import encode, moving

import keras_r3d
from keras_r3d import R3DError, VideoClassifier, applications, training
from keras_r3d.data import Clips, Consecutive, Whole, open_videos
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.system.errors import ArgumentError

CLASSES = ["green", "red"]
TINTS = {"green": (0.2, 1, 0), "red": (1, 0.2, 0)}
CLIPS = Clips(frames=4, size=16, crop=Whole(), flip=False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Six videos of each of two colors, and one that is none."""
    root = tmp_path_factory.mktemp("videos")
    for name, tint in TINTS.items():
        for number in range(6):
            write_video(root / name / f"{number}.avi", 12 + number, tint=tint, base=60)
    return root


def colors(clips: Clips | None = CLIPS) -> keras.Model:
    """Tells red from green: an R3D whose classifier was set by hand."""
    model = applications.R3D10(
        width=0.0625, input_shape=(4, 16, 16, 3), labels=CLASSES, clips=clips, pooling="avg"
    )
    return model


@pytest.fixture(scope="module")
def fitted(videos, tmp_path_factory, cheap_pictures) -> VideoClassifier:
    few = VideoClassifier("motion")
    lines: list[str] = []
    workdir = tmp_path_factory.mktemp("runs") / "few"
    assert few.fit(videos, workdir=workdir, say=lines.append) is few
    assert any("Cross-validated in 5 folds" in line for line in lines)
    return few


def test_few_videos_are_fitted_predicted_and_evaluated(fitted, videos, tmp_path):
    assert fitted.classes == CLASSES
    assert fitted.run.summary[
        "cross_validation" if "evaluation" not in fitted.run.summary else "evaluation"
    ]
    path = videos / "red" / "0.avi"
    prediction = fitted.predict(path)
    assert prediction.top(1)[0][0] == "red"
    several = list(fitted.predict([path, videos / "green" / "1.avi"]))
    assert [other.top(1)[0][0] for other in several] == ["red", "green"]
    assert (several[0].scores == prediction.scores).all()
    assert len(list(fitted.predict(videos))) == 12
    assert len(list(fitted.predict(str(videos / "*" / "1.avi")))) == 2
    evaluation = fitted.evaluate(videos, split="train")
    assert evaluation.figures()["video_top1"] == 1.0
    assert "12 of 12 videos" in str(evaluation)
    written = evaluation.save(tmp_path / "results")
    assert {"confusion.png", "evaluation.json", "per_class.csv"} <= set(written)
    assert "These videos were trained on" in str(evaluation)
    with pytest.raises(R3DError, match="already exists"):
        evaluation.save(tmp_path / "results")
    with pytest.raises(R3DError, match=r"held no videos out: .* `split` train"):
        fitted.evaluate()
    with pytest.raises(R3DError, match=r"has no videos of split 'test': .* trained on all of them"):
        fitted.evaluate(videos)
    with pytest.raises(R3DError, match=r"ndarray\. For clips in memory: `classifier\.model"):
        fitted.predict(np.zeros((1, 4, 16, 16, 3), np.uint8))
    with pytest.raises(R3DError, match="`method` must be one of"):
        fitted.explain(path, method="cam")


def test_a_saved_model_cuts_videos_as_it_was_trained(fitted, videos, tmp_path):
    path = videos / "red" / "2.avi"
    saved = fitted.save(tmp_path / "mine.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again = VideoClassifier(saved)
        of_network = VideoClassifier(keras.models.load_model(saved))
    expected = fitted.predict(path).scores
    for other in (again, of_network, VideoClassifier(fitted.run), VideoClassifier(fitted.run.path)):
        assert other.classes == CLASSES
        assert other.predict(path).scores == pytest.approx(expected, abs=1e-6)
    with pytest.raises(R3DError, match="already exists"):
        fitted.save(saved)
    with pytest.raises(R3DError, match=r"must end in \.keras"):
        fitted.save(tmp_path / "mine.h5")


def test_explanation_and_embeddings(fitted, videos, tmp_path):
    path = videos / "red" / "0.avi"
    explanation = fitted.explain(path, class_name="red", output=tmp_path / "out", npz=True)
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {
        *(".mp4", ".png", ".html", ".npz")
    }
    assert explanation.heats["Grad-CAM"].shape == explanation.clip.shape[:3] == (16, 64, 64)
    assert sorted(explanation.save(tmp_path)) == ["html", "mp4", "png"]
    assert "red" in str(explanation)
    features = fitted.embed(videos, split="train")
    assert features.embedding.shape[0] == 12
    assert features.label.tolist() == ["green"] * 6 + ["red"] * 6
    windows = fitted.embed(videos / "red" / "0.avi", per="window", layer="conv4_1_out")
    assert windows.label is None
    assert len(windows.embedding) == len(windows.window) > 1
    stored = fitted.embed(videos / "red" / "0.avi", output=tmp_path / "red.npz")
    assert (stored.rows, stored.videos, stored.errors) == (1, 1, {})
    (embedding,) = feature_file.read(tmp_path / "red.npz").embedding
    assert embedding == pytest.approx(features.embedding[6], abs=1e-5)
    with pytest.raises(R3DError, match="`per` must be one of"):
        fitted.embed(videos, per="clip")


@pytest.mark.slow
def test_a_run_is_exported(fitted, videos, tmp_path):
    path = videos / "green" / "3.avi"
    exported = fitted.export("tflite", tmp_path / "run.tflite", videos=2)
    tflite = VideoClassifier(exported.path)
    assert tflite.predict(path).scores == pytest.approx(fitted.predict(path).scores, abs=1e-3)


def test_a_model_of_no_run_is_exported(videos, tmp_path):
    path = videos / "green" / "3.avi"
    alone = VideoClassifier(colors())
    with pytest.raises(R3DError, match="is of no run: pass `data`"):
        alone.export("tflite")
    exported = alone.export("tflite", tmp_path / "alone.tflite", data=videos, videos=2)
    again = VideoClassifier(exported.path)
    assert again.described == alone.described
    assert again.predict(path).scores == pytest.approx(alone.predict(path).scores, abs=1e-3)
    for verb, call in {
        "has no Keras model": lambda: again.model,
        "cannot be trained": lambda: again.fit(videos),
        "no gradients": lambda: again.explain(path),
        "nothing but its scores": lambda: again.embed(path),
        "cannot be exported": lambda: again.export("onnx"),
        "cannot be saved": lambda: again.save(tmp_path / "x.keras"),
    }.items():
        with pytest.raises(R3DError, match=verb):
            call()


def test_a_model_that_does_not_know_its_clips_says_so(videos, tmp_path):
    path = videos / "red" / "0.avi"
    with pytest.warns(UserWarning, match="does not say how its clips are cut"):
        unknown = VideoClassifier(colors(clips=None))
    assert "consecutive frames" in unknown.described
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        informed = VideoClassifier(colors())
        told = VideoClassifier(colors(clips=None), clips=CLIPS)
    assert "whole frame" in informed.described
    assert "whole frame" in told.described
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        saved = VideoClassifier(told.save(tmp_path / "told.keras"))
        motions = VideoClassifier(VideoClassifier("motion").save(tmp_path / "motion.keras"))
    assert saved.described == informed.described
    assert "spread over" in motions.described
    assert len(informed.predict(path).window_scores) == 3


@pytest.mark.parametrize("form", ["saved_model", pytest.param("tflite", marks=pytest.mark.slow)])
def test_a_model_keeps_rate_and_shape_of_its_clips(tmp_path, form):
    """At 10 frames a second a video of 20, each shown twice, is the same; also of its exports."""
    frames = moving(15, 40, 80)
    paths = [tmp_path / "data" / name / "v.mkv" for name in CLASSES]
    for path, pixels, rate in zip(paths, (frames, frames.repeat(2, 0)), (10, 20), strict=True):
        path.parent.mkdir(parents=True)
        encode(path, pixels, "ffv1", rate=rate)
    slow, fast = map(str, paths)
    clips = Clips(frames=4, size=(16, 24), sampling=Consecutive(fps=10), flip=False)
    model = applications.R3D10(
        width=0.0625, input_shape=clips.shape, labels=CLASSES, clips=clips, max_pool=False
    )
    head = model.get_layer("predictions")
    kernel, bias = head.get_weights()
    head.set_weights([kernel / 100, bias])  # scores of 1.0 would all be alike
    ours = VideoClassifier(model)
    assert "all windows of 4 frames at 10/s; center crop at 16x24; mean of" in ours.described
    ours.save(tmp_path / "model.keras")
    again = VideoClassifier(tmp_path / "model.keras")
    expected = ours.predict(slow)
    assert len(expected.window_scores) == 4
    assert np.ptp(expected.window_scores[:, 0]) > 0
    for classifier, path in ((ours, fast), (again, slow), (again, fast)):
        found = classifier.predict(path)
        assert (found.window_scores == expected.window_scores).all()
        assert found.window_seconds[:3] == pytest.approx(expected.window_seconds[:3])
    path = tmp_path / {"tflite": "m.tflite", "saved_model": "m/1"}[form]
    exported = VideoClassifier(ours.export(form, path, data=tmp_path / "data", videos=2).path)
    assert exported.described.endswith(ours.described.partition(": ")[2])
    scores = exported.predict(fast).window_scores
    assert scores == pytest.approx(expected.window_scores, abs=1e-4)
    short = ours.predict(encode(tmp_path / "short.mkv", frames[:3], "ffv1", rate=20))
    assert short.detail.endswith("short.mkv: 2 frames at 10/s, repeated to the 4 of a clip.")
    explanation = ours.explain(fast, window="1", occlusion=True)
    assert explanation.clip.shape == (4, 16, 24, 3)
    assert {heat.shape for heat in explanation.heats.values()} == {(4, 16, 24)}
    assert explanation.seconds == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert explanation.save(tmp_path / "explained")["mp4"].stat().st_size > 1000
    features = [ours.embed([path]).embedding for path in (slow, fast)]
    assert (features[0] == features[1]).all()
    sightings = list(again.watch(fast))
    assert [s.end_seconds - s.start_seconds for s in sightings] == pytest.approx(
        [0.3] * len(sightings), abs=0.06
    )
    assert 2 <= len(sightings) <= 4


def test_protocols_and_weights_by_name(videos):
    path = videos / "red" / "0.avi"
    several = VideoClassifier(colors(), protocol="2x3")
    assert len(several.predict(path).window_scores) == 2
    motions = VideoClassifier("r3d10/motion")
    assert len(motions.classes) == 67
    assert motions.model.input_shape == (None, 16, 64, 64, 3)
    assert np.isfinite(motions.predict(path).scores).all()


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("kinetics400", {}, "There are several weights 'kinetics400': say one of 'r3d18/"),
        ("nothing", {}, "There is no model 'nothing'"),
        ("gone.keras", {}, "no such model|does not exist|no file"),
        (3, {}, r"must be a name of weights, a run.*Received: int"),
        ("grpc://localhost:8500/m", {}, "pass `exported_from`"),
        ("motion", {"exported_from": "x"}, "`exported_from` is for a served model"),
        ("motion", {"protocol": "3x4"}, "`protocol` must be one of"),
        ("motion", {"devices": "tpu"}, "devices"),
    ],
)
def test_what_is_no_model_is_one_sentence(model, arguments, message):
    with pytest.raises(R3DError, match=message):
        VideoClassifier(model, **arguments)


def test_an_empty_folder_and_what_is_no_video(fitted, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(R3DError, match="no video"):
        fitted.predict(tmp_path / "empty")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(R3DError, match="cannot be opened as a video"):
        fitted.predict(tmp_path / "text.mp4")
    (prediction,) = fitted.predict([tmp_path / "text.mp4"])
    assert prediction.status == "error"
    with pytest.raises(R3DError, match="is of no run folder that names videos"):
        VideoClassifier(colors()).evaluate()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, v: c.predict(v, top=0), "`top` must be at least 1. Received: 0"),
        (lambda c, v: c.predict(v, timeout=-1), "`timeout` must be at least 0.1. Received: -1"),
        (lambda c, v: next(c.watch(v, smooth=0)), "`smooth` must be at least 1. Received: 0"),
        (lambda c, v: next(c.watch(v, every=-1)), "`every` must be at least 0. Received: -1"),
        (lambda c, v: c.evaluate(timeout=0), "`timeout` must be at least 0.1. Received: 0"),
        (lambda c, v: c.export("tflite", videos=-1), "`videos` must be at least 0. Received: -1"),
        (lambda c, v: c.export("tflite", min_agreement=2), "must be from 0 to 1. Received: 2"),
        (
            lambda c, v: VideoClassifier.served("grpc://x", exported_from=v, jpeg_quality=101),
            "`jpeg_quality` must be from 1 to 100. Received: 101",
        ),
        (lambda c, v: training.train("demo", save_steps=-1), "`save_steps` must be at least 0."),
    ],
)
def test_numbers_out_of_range_are_one_sentence(fitted, videos, call, message):
    with pytest.raises(ArgumentError) as error:
        call(fitted, str(videos / "red" / "0.avi"))
    assert message in str(error.value)


def test_public_names_are_listed():
    assert set(keras_r3d.__all__) <= set(dir(keras_r3d))
    for name in keras_r3d.__all__:
        assert getattr(keras_r3d, name) is not None
    for module in (keras_r3d.data, keras_r3d.training):
        for name in module.__all__:
            assert getattr(module, name) is not None
    assert keras_r3d.VideoClassifier.__doc__.startswith("Names what videos show")


def test_clips_are_values():
    clips = Clips(frames=8, size=32, sampling=Consecutive(2))
    assert clips == Clips(frames=8, size=32, sampling=Consecutive(stride=2))
    assert clips.shape == (8, 32, 32, 3)
    assert Clips(input="dis", flip=False).shape[-1] == 2
    assert clips.center().random is False
    with pytest.raises(R3DError, match=r"Clips: `size` must be at least 16\. Received: 0"):
        Clips(size=0)
    with pytest.raises(R3DError, match="Clips: `crop` must be MultiScale or Random"):
        Clips(crop="whole")


def test_data_sets_know_their_length_and_shuffle_anew(videos):
    opened = open_videos(videos, test_fraction=0.2, seed=3)
    assert opened.classes == CLASSES
    assert {name: len(split) for name, split in opened.splits.items()} == {"train": 10, "test": 2}
    train = opened.dataset("train", CLIPS, 4)
    assert int(train.cardinality()) == 3
    first, second = ([labels.numpy().tolist() for _, labels in train] for _ in range(2))
    assert [len(labels) for labels in first] == [4, 4, 4]
    assert first != second
    again = opened.dataset("train", CLIPS, 4)
    assert [labels.numpy().tolist() for _, labels in again] == first
    assert [
        labels.numpy().tolist() for _, labels in opened.dataset("train", CLIPS, 4, seed=1)
    ] != first
    test = opened.dataset("test", CLIPS.center(), 16)
    ((pixels, labels),) = list(test)
    assert pixels.shape == (2, 4, 16, 16, 3)
    assert sorted(labels.numpy()) == [0, 1]
    for arguments, message in (
        (("none", CLIPS, 4), "`split` must be one of"),
        (("train", CLIPS, 0), "`batch_size` must be an int of at least 1"),
        (("train", "whole", 4), "`clips` must be keras_r3d.data.Clips"),
    ):
        with pytest.raises(R3DError, match=message):
            opened.dataset(*arguments)
    with pytest.raises(R3DError, match=r"`test_fraction` must be from 0 to 0\.9"):
        open_videos(videos, test_fraction=1.5)


def test_broken_videos_are_named_and_a_batch_of_none_is_an_error(videos, tmp_path):
    for number in range(3):
        (tmp_path / "red").mkdir(exist_ok=True)
        (tmp_path / "red" / f"{number}.mp4").write_bytes(b"none")
    write_video(tmp_path / "green" / "0.avi", 12)
    opened = open_videos(tmp_path)
    ((_, labels),) = list(opened.dataset("train", CLIPS.center(), 4))
    assert labels.numpy().tolist() == [0]
    assert [Path(problem.name).name for problem in opened.problems] == ["0.mp4", "1.mp4", "2.mp4"]
    with pytest.raises(Exception, match="None of the videos of a batch can be read"):
        list(opened.dataset("train", CLIPS.center(), 1))


def test_model_fit_with_callbacks_of_keras(videos, tmp_path):
    opened = open_videos(videos, validation_fraction=0.2)
    train = opened.dataset("train", CLIPS, 4)
    validation = opened.dataset("validation", CLIPS.center(), 4)
    model = colors()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    best = tmp_path / "best.keras"
    history = model.fit(
        train,
        validation_data=validation,
        epochs=2,
        verbose=0,
        callbacks=[
            keras.callbacks.ReduceLROnPlateau(patience=1),
            keras.callbacks.ModelCheckpoint(best),
            keras.callbacks.EarlyStopping(patience=3),
            keras.callbacks.TensorBoard(tmp_path / "tensorboard"),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ],
    )
    assert len(history.history["val_loss"]) == 2
    assert np.isfinite(history.history["loss"]).all()
    assert "whole frame" in VideoClassifier(best).described
