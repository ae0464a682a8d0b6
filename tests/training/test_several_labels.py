"""Training on videos with several labels, and all that is done with such a model."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_video
from steps import HARDWARE, RATE, batch, take, tiny, values
from steps import train as small_train

from keras_r3d import VideoClassifier, applications, recipe
from keras_r3d.inference.embeddings import feature_file, neighbors, probe
from keras_r3d.training import finetune, train
from keras_r3d.training.optimization.step import Steps

pytestmark = pytest.mark.usefixtures("cheap_pictures")
SIZE, FRAMES = 32, 4
CLASSES = ["blue", "green", "red"]
SETS = [(), ("red",), ("green",), ("blue",), ("red", "green"), ("green", "blue"), ("blue", "red")]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Videos with any of three colors; `labels` of them in a list with splits."""
    folder = tmp_path_factory.mktemp("videos")
    lines = ["path,labels,split"]
    for split, count in (("train", 5), ("validation", 2), ("test", 2)):
        for number in range(count):
            for place, names in enumerate(SETS):
                name = f"{split}{number}_{place}.avi"
                tint = [0.9 if color in names else 0.1 for color in ("red", "green", "blue")]
                write_video(folder / name, 8, tint=tint, base=20 + 8 * number)
                lines.append(f"{name},{'|'.join(names)},{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    keras.utils.set_random_seed(1)
    network = applications.R3D10(classes=3, width=1 / 16, input_shape=(FRAMES, SIZE, SIZE, 3))
    path = str(tmp_path_factory.mktemp("weights") / "weights.keras")
    network.save(path)
    return path


def changes(weights, *more):
    cut = [f"clips.frames={FRAMES}", f"clips.size={SIZE}", "clips.short_side="]
    return [*cut, "eval.batch_size=4", f"model.weights={json.dumps(weights)}", *more]


@pytest.fixture(scope="module")
def few(videos, weights, tmp_path_factory, cheap_pictures):
    return train(
        "few",
        videos,
        workdir=tmp_path_factory.mktemp("few") / "run",
        overrides=changes(weights),
        say=[].append,
    )


def test_few_names_all_labels(few):
    figures = few.summary["evaluation"]
    assert figures["mean_average_precision"] > 0.9
    assert figures["mean_f1"] > 0.8
    assert few.summary["cross_validation"]["mean_average_precision"] > 0.9
    rows = list(csv.DictReader((few.path / "per_class.csv").open()))
    assert [row["class"] for row in rows] == CLASSES
    kept = applications.read_metadata(keras.models.load_model(few.model_path()))
    assert kept.thresholds == pytest.approx(few.thresholds)
    assert [float(row["threshold"]) for row in rows] == pytest.approx(few.thresholds, abs=1e-4)


def test_a_classifier_says_what_it_names(few, videos, tmp_path):
    classifier = VideoClassifier(few)
    assert classifier.thresholds == pytest.approx(dict(zip(CLASSES, few.thresholds, strict=True)))
    prediction = classifier.predict(videos / "test0_4.avi")
    assert sorted(prediction.named_classes()) == ["green", "red"]
    # As training on few videos has evaluated it.
    recorded = json.loads((few.path / "evaluation.json").read_text())["records"]
    record = next(row for row in recorded if row["video"] == str(videos / "test0_4.avi"))
    assert [row["score"] for row in record["top"]] == pytest.approx(
        [score for _, score in prediction.top(3)], abs=1e-5
    )
    again = classifier.evaluate()
    assert again.figures()["mean_average_precision"] == pytest.approx(
        few.summary["evaluation"]["mean_average_precision"]
    )
    saved = VideoClassifier(classifier.save(tmp_path / "saved.keras"))
    assert saved.thresholds == classifier.thresholds


def test_features_know_their_labels(few, videos, tmp_path):
    classifier = VideoClassifier(few)
    features = classifier.embed(videos, split="test")
    assert features.metadata["several_labels"] is True
    assert set(features.label) == {";".join(sorted(names)) for names in SETS}
    classifier.embed(videos, split="test", output=tmp_path / "test.npz")
    read = feature_file.read(tmp_path / "test.npz")
    assert (read.label == features.label).all()
    train_features = classifier.embed(videos, split="train")
    probed = probe.probe(train_features, read)
    assert probed.precision > 0.9
    assert "mean average precision" in str(probed)
    figures = neighbors.find(read, train_features, 3).figures
    # Those without a label, two of them, share none.
    assert (figures.queries, figures.alone) == (14, 2)


@pytest.mark.parametrize(
    "form", [pytest.param("tflite", marks=pytest.mark.slow), "saved_model", "onnx", "openvino"]
)
def test_exports_name_several_labels(few, videos, tmp_path, form):
    if form in ("onnx", "openvino"):
        pytest.importorskip({"onnx": "tf2onnx"}.get(form, form))
    output = tmp_path / {"tflite": "m.tflite", "onnx": "m.onnx"}.get(form, "model")
    exported = VideoClassifier(few).export(form, output, videos=4)
    assert "mean avg. prec." in str(exported.parity)
    opened = VideoClassifier(exported.path)
    assert opened.thresholds == VideoClassifier(few).thresholds
    assert sorted(opened.predict(videos / "test0_5.avi").named_classes()) == ["blue", "green"]
    if form == "saved_model":
        from keras_r3d.serving import remote

        assert remote.known_of(exported.path)[0].thresholds == few.thresholds
        assert remote.known_of(few.path)[0].thresholds == few.thresholds


def test_a_network_is_trained_and_its_thresholds_are_chosen_on_validation(videos, tmp_path):
    lines: list[str] = []
    sizes = [f"clips.frames={FRAMES}", f"clips.size={SIZE}", "model.width=0.0625"]
    rates = [
        "videos.annotations=auto",
        "train.epochs=2",
        "train.batch_size=5",
        "train.schedule.warmup_epochs=",
    ]
    run = train(
        "demo",
        videos,
        workdir=tmp_path / "run",
        overrides=[*sizes, *rates, "eval.batch_size=4", "train.class_weights=true"],
        say=lines.append,
    )
    assert run.summary["evaluation"]["mean_average_precision"] > 0.4
    assert any("highest F1 in validation" in line for line in lines)
    model = keras.models.load_model(run.model_path())
    assert applications.read_metadata(model).thresholds == pytest.approx(run.thresholds)
    assert set(run.thresholds) != {0.5}
    assert model.layers[-1].activation is keras.activations.sigmoid
    assert model.compiled
    assert json.loads((run.path / "summary.json").read_text())["several_labels"] is True
    # Once more: nothing is trained or chosen again.
    before = run.model_path().stat().st_mtime_ns
    train(
        "demo",
        videos,
        workdir=tmp_path / "run",
        overrides=[*sizes, *rates, "eval.batch_size=4", "train.class_weights=true"],
        say=lines.append,
    )
    assert run.model_path().stat().st_mtime_ns == before


@pytest.mark.parametrize("several", [True, False])
def test_the_classifier_of_weights_is_kept_for_as_many_labels_only(tmp_path, several):
    shape = (FRAMES, SIZE, SIZE, 3)
    network = applications.R3D10(
        labels=CLASSES, width=1 / 16, input_shape=shape, classifier_activation="sigmoid"
    )
    network.save(tmp_path / "w.keras")
    model = recipe.Model(weights=str(tmp_path / "w.keras"))
    said: list[str] = []
    built = finetune.build_model(model, shape, CLASSES, said.append, several=several)
    assert ("kept" in said[0]) == several
    kind = keras.activations.sigmoid if several else keras.activations.softmax
    assert built.layers[-1].activation is kind


@pytest.mark.parametrize("weighted", [None, [0.5, 2.0, 0.75]])
def test_a_step_is_of_binary_cross_entropy(weighted):
    rows = tf.constant([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]], tf.float32)
    clips, plain, network = batch(4)[0], tiny(), tiny()
    settings = small_train(label_smoothing=0.2)
    steps = Steps(network, settings, HARDWARE, classes=3, class_weights=weighted, several=True)
    sums = take(steps, clips=(clips, rows))
    wanted = rows * 0.8 + 0.1
    with tf.GradientTape() as tape:
        logits = plain(clips, training=True)
        shares = tf.sigmoid(logits)
        each = -(wanted * tf.math.log(shares) + (1 - wanted) * tf.math.log(1 - shares))
        losses = tf.reduce_sum(each * (weighted or [1.0] * 3), 1)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, [v.value for v in plain.trainable_variables])
    for variable, one in zip(plain.trainable_variables, gradients, strict=True):
        variable.assign_sub(RATE * one)
    for a, b in zip(values(plain), values(network), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    best = logits.numpy().argmax(axis=1)
    right = rows.numpy()[np.arange(4), best].sum()
    assert sums[:3] == pytest.approx([losses.numpy().sum(), right, 3], rel=1e-5)
    results, confusion = steps.validate((clips, rows))
    assert results.numpy()[-1] == 4
    assert confusion.numpy().sum() == rows.numpy().sum()


def test_weights_of_several_labels_stay_such(tmp_path):
    shape = (FRAMES, SIZE, SIZE, 3)
    options = {"width": 1 / 16, "input_shape": shape, "classifier_activation": "sigmoid"}
    applications.R3D10(classes=3, labels=CLASSES, **options).save(tmp_path / "w.keras")
    same = applications.R3D10(weights=str(tmp_path / "w.keras"), input_shape=shape)
    assert same.layers[-1].activation is keras.activations.sigmoid
    assert applications.read_metadata(same).thresholds == (0.5, 0.5, 0.5)
    with pytest.warns(UserWarning, match="classifier"):
        other = applications.R3D10(weights=str(tmp_path / "w.keras"), input_shape=shape, classes=2)
    assert applications.read_metadata(other).thresholds is None


@pytest.mark.slow
def test_fine_tuning_after_few_keeps_thresholds_of_what_was_held_out(videos, weights, tmp_path):
    lines: list[str] = []
    longer = ["few.finetune_epochs=2", "train.schedule.warmup_epochs=", "train.batch_size=8"]
    run = train(
        "few",
        videos,
        workdir=tmp_path / "run",
        overrides=changes(weights, *longer),
        say=lines.append,
    )
    (line,) = [line for line in lines if line.startswith("Fine-tuning: loss of")]
    kept = applications.read_metadata(keras.models.load_model(run.model_path()))
    assert kept.thresholds == pytest.approx(run.thresholds)
    chosen_by = run.path / "evaluations" / "cross-validation" / "per_class.csv"
    assert chosen_by.is_file()
    assert ("network is trained" in line) or ("linear classifier is kept" in line)
