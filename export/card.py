"""The model card: one page for people about an exported model, `card.md` filled in."""

import string
from pathlib import Path
from typing import Any

from keras_r3d.data.decoding.flow import ALGORITHMS
from keras_r3d.export.formats import Source
from keras_r3d.export.parity import ACCURACIES
from keras_r3d.inference.models import protocol
from keras_r3d.inference.models.opening import Opened

_MOST_CLASSES = 60
_USE = {
    "saved_model": """\
TensorFlow Serving loads the folder above this one's version; the files for it and examples are in
`docs/serving.md` of keras_r3d. Without keras and keras_r3d:

```python
import tensorflow as tf

model = tf.saved_model.load("$path")
answer = model.signatures["serving_default"](clip=clips)  # uint8 (batch, $shape)
```""",
    "tflite": """\
```python
import tensorflow as tf  # or: from ai_edge_litert.interpreter import Interpreter

interpreter = tf.lite.Interpreter("$path")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clip)  # uint8 (1, $shape)
interpreter.invoke()
scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
```

Class names and how clips are cut are in the file: `unzip -p $path labels.txt`, `model.json`.""",
    "onnx": """\
```python
import onnxruntime

session = onnxruntime.InferenceSession("$path")
(scores,) = session.run(["probabilities"], {"clip": clips})  # uint8 (batch, $shape)
```""",
    "openvino": """\
```python
import openvino

model = openvino.Core().compile_model("$path/model.xml", "CPU")
scores = model(clips)["probabilities"]  # uint8 (batch, $shape)
```""",
}


def text(opened: Opened, source: Source, record: dict[str, Any], split: str, path: str) -> str:
    """Returns the card as Markdown.

    Args:
        record: what `export.json` says.
        split: of the videos that the export was compared on.
        path: name of the export, for the example.
    """
    own, run, parity = opened.classifier, opened.run, record["parity"]
    clips, summary = own.clips, {} if run is None else run.summary
    name = "" if run is None else f"{run.name}: "
    quantized = "" if record["quantize"] == "none" else f" ({record['quantize']})"
    flow = f"Optical flow ({clips.input}), x and y as bytes around 128"
    shape = f"{', '.join(map(str, clips.shape))}"
    left = len(source.classes) - _MOST_CLASSES
    shares = [
        (title, *(f"{parity[model][key]:.1%}" for model in ("keras", "export")))
        for key, title in ACCURACIES.items()
    ]
    sizes = (f"{size / 1e6:.1f} MB" for size in (record["source"]["model_bytes"], record["bytes"]))
    template = string.Template(Path(__file__).with_name("card.md").read_text(encoding="utf-8"))
    return template.substitute(
        title=f"{name}{source.network.name}, {record['format']}{quantized}",
        count=len(source.classes),
        version=record["versions"]["keras_r3d"],
        pixels=flow if clips.input in ALGORITHMS else "RGB",
        frames=clips.frames,
        size=clips.size,
        scored=protocol.described(clips, own.eval),
        use=string.Template(_USE[record["format"]]).substitute(path=path, shape=shape),
        path=path,
        evaluation=_evaluation(summary.get("evaluation")),
        videos=parity["videos"],
        split=split,
        accuracies="\n".join(map(_row, (*shares, ("size", *sizes)))),
        same_windows=parity["same_windows"],
        windows=parity["windows"],
        difference=f"{parity['largest_difference']:.1e}",
        training=_training(source, summary),
        classes=", ".join(source.classes[:_MOST_CLASSES])
        + (f", … and {left} more" if left > 0 else ""),
    )


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _evaluation(figures: dict[str, Any] | None) -> str:
    if not figures:
        return "The model was not evaluated (`python -m keras_r3d.evaluate --workdir RUN`)."
    lines = [f"Keras model, {figures['videos']} videos of the split '{figures['split']}':", ""]
    lines += ["| | accuracy | 95 % interval |", "| --- | --- | --- |"]
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
            lines.append(_row((title, f"{figures[key]:.1%}", between)))
    return "\n".join(lines)


def _training(source: Source, summary: dict[str, Any]) -> str:
    tables = source.metadata.recipe or {}
    weights = tables.get("model", {}).get("weights") or source.metadata.weights
    weights = weights or ("random weights" if summary else "weights that are not recorded")
    sentences = [f"Network {source.network.name}, started from {weights}."]
    if counts := summary.get("videos"):
        listed = ", ".join(f"{split} {count}" for split, count in counts.items())
        sentences.append(f"Videos: {listed}.")
    if summary.get("started"):
        sentences.append(f"Trained on {summary['started'][:10]}.")
    return " ".join(sentences)
