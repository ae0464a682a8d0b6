import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import commands
import keras
import numpy as np
import pytest
from conftest import write_video

from keras_r3d import applications, features, recipe
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.embeddings import features as embeddings
from keras_r3d.inference.evaluation.split import Split
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction import scoring
from keras_r3d.system import devices
from keras_r3d.system.work import Spread

ROOT = Path(__file__).parents[2]
EVAL = recipe.Eval("test", 4, "all", 1, "log_probabilities")


@pytest.fixture(scope="module")
def model(small) -> Classifier:
    """Embeds a clip as the mean of red, green and blue, and three hundred more."""
    clip = keras.Input((4, 16, 16, 3))
    x = keras.layers.GlobalAveragePooling3D(name="avg_pool")(clip)
    x = keras.layers.Rescaling(1, offset=[0, 0, 300], name="moved")(x)
    out = keras.layers.Dense(2, activation="softmax", name="predictions")(
        keras.layers.Dropout(0.5)(x)
    )
    network = keras.Model(clip, out)
    score = runtimes.of_network(network, devices.choose(), 4)
    classifier = Classifier("m", "Keras", ["a", "b"], small.clips, EVAL, score, network, "")
    return embeddings.embedder(classifier)[0]


@pytest.fixture
def videos(tmp_path) -> list[Video]:
    made = [
        Video(str(write_video(tmp_path / "videos" / f"{n}.avi", n, tint=(1, 0.5, 0))), f"c{n % 2}")
        for n in (3, 9, 16)
    ]
    broken = tmp_path / "videos" / "broken.mp4"
    broken.write_bytes(b"no video")
    return [made[0], Video(str(broken), "c1"), *made[1:]]


def extract(model, videos, output, per="window", reader=None, layer="avg_pool", **options):
    side = Split(videos, reader or VideoReader(0, 0), "test", "")
    stored = embeddings.store(model, layer, side, output, per=per, **options)
    found = feature_file.read(output)
    assert stored.rows == len(found.video)
    assert stored.errors == found.metadata["errors"]
    return found


@pytest.mark.parametrize(
    ("build", "layer", "dimension"),
    [
        (lambda: applications.R3D10(width=0.0625, classes=3, dropout=0.5), "avg_pool", 32),
        (lambda: applications.C3D(width=0.03125, classes=3), "fc7_relu", 128),
        (lambda: applications.I3D(width=0.0625, classes=3), "avg_pool", 64),
        (
            lambda: applications.R3D10(width=0.0625, include_top=False, pooling="avg"),
            "avg_pool",
            32,
        ),
    ],
)
def test_the_layer_that_feeds_the_classifier(build, layer, dimension):
    network = build()
    assert embeddings.embedding_layer(network) == layer
    assert embeddings.embedding_network(network, layer).output_shape[-1] == dimension


def test_a_head_of_two_layers_and_a_feature_map():
    network = keras.Sequential(
        [
            keras.Input((2, 4, 4, 3)),
            keras.layers.Conv3D(5, 1, name="conv"),
            keras.layers.GlobalAveragePooling3D(name="pooled"),
            keras.layers.Dense(2, name="logits"),
            keras.layers.Softmax(),
        ]
    )
    assert embeddings.embedding_layer(network) == "pooled"
    clips = np.random.default_rng(0).uniform(0, 255, (3, 2, 4, 4, 3)).astype(np.float32)
    expected = network.get_layer("conv")(clips).numpy().mean(axis=(1, 2, 3))
    got = embeddings.embedding_network(network, "conv").predict(clips, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    # Linear units are no logits here: no softmax may be put behind them.
    raw = runtimes.of_network(embeddings.embedding_network(network, "logits"), devices.choose(), 4)(
        clips.astype(np.uint8)
    )
    assert abs(raw.sum(axis=1) - 1).max() > 0.1


def test_an_unknown_layer_is_named_with_one_like_it():
    network = applications.R3D10(width=0.0625, classes=3)
    with pytest.raises(
        embeddings.ArgumentError, match=r"no layer 'avgpool'. Did you mean 'avg_poo"
    ):
        embeddings.embedding_network(network, "avgpool")


def test_embeddings_by_window_have_names_labels_and_times(model, videos, tmp_path):
    found = extract(model, videos, tmp_path / "f.npz")
    assert [Path(path).stem for path in found.video] == ["3", *["9"] * 3, *["16"] * 4]
    assert found.window.tolist() == [0, 0, 1, 2, 0, 1, 2, 3]
    assert found.label.tolist() == ["c1"] * 4 + ["c0"] * 4
    assert found.start_seconds[1:4] == pytest.approx([0, 0.4, 0.8])
    assert found.end_seconds[1:4] == pytest.approx([0.4, 0.8, 0.9])
    # Frames 0-3, 4-7 and 8, of 6 levels each; green half of it, blue moved.
    assert found.embedding[1:4, 0] == pytest.approx([9, 33, 48], abs=3)
    assert found.embedding[1:4, 1] == pytest.approx([4.5, 16.5, 24], abs=3)
    assert found.embedding[:, 2] == pytest.approx(300, abs=3)
    assert found.metadata["layer"] == "avg_pool"
    (name, reason), *_ = found.metadata["errors"].items()
    assert name.endswith("broken.mp4")
    assert "cannot be opened" in reason
    assert found.metadata["videos"] == 3
    (short,) = found.metadata["notes"].values()
    assert "3 frames, repeated to the 4 of a clip" in short


def test_an_embedding_by_video_is_the_mean_of_its_windows(model, videos, tmp_path):
    windows = extract(model, videos, tmp_path / "w.npz")
    whole = extract(model, videos, tmp_path / "v.npz", per="video")
    assert len(whole.video) == 3
    assert whole.window.tolist() == [-1] * 3
    for row, name in enumerate(whole.video):
        own = windows.video == name
        np.testing.assert_allclose(
            whole.embedding[row], windows.embedding[own].mean(axis=0), rtol=1e-6
        )
        assert whole.end_seconds[row] == windows.end_seconds[own].max()


class Interrupting(VideoReader):
    """Is stopped when it comes to a video."""

    def __init__(self, at: str):
        super().__init__(0, 0)
        self.threads, self._at = 1, at

    def windows(self, video, *arguments):
        if video.path == self._at:
            raise KeyboardInterrupt
        yield from super().windows(video, *arguments)


def test_an_interrupted_extraction_goes_on_to_the_same_bytes(model, videos, tmp_path):
    extract(model, videos, tmp_path / "whole.npz")
    # Of the step that the network is taking nothing is kept.
    model = dataclasses.replace(model, eval=dataclasses.replace(model.eval, batch_size=2))
    output = tmp_path / "f.npz"
    with pytest.raises(KeyboardInterrupt):
        extract(model, videos, output, reader=Interrupting(videos[3].path))
    assert not output.exists()
    # What is finished is not decoded again.
    done: list[tuple[int, int]] = []
    extract(
        *(model, videos, output),
        reader=Interrupting(videos[0].path),
        progress=lambda *numbers: done.append(numbers),
    )
    assert done == [(2, 4), (3, 4), (4, 4)]
    assert output.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not (tmp_path / "f.npz.parts").exists()


def stop(model, videos, output) -> None:
    """Extracts all videos, and is stopped before they are joined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_file, "write", lambda *given: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception, match="stopped"):
            extract(model, videos, output)


def test_shares_make_the_same_bytes(model, videos, tmp_path):
    extract(model, videos, tmp_path / "whole.npz")
    output = tmp_path / "f.npz"
    side = Split(videos, VideoReader(0, 0), "test", "")
    make = functools.partial(embeddings.store, model, "avg_pool", side, output, per="window")
    with pytest.raises(embeddings.ArgumentError, match="has no parts yet: make them before"):
        make(spread=Spread(finish=True))
    made = make(spread=Spread(1, 3))
    assert (made.parts, made.missing) == (4, [0, 2, 3])
    assert str(made) == "1 of 4 parts are made; 3 are missing."
    with pytest.raises(embeddings.ArgumentError, match=r"lacks 3 of its 4 parts: 0, 2, 3\. Make"):
        make(spread=Spread(finish=True))
    make(spread=Spread(0, 3))
    assert str(make(spread=Spread(2, 3))) == "4 of 4 parts are made: pass --finish."
    made = make(spread=Spread(finish=True))
    assert made.rows == 8
    assert list(made.errors) == [videos[1].path]
    assert output.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "videos", "whole.npz"]


def test_a_machine_without_the_videos_is_said_before_it_makes_parts(model, videos, tmp_path):
    missing = [Video(f"{video.path}.gone", "c1") for video in videos]
    side = Split(missing, VideoReader(0, 0), "test", "")
    with pytest.raises(embeddings.ArgumentError, match=r"3\.avi\.gone is not on .* must see the"):
        embeddings.store(
            model, "avg_pool", side, tmp_path / "f.npz", per="video", spread=Spread(0, 2)
        )
    assert not list((tmp_path / "f.npz.parts").glob("*.npz"))


def test_another_list_of_videos_is_refused(model, videos, tmp_path):
    output = tmp_path / "f.npz"
    stop(model, videos[1:], output)
    with pytest.raises(embeddings.ArgumentError, match="videos: 3 then, 4 now"):
        extract(model, videos, output)


def test_parts_of_another_request_are_refused_with_both(model, videos, tmp_path):
    stop(model, videos, tmp_path / "f.npz")
    other = dataclasses.replace(model, clips=dataclasses.replace(model.clips, frames=8))
    with pytest.raises(embeddings.ArgumentError) as caught:
        extract(other, videos, tmp_path / "f.npz", layer="conv1")
    assert "clips.frames: 4 then, 8 now" in str(caught.value)
    assert "layer: avg_pool then, conv1 now" in str(caught.value)
    # It was moved, and is the same.
    extract(dataclasses.replace(model, name="moved"), videos, tmp_path / "f.npz")


def test_two_at_once_are_refused(model, videos, tmp_path):
    refused = []

    class Meanwhile(VideoReader):
        def windows(self, video, *arguments):
            try:
                extract(model, videos[:1], tmp_path / "f.npz")
            except embeddings.ArgumentError as error:
                refused.append(str(error))
            yield from super().windows(video, *arguments)

    extract(model, videos[:1], tmp_path / "f.npz", reader=Meanwhile(0, 0))
    assert len(refused) == 1
    assert "Another process writes to" in refused[0]


def test_a_damaged_part_is_made_again_or_said(model, videos, tmp_path):
    extract(model, videos, tmp_path / "whole.npz")
    stop(model, videos, tmp_path / "f.npz")
    part = tmp_path / "f.npz.parts" / "00000.npz"
    whole = part.read_bytes()
    at = whole.index(np.float32(300).tobytes()[2:])
    part.write_bytes(whole[:at] + b"?" + whole[at + 1 :])  # a value, which is read in the end
    with pytest.raises(embeddings.ArgumentError, match=r"00000\.npz is damaged .*remove it, then"):
        extract(model, videos, tmp_path / "f.npz")
    part.write_bytes(whole[:-50])
    extract(model, videos, tmp_path / "f.npz")
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_embeddings_in_memory_are_those_of_the_file(model, videos, tmp_path):
    stored = extract(model, videos, tmp_path / "f.npz")
    side = Split(videos, VideoReader(0, 0), "test", "")
    kept = embeddings.of_videos(model, "avg_pool", side, per="window")
    for name in feature_file.COLUMNS:
        np.testing.assert_array_equal(getattr(kept, name), getattr(stored, name))
    assert kept.metadata == stored.metadata


def test_no_readable_video_is_an_error_and_leaves_no_output(model, videos, tmp_path):
    with pytest.raises(embeddings.ArgumentError, match="None of the 1 videos can be read"):
        extract(model, [videos[1]], tmp_path / "f.npz")
    assert not (tmp_path / "f.npz").exists()


def test_embeddings_that_are_not_finite_are_refused(model, videos):
    nothing = Classifier(**vars(model) | {"score": lambda clips: np.full((len(clips), 3), np.nan)})
    with pytest.raises(scoring.ModelError, match="not finite"):
        list(scoring.score(nothing, VideoReader(0, 0), videos[:1], probabilities=False))


def test_a_file_of_something_else_is_said(tmp_path):
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(feature_file.ArgumentError, match=r"other.npz is no file of embeddings"):
        feature_file.read(tmp_path / "other.npz")
    with pytest.raises(feature_file.ArgumentError, match=r"must end in .npz or .parquet"):
        feature_file.check_suffix(tmp_path / "other.csv")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_large_files_are_written_in_pieces(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    texts = [f"{'ä' * (n % 5)}" for n in range(20)]
    rows = {name: np.array(texts) for name in feature_file.TEXTS}
    rows |= {"embedding": np.arange(40, dtype=np.float32).reshape(20, 2), "window": np.arange(20)}
    rows |= {name: np.arange(20) / 7 for name in ("start_seconds", "end_seconds")}

    def batches(columns):
        for first, last in ((0, 1), (1, 9), (9, 10), (10, 20)):
            yield {name: rows[name][first:last] for name in columns}

    path = tmp_path / f"f{suffix}"
    feature_file.write(path, batches, False, {"a": "é"})
    back = feature_file.read(path)
    assert back.label is None
    assert back.metadata == {"a": "é"}
    for name in set(feature_file.COLUMNS) - {"label"}:
        np.testing.assert_array_equal(getattr(back, name), rows[name])


def test_parquet_holds_the_same(model, videos, tmp_path):
    pytest.importorskip("pyarrow")
    one = extract(model, videos, tmp_path / "f.npz")
    other = extract(model, videos, tmp_path / "f.parquet")
    for name in feature_file.COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.metadata == other.metadata


def test_parquet_without_pyarrow_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(feature_file.ArgumentError, match="Parquet needs pyarrow"):
        feature_file.check_suffix(tmp_path / "f.parquet")


def run(*words, code: int = 0) -> str:
    return commands.output(features.main, *words, code=code)


def test_several_videos_stand_before_the_flags(tmp_path):
    words = (tmp_path, "b*.mp4", "--output", tmp_path / "f.npz", "--per", "window")
    expected = f"Error: {tmp_path} holds no videos. Known suffixes: .3gp "
    assert run(*words, code=1).startswith(expected)
    write_video(tmp_path / "1.avi")
    assert "Name a model: --model RUN or --model FILE." in run(*words, code=1)


def test_a_model_and_a_run_are_not_mixed_up(tmp_path):
    video = write_video(tmp_path / "1.avi")
    given = (video, "--output", tmp_path / "f.npz")
    for named, message in (
        (("--model", tmp_path / "none.keras"), "there is no such model"),
        (("--workdir", tmp_path), "recipe.toml was expected in it"),
        (("--workdir", tmp_path, "--recipe", "demo"), "--recipe is for a --model without"),
    ):
        assert message in run(*given, *named, code=1)


def test_neighbors_go_by_their_old_name_too(model, videos, tmp_path):
    extract(model, videos, tmp_path / "f.npz")
    run("--output", tmp_path / "f.npz", "--neighbours", "2", "--devices", "cpu")
    assert (tmp_path / "f.neighbors.csv").read_text().count("\n") == 1 + 8 * 2


@pytest.mark.slow
def test_the_command(class_folders, tmp_path):
    network = applications.R3D10(width=0.0625, classes=2, input_shape=(4, 32, 32, 3))
    network.save(tmp_path / "m.keras")
    (class_folders / "red" / "broken.mp4").write_bytes(b"no video")
    with open(os.fsencode(tmp_path) + b"/\xff.mp4", "wb"):
        pass
    output = tmp_path / "f.npz"
    given = ("--model", tmp_path / "m.keras", "--output", output)
    shown = run("--data_dir", class_folders, *given, "--neighbors", 3, code=1)
    assert "12 embeddings of 12 videos" in shown
    assert "1 videos without embedding" in shown
    assert "recall@1" in shown
    found = feature_file.read(output)
    assert found.embedding.shape == (12, 32)
    assert sorted(set(found.label.tolist())) == ["green", "red"]
    assert (tmp_path / "f.neighbors.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "f.neighbors.csv").read_text().count("\n") == 1 + 12 * 3
    expected = f"{output} already exists; choose another --output."
    assert expected in run(class_folders, *given, code=1)
    given = ("--model", tmp_path / "m.keras", "--output", tmp_path / "all.npz")
    shown = run(tmp_path, *given, code=1)
    assert "12 embeddings of 12 videos" in shown
    assert r"\xff.mp4: its name is not UTF-8: rename it." in shown
    for split in ("train", "test"):
        shutil.copytree(class_folders, tmp_path / "splits" / split)
    given = ("--model", tmp_path / "m.keras", "--output", tmp_path / "s.npz")
    shown = run("--data_dir", tmp_path / "splits", *given, code=1)
    assert "--split is missing: " in shown, "as evaluate says"
    assert " has ['test', 'train']." in shown
    assert "linear probe:" in run("--output", output, "--gallery", output, "--probe")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_as_it_starts_goes_on(tmp_path, number):
    write_video(tmp_path / "v.avi")
    script = (
        "import time\n"
        "from keras_r3d import features\n"
        "from keras_r3d.inference.models import opening\n"
        "def slow(*given):\n"
        "    print('opening', flush=True)\n"
        "    time.sleep(60)\n"
        "opening.open_model = slow\n"
        "features.main()\n"
    )
    given = [str(tmp_path / "v.avi"), "--model=m.keras", f"--output={tmp_path / 'f.npz'}"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *given], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "opening\n"
    process.send_signal(number)
    assert "Run the same command to resume." in process.communicate(timeout=30)[0]
    assert process.returncode == 75


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path):
    for number in range(80):
        write_video(tmp_path / "v" / f"{number}.avi", 40, 240, 320)
    network = applications.R3D10(width=0.125, classes=2, input_shape=(4, 32, 32, 3))
    network.save(tmp_path / "m.keras")
    given = (tmp_path / "v", "--model", tmp_path / "m.keras", "--per", "window", "--output")
    command = [sys.executable, "-m", "keras_r3d.features", *map(str, given)]
    run(*given, tmp_path / "whole.npz")
    for number, expected in ((signal.SIGTERM, 75), (signal.SIGKILL, -9)):
        process = subprocess.Popen(
            [*command, str(tmp_path / f"{number.name}.npz")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in process.stdout:
            if " videos, " in line:
                break
        process.send_signal(number)
        said = process.communicate()[0]
        assert process.returncode == expected, said
        if number == signal.SIGTERM:
            assert "Run the same command to resume." in said
    run(*given, tmp_path / "SIGTERM.npz")
    run(*given, tmp_path / "SIGKILL.npz")
    for name in ("SIGTERM", "SIGKILL"):
        assert (tmp_path / f"{name}.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
