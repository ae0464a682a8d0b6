"""The model card: one page for people about an exported model.

`card.md` is filled in; how a format is used is in `card.FORMAT.md`.
"""

import string
from pathlib import Path
from typing import Any

from keras_r3d.data.decoding.flow import ALGORITHMS
from keras_r3d.export.formats import Source
from keras_r3d.export.parity import ACCURACIES
from keras_r3d.inference.models import protocol
from keras_r3d.inference.models.opening import Opened

_MOST_CLASSES = 60
_ONE = "It always answers with one of\nits classes, also where none of them is seen."
_SEVERAL = (
    "A class is named from the score on\nthat stands behind it below; unknown ones never are."
)


def text(opened: Opened, source: Source, record: dict[str, Any], split: str, path: str) -> str:
    """Returns the card as Markdown.

    `record` is what `export.json` says, `split` of the videos that the export was compared on,
    `path` the name of the export, for the example.
    """
    model, run, parity = opened.classifier, opened.run, record["parity"]
    clips, summary = model.clips, {} if run is None else run.summary
    name = "" if run is None else f"{run.name}: "
    quantized = "" if record["quantize"] == "none" else f" ({record['quantize']})"
    flow = f"Optical flow ({clips.input}), x and y as bytes around 128"
    names, thresholds = list(source.classes[:_MOST_CLASSES]), source.metadata.thresholds
    if thresholds is not None:
        names = [f"{name} ({limit:.2f})" for name, limit in zip(names, thresholds, strict=False)]
    left = len(source.classes) - _MOST_CLASSES
    more = f", … and {left} more" if left > 0 else ""
    rows = [
        (title, *(f"{parity[side][key]:.1%}" for side in ("keras", "export")))
        for key, title in ACCURACIES.items()
        if key in parity["keras"]
    ]
    sizes = (f"{size / 1e6:.1f} MB" for size in (record["source"]["model_bytes"], record["bytes"]))
    use = _template(f"card.{record['format']}.md")
    return _template("card.md").substitute(
        parity,  # videos, windows and same_windows
        title=f"{name}{source.network.name}, {record['format']}{quantized}",
        count=len(source.classes),
        version=record["versions"]["keras_r3d"],
        pixels=flow if clips.input in ALGORITHMS else "RGB",
        frames=clips.frames,
        size="×".join(map(str, clips.image_size)),
        scored=protocol.described(clips, model.eval),
        use=use.substitute(path=path, shape=", ".join(map(str, clips.shape))).rstrip(),
        path=path,
        evaluation=_evaluation(summary.get("evaluation")),
        split=split,
        accuracies="\n".join(map(_row, (*rows, ("size", *sizes)))),
        difference=f"{parity['largest_difference']:.1e}",
        training=_training(source, summary),
        several="" if thresholds is None else " (there may be several at once)",
        limits=_ONE if thresholds is None else _SEVERAL,
        classes=", ".join(names) + more,
    )


def _template(name: str) -> string.Template:
    return string.Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))


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
        "mean_average_precision": "mean average precision",
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
