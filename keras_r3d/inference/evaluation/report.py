"""The page of an evaluation: figures, curves, classes, mistakes that play, all videos, settings."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_r3d import run_folder
from keras_r3d.data.annotations.labels import join_labels
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding import video_writer
from keras_r3d.inference.evaluation import table
from keras_r3d.inference.evaluation.mistakes import Mistake, Mistakes
from keras_r3d.reports import page as pages

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation

_CURVES = {"loss": "loss", "clip_top1": "clip top-1 accuracy", "learning_rate": "learning rate"}
_OF_A_RUN = ("started", "devices", "best_epoch", "training_minutes", "clips_per_second")
_VERSIONS = ("keras_r3d", "keras", "tensorflow")
_LONGEST = 4.0  # seconds that a mistake plays


def page(evaluation: "Evaluation", mistakes: Mistakes | None) -> str:
    """Returns the page of an evaluation, with its surest mistakes."""
    run, figures = evaluation.run, evaluation.figures()
    clips = not evaluation.one_window_each
    settings = {**evaluation.described, "split": evaluation.split}
    if run is not None:
        settings = {"data_dir": run.summary.get("data_dir")} | settings
        settings |= {name: run.summary[name] for name in _OF_A_RUN if name in run.summary}
        versions = [f"{name} {run.summary[name]}" for name in _VERSIONS if name in run.summary]
        settings["trained by"] = ", ".join(versions)
    name = run.name if run is not None else os.path.basename(str(settings.get("model", "")))
    return pages.render(
        "evaluation.html",
        title=" · ".join(filter(None, ["Evaluation", name, evaluation.split])),
        settings={
            key: printable(value) if isinstance(value, str) else value  # no password of an address
            for key, value in settings.items()
            if value not in (None, "")
        },
        recipe=None if run is None else (run.path / run_folder.RECIPE).read_text("utf-8"),
        shares=[
            (f"{kind} {title}", figures[key], figures[f"{key}_interval"])
            for title, *keys in table.shares(evaluation)
            for kind, key in zip(("clip", "video"), keys, strict=True)
            if key and (clips or kind == "video")
        ],
        facts=[
            *evaluation.rows(),
            *(
                (title, ", ".join(filter(None, [clip if clips else "", video])))
                for title, clip, video in table.facts(evaluation)
            ),
        ],
        explained=table.explained(evaluation),
        warning=evaluation.floor(),
        mistakes=mistakes,
        playing=[] if mistakes is None else [_playing(mistake) for mistake in mistakes.shown],
        data={
            "classes": _class_columns(evaluation),
            "videos": _video_columns(evaluation),
            "confusion": None if evaluation.several else _confusion(evaluation),
            "bins": None if evaluation.several else vars(evaluation.calibration()),
            "curves": [] if run is None else curves({"": run.path}),
        },
    )


def curves(runs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Returns charts of what `log.csv` has of trainings, over each other; none without any.

    `runs` are their folders, by the names that stand beside the lines.
    """
    logs = {name: _read_log(path / run_folder.LOG) for name, path in runs.items()}
    charts = []
    for measure, title in _CURVES.items():
        columns = {measure: "" if measure == "learning_rate" else "training"}
        columns[f"val_{measure}"] = "validation"
        lines = [
            {"name": " ".join(filter(None, [name, kind])), "x": log["epoch"], "y": log[key]}
            for name, log in logs.items()
            for key, kind in columns.items()
            if key in log and not np.isnan(log[key]).all()
        ]
        top = 1.0 if measure == "clip_top1" else None
        if lines:
            charts.append({"title": title, "xlabel": "epoch", "series": lines, "top": top})
    return charts


def _read_log(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def _class_columns(evaluation: "Evaluation") -> list[dict[str, Any]]:
    columns = {"class": evaluation.classes, **evaluation.class_columns()}
    return [pages.column(name.replace("_", " "), values) for name, values in columns.items()]


def _video_columns(evaluation: "Evaluation") -> list[dict[str, Any]]:
    predictions, records = evaluation.predictions, evaluation.records()
    top = [record["top"][0] if record.get("top") else None for record in records]
    named = [join_labels(prediction.named_classes()) for prediction in predictions]
    return [
        pages.column("video", pages.shorter([record["video"] for record in records])),
        pages.column("true", [join_labels(video.labels) for video in evaluation.videos]),
        pages.column("predicted", named),
        pages.column("score", [row["score"] if row else None for row in top], "share"),
        pages.column("", [_mark(record) for record in records]),
        pages.column("remark", [record.get("detail", "") for record in records]),
    ]


def _mark(record: Mapping[str, Any]) -> str:
    if record["status"] == "error":
        return "no score"
    return "right" if record["correct"] else "wrong"


def _confusion(evaluation: "Evaluation") -> list[list[int]]:
    """Returns the cells of the matrix that are not 0: true class, predicted class, videos."""
    matrix = evaluation.confusion()
    return [[int(t), int(p), int(matrix[t, p])] for t, p in zip(*matrix.nonzero(), strict=True)]


def _playing(mistake: Mistake) -> str:
    seconds = mistake.seconds * min(1.0, _LONGEST / max(mistake.seconds[-1], 1e-3))
    return pages.video_url(video_writer.encode(zip(seconds, mistake.frames, strict=True)))
