"""The model card: one page for people about an exported model."""

from typing import Any

from keras_r3d.data.decoding.flow import ALGORITHMS
from keras_r3d.export.record import Record
from keras_r3d.export.source import Source
from keras_r3d.inference.models import protocol

_MOST_CLASSES = 60
_USE = {
    "saved_model": """\
TensorFlow Serving loads the folder above this one's version; the files for it and examples are in
`docs/serving.md` of keras_r3d. Without keras and keras_r3d:

```python
import tensorflow as tf

model = tf.saved_model.load("{path}")
found = model.signatures["serving_default"](clip=clips)  # uint8 (batch, {shape})
```""",
    "tflite": """\
```python
import tensorflow as tf  # or: from ai_edge_litert.interpreter import Interpreter

interpreter = tf.lite.Interpreter("{path}")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clip)  # uint8 (1, {shape})
interpreter.invoke()
scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
```

Class names and how clips are cut are in the file: `unzip -p {path} labels.txt`, `model.json`.""",
    "onnx": """\
```python
import onnxruntime

session = onnxruntime.InferenceSession("{path}")
(scores,) = session.run(["probabilities"], {{"clip": clips}})  # uint8 (batch, {shape})
```""",
    "openvino": """\
```python
import openvino

model = openvino.Core().compile_model("{path}/model.xml", "CPU")
scores = model(clips)["probabilities"]  # uint8 (batch, {shape})
```""",
}


def text(source: Source, record: Record, path: str) -> str:
    """Returns the card as Markdown.

    Args:
        record: what `export.json` says.
        path: name of the export, for the example.
    """
    experiment = source.manifest.recipe
    data = experiment.data
    name = f"{source.run.name}: {source.network.name}"
    sections = [
        f"# {name}, {record['format']}{_quantized(record)}",
        "A 3D residual network that tells which of "
        f"{len(source.manifest.classes)} classes a video is of, exported by keras_r3d "
        f"{record['versions']['keras_r3d']}. `export.json` has hashes, versions and signatures.",
        "## Input and output",
        f"{_pixels(data)}, uint8, {data.frames} frames of {data.size}×{data.size}, 0–255: the "
        "model normalises itself. Output: a probability for each class, float32.",
        f"Videos are cut and scored so: {protocol.described(data, experiment.eval)}.",
        "## Use",
        _USE[record["format"]].format(
            path=path, shape=f"{data.frames}, {data.size}, {data.size}, {data.channels}"
        )
        + "\n\nOr with keras_r3d, videos and all: "
        f"`python -m keras_r3d.predict --model {path} VIDEO`.",
        "## How good it is",
        _evaluation(source),
        f"Export against Keras, on {record['parity']['videos']} videos of the split "
        f"'{experiment.eval.split}':",
        _parity(record),
        "## Training",
        _training(source),
        "## Limits",
        "The figures hold for videos like those it was trained and tested on. It always answers "
        "with one of its classes, also where none of them is seen. What the videos may be used "
        "for, and with that the model, is not recorded here.",
        "## Classes",
        _classes(list(source.manifest.classes)),
    ]
    return "\n\n".join(sections) + "\n"


def _quantized(record: Record) -> str:
    return "" if record["quantize"] == "none" else f" ({record['quantize']})"


def _pixels(data) -> str:
    if data.input in ALGORITHMS:
        return f"Optical flow ({data.input}), x and y as bytes around 128"
    return "RGB"


def _evaluation(source: Source) -> str:
    found = source.run.summary.get("evaluation")
    if not found:
        return "The run was not evaluated (`python -m keras_r3d.evaluate --workdir RUN`)."
    lines = [f"Keras model, {found['videos']} videos of the split '{found['split']}':", ""]
    lines += ["| | accuracy | 95 % interval |", "| --- | --- | --- |"]
    names = {
        "video_top1": "video top-1",
        "video_top5": f"video top-{found.get('top5_places', 5)}",
        "clip_top1": "clip top-1",
        "mean_class_accuracy": "mean of classes",
    }
    for key, title in names.items():
        if found.get(key) is not None:
            interval = found.get(f"{key}_interval")
            between = f"{interval[0]:.1%} – {interval[1]:.1%}" if interval else ""
            lines.append(f"| {title} | {found[key]:.1%} | {between} |")
    return "\n".join(lines)


def _parity(record: Record) -> str:
    found: dict[str, Any] = record["parity"]
    lines = ["| | Keras | export |", "| --- | --- | --- |"]
    for key, title in (("video_top1", "video top-1"), ("clip_top1", "clip top-1")):
        lines.append(f"| {title} | {found['keras'][key]:.1%} | {found['export'][key]:.1%} |")
    lines.append(
        f"| size | {_megabytes(record['source']['model_bytes'])} | {_megabytes(record['bytes'])} |"
    )
    lines += [
        "",
        f"Same class in {found['same_windows']} of {found['windows']} windows; largest difference "
        f"of a probability {found['largest_difference']:.1e}.",
    ]
    return "\n".join(lines)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _training(source: Source) -> str:
    said, model = source.run.summary, source.manifest.recipe.model
    counts = ", ".join(f"{name} {count}" for name, count in said.get("videos", {}).items())
    lines = [f"Network {source.network.name}, started from {model.weights or 'random weights'}."]
    if counts:
        lines.append(f"Videos: {counts}.")
    if said.get("started"):
        lines.append(f"Trained on {said['started'][:10]}.")
    return " ".join(lines)


def _classes(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_CLASSES])
    left = len(names) - _MOST_CLASSES
    return shown if left <= 0 else f"{shown}, … and {left} more"
