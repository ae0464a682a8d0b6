"""Writing an evaluation down: table, JSON, confusion matrix."""

from pathlib import Path

from keras_r3d import files
from keras_r3d.inference import confusion
from keras_r3d.inference.protocol import Evaluation


def table(evaluation: Evaluation) -> str:
    """Returns the accuracies as text, clip and video side by side."""
    figures = evaluation.figures()
    k = min(5, len(evaluation.classes))
    lines = [
        f"{'':22}{'clip':>9}{'video':>9}",
        f"{'top-1 accuracy':22}{figures['clip_top1']:9.1%}{figures['video_top1']:9.1%}",
        f"{f'top-{k} accuracy':22}{figures['clip_top5']:9.1%}{figures['video_top5']:9.1%}",
        f"{'scored':22}{figures['windows']:9}{figures['videos'] - figures['errors']:9}",
        f"{'errors (count wrong)':22}{'':9}{figures['errors']:9}",
    ]
    if evaluation.errors:
        lines.append(f"{'top-1 without errors':22}{'':9}{figures['readable_video_top1']:9.1%}")
        lines.append("Videos without a score:")
        lines += [f"  {reason}" for reason in evaluation.errors.values()]
    return "\n".join(lines)


def write_json(evaluation: Evaluation, split: str, path: Path) -> None:
    """Writes accuracies (0-1), counts and one record a video."""
    files.write_json(
        path,
        {
            "split": split,
            **evaluation.figures(),
            "classes": list(evaluation.classes),
            "records": evaluation.records(),
        },
    )


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draws the confusion matrix of videos as PNG."""
    figure = confusion.figure(evaluation.confusion(), evaluation.classes, "scored videos")
    with files.atomic(path) as temporary:
        figure.savefig(temporary, dpi=100)
