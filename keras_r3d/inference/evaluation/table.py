"""An evaluation as a table of text."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.evaluation import Evaluation

_WIDTH = 80
_MOST_LISTED = 20


def table(evaluation: "Evaluation") -> str:
    """Returns the figures as text, clips and videos side by side, with 95 % intervals.

    Clips are left out where every video is one.
    """
    figures, clips = evaluation.figures(), not evaluation.one_window_each
    rows = [("", "clip accuracy", "video accuracy")]
    rows += [(title, "", text) for title, text in evaluation.rows()]
    rows += [(title, share(figures, c), share(figures, v)) for title, c, v in shares(evaluation)]
    rows += facts(evaluation)
    lines = [f"{title:22}{f'{c:24}' if clips else ''}{v}".rstrip() for title, c, v in rows]
    lines += [
        "",
        *textwrap.wrap(explained(evaluation), _WIDTH),
        *textwrap.wrap(evaluation.floor(), _WIDTH),
    ]
    lines += _listed("Without a score", evaluation, "error")
    lines += _listed("Scored in part", evaluation, "partial")
    lines += _listed("Shorter than a clip", evaluation, "ok")
    return "\n".join(lines)


def shares(evaluation: "Evaluation") -> list[tuple[str, str, str]]:
    """Returns titles of accuracies, and their names in `figures` by clips ("" if not) and videos.

    What says the same twice is left out: top-5 of few classes.
    """
    figures = evaluation.figures()
    errors, top5 = bool(figures["errors"]), len(evaluation.classes) > figures["top5_places"]
    rows = [
        ("top-1", "clip_top1", "video_top1", True),
        ("top-5", "clip_top5", "video_top5", top5),
        ("mean of top-1, top-5", "clip_mean", "video_mean", top5),
        ("mean of classes", "", "mean_class_accuracy", "mean_class_accuracy" in figures),
        ("top-1 without errors", "", "readable_video_top1", errors),
        ("top-5 without errors", "", "readable_video_top5", errors and top5),
        ("mean without errors", "", "readable_video_mean", errors and top5),
    ]
    return [(title, clip, video) for title, clip, video, show in rows if show]


def facts(evaluation: "Evaluation") -> list[tuple[str, str, str]]:
    """Returns titles of what is no accuracy, and texts of clips ("" if none) and of videos."""
    figures = evaluation.figures()
    windows = f"{figures['windows']} window{'s' * (figures['windows'] != 1)}"
    largest = f"{figures['largest_class_share']:6.1%} ({figures['largest_class']})"
    rows = [
        ("largest class", "", largest),
        ("chance", "", f"{figures['chance']:6.1%}"),
        ("scored", windows, f"{len(evaluation.scored)} of {figures['videos']} videos"),
    ]
    if figures["errors"]:
        rows.append(("errors", "", f"{figures['errors']}, counted as wrong"))
    if figures["partial"]:
        rows.append(("partial", "", f"{figures['partial']}, scored as far as they decode"))
    if figures.get("ece") is not None:
        rows.append(("calibration error", "", f"{figures['ece']:.3f} (ECE, 0 is best)"))
    return rows


def explained(evaluation: "Evaluation") -> str:
    """Returns how the figures are to be read, in sentences."""
    text = "In brackets: 95 % intervals (Wilson's), in which videos are the independent units."
    if not evaluation.one_window_each:
        text += (
            " Clip accuracy judges every window by itself; video accuracy judges each video once, "
            "by all its windows. They are not to be compared with each other."
        )
    return text + evaluation.explained()


def share(figures: Mapping[str, Any], name: str) -> str:
    """Returns an accuracy with its interval, both in percent; "" without a name."""
    if not name:
        return ""
    if figures[name] is None:
        return "     -"
    text = f"{figures[name]:6.1%}"
    if interval := figures[f"{name}_interval"]:
        text += f" ({interval[0] * 100:.1f}-{interval[1]:.1%})"
    return text


def _listed(title: str, evaluation: "Evaluation", status: str) -> list[str]:
    """Returns a line for each video that there is something to say of, however long."""
    lines = []
    for number, reason in evaluation.details(status).items():
        video = evaluation.videos[number]
        lines.append(f"  {reason}" if video.path in reason else f"  {video.name}: {reason}")
    if len(lines) > _MOST_LISTED:
        lines[_MOST_LISTED:] = [f"  … and {len(lines) - _MOST_LISTED} more"]
    return ["", f"{title}:", *lines] if lines else []
