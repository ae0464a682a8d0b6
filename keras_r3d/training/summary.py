"""What a finished run came to, and the commands that come next, as lines of text."""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from keras_r3d import run_folder
from keras_r3d.run_folder import Run


def closing_lines(run: Run) -> list[str]:
    """Returns the figures of a finished run, and what to look at and run next.

    Of several workers the first names the evaluation only, which was not done; the others nothing.
    """
    summary, path = run.summary, shlex.quote(str(run.path))
    few = run.recipe.few is not None
    if not few and "evaluation" not in summary:
        return [f"Next: python -m keras_r3d.evaluate --model {path}"] if summary else []
    rows = _rows_of_few(summary) if few else _rows(summary, run.recipe.train.epochs)
    python = os.path.relpath(sys.executable)
    python = os.path.normpath(sys.executable) if python.startswith("..") else python
    picture = run.path / (run_folder.CLIPS if few else run_folder.CURVES)
    commands = [
        f"{python} -m keras_r3d.export --model {path} --format saved_model",
        f"{python} -m keras_r3d.export --model {path} --format tflite",
    ]
    if few:
        commands.insert(0, f"{python} -m keras_r3d.predict VIDEO --model {path}")
    else:
        board = f"{path}/{run_folder.TENSORBOARD}"
        commands.insert(0, f"{python} -m tensorboard.main --logdir {board}")
        commands.insert(1, f"{python} -m keras_r3d.evaluate --model {path}")
    lines = [
        "",
        *(f"  {name:18}{value}" for name, value in rows),
        "",
        f"Look at {picture} and {run.path / run_folder.CONFUSION}. Next:",
        *(f"  {command}" for command in commands),
    ]
    if run.recipe.videos.rendered:
        lines += [
            "With videos of your own, a folder for each class:",
            f"  {python} -m keras_r3d.train YOUR_VIDEOS --recipe few",
        ]
    return lines


def _rows(summary: Mapping[str, Any], epochs: int) -> list[tuple[str, str]]:
    rows = [
        ("best epoch", f"{summary['best_epoch']} of {epochs}"),
        ("training", f"{summary['training_minutes']:.1f} minutes"),
        ("clips a second", f"{summary['clips_per_second']:.1f}"),
        ("waiting for data", f"{summary['data_wait']:.1%} of the steps' time"),
        ("logs and states", f"{summary['bookkeeping']:.1%} of the time"),
        ("broken videos", str(summary.get("broken_videos", 0))),
    ]
    if summary.get("best_clip_top1") is not None:
        rows.insert(1, ("validation clips", f"top-1 {summary['best_clip_top1']:.1%}"))
    scores = summary["evaluation"]
    return [
        *rows,
        (f"{scores['split']} clips", f"top-1 {scores['clip_top1']:.1%}"),
        (f"{scores['split']} videos", f"top-1 {scores['video_top1']:.1%}"),
    ]


def _rows_of_few(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(stage, f"{seconds:.1f} s") for stage, seconds in summary["seconds"].items()]
    for name in ("cross_validation", "evaluation"):
        if scores := summary.get(name):
            low, high = scores["video_top1_interval"]
            right = f"{scores['video_top1']:.1%} of {scores['videos']} videos"
            rows.append((scores["split"], f"{right} ({low * 100:.1f}-{high:.1%})"))
    return rows
