"""The model card: one page for people about an exported model."""

from collections.abc import Sequence
from typing import Any

from keras_r3d.data.decoding.flow import ALGORITHMS
from keras_r3d.export.formats import Source
from keras_r3d.inference.models import protocol
from keras_r3d.inference.models.opening import Opened

_MOST_CLASSES = 60
_USE = {
    "saved_model": """\
TensorFlow Serving loads the folder above this one's version; the files for it and examples are in
`docs/serving.md` of keras_r3d. Without keras and keras_r3d:

```python
import tensorflow as tf

model = tf.saved_model.load("{path}")
answer = model.signatures["serving_default"](clip=clips)  # uint8 (batch, {shape})
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
_CARD = """\
# {title}

A 3D residual network that tells which of {classes} classes a video shows, exported by keras_r3d
{version}. `export.json` has hashes, versions and signatures.

## Input and output

{pixels}, uint8, {frames} frames of {size}×{size}, 0–255: the model normalizes itself. Output: a
probability for each class, float32.

Videos are cut and scored so: {scored}.

## Use

{use}

Or with keras_r3d, videos and all: `python -m keras_r3d.predict --model {path} VIDEO`.

## How good it is

{evaluation}

Export against Keras, on {compared} videos of the split '{split}':

{parity}

## Training

{training}

## Limits

The figures hold for videos like those it was trained and tested on. It always answers with one of
its classes, also where none of them is seen. What the videos may be used for, and with that the
model, is not recorded here.

## Classes

{names}
"""


def text(opened: Opened, source: Source, record: dict[str, Any], split: str, path: str) -> str:
    """Returns the card as Markdown.

    Args:
        record: what `export.json` says.
        split: of the videos that the export was compared on.
        path: name of the export, for the example.
    """
    own, run = opened.classifier, opened.run
    data, network = own.data, source.network.name
    title = network if run is None else f"{run.name}: {network}"
    quantized = "" if record["quantize"] == "none" else f" ({record['quantize']})"
    flow = f"Optical flow ({data.input}), x and y as bytes around 128"
    shape = f"{data.frames}, {data.size}, {data.size}, {data.channels}"
    names = ", ".join(source.classes[:_MOST_CLASSES])
    if (left := len(source.classes) - _MOST_CLASSES) > 0:
        names += f", … and {left} more"
    summary = {} if run is None else run.summary
    return _CARD.format(
        title=f"{title}, {record['format']}{quantized}",
        classes=len(source.classes),
        version=record["versions"]["keras_r3d"],
        pixels=flow if data.input in ALGORITHMS else "RGB",
        frames=data.frames,
        size=data.size,
        scored=protocol.described(data, own.eval),
        use=_USE[record["format"]].format(path=path, shape=shape),
        path=path,
        evaluation=_evaluation(summary.get("evaluation")),
        compared=record["parity"]["videos"],
        split=split,
        parity=_parity(record),
        training=_training(source, summary),
        names=names,
    )


def _evaluation(figures: dict[str, Any] | None) -> str:
    if not figures:
        return "The model was not evaluated (`python -m keras_r3d.evaluate --workdir RUN`)."
    rows = []
    names = {
        "video_top1": "video top-1",
        "video_top5": f"video top-{figures.get('top5_places', 5)}",
        "clip_top1": "clip top-1",
        "mean_class_accuracy": "mean of classes",
    }
    for key, title in names.items():
        if figures.get(key) is not None:
            interval = figures.get(f"{key}_interval")
            between = f"{interval[0]:.1%} – {interval[1]:.1%}" if interval else ""
            rows.append((title, f"{figures[key]:.1%}", between))
    heading = f"Keras model, {figures['videos']} videos of the split '{figures['split']}':"
    return f"{heading}\n\n{_table(('', 'accuracy', '95 % interval'), rows)}"


def _parity(record: dict[str, Any]) -> str:
    parity: dict[str, Any] = record["parity"]
    rows = [
        (title, f"{parity['keras'][key]:.1%}", f"{parity['export'][key]:.1%}")
        for key, title in (("video_top1", "video top-1"), ("clip_top1", "clip top-1"))
    ]
    sizes = record["source"]["model_bytes"], record["bytes"]
    rows.append(("size", *(f"{size / 1e6:.1f} MB" for size in sizes)))
    return (
        f"{_table(('', 'Keras', 'export'), rows)}\n\n"
        f"Same class in {parity['same_windows']} of {parity['windows']} windows; largest "
        f"difference of a probability {parity['largest_difference']:.1e}."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _training(source: Source, summary: dict[str, Any]) -> str:
    tables = source.metadata.recipe or {}
    weights = tables.get("model", {}).get("weights") or source.metadata.weights
    sentences = [f"Network {source.network.name}, started from {weights or 'random weights'}."]
    if counts := summary.get("videos"):
        sentences.append(
            "Videos: " + ", ".join(f"{split} {count}" for split, count in counts.items()) + "."
        )
    if summary.get("started"):
        sentences.append(f"Trained on {summary['started'][:10]}.")
    return " ".join(sentences)
