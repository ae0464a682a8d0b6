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

    What says the same twice is left out: clips, where every video is one; top-5 of few classes.
    """
    figures = evaluation.figures()
    clips, top5 = not evaluation.one_window_each, len(evaluation.classes) > figures["top5_places"]

    def line(title: str, clip: str | None, video: str) -> str:
        cells = [_accuracy(figures, name) if name else "" for name in (clip, video)]
        return _line(title, *cells[not clips :])

    def only(title: str, text: str) -> str:
        return _line(title, *[""] * clips, text)

    lines = [_line("", *["clip accuracy"] * clips, "video accuracy")]
    lines.append(line("top-1", "clip_top1", "video_top1"))
    if top5:
        lines.append(line("top-5", "clip_top5", "video_top5"))
        lines.append(line("mean of top-1, top-5", "clip_mean", "video_mean"))
    lines.append(line("mean of classes", None, "mean_class_accuracy"))
    if evaluation.errors:
        lines.append(line("top-1 without errors", None, "readable_video_top1"))
        if top5:
            lines.append(line("top-5 without errors", None, "readable_video_top5"))
            lines.append(line("mean without errors", None, "readable_video_mean"))
    largest = f"{figures['largest_class_share']:6.1%} ({figures['largest_class']})"
    lines += [only("largest class", largest), only("chance", f"{figures['chance']:6.1%}")]
    windows = f"{figures['windows']} window{'s' * (figures['windows'] != 1)}"
    scored = f"{len(evaluation.scored)} of {figures['videos']} videos"
    lines.append(_line("scored", *[windows] * clips, scored))
    if figures["errors"]:
        lines.append(only("errors", f"{figures['errors']}, counted as wrong"))
    if figures["partial"]:
        lines.append(only("partial", f"{figures['partial']}, scored as far as they decode"))
    if figures["ece"] is not None:
        lines.append(only("calibration error", f"{figures['ece']:.3f} (ECE, 0 is best)"))
    lines.append("")
    explained = "In brackets: 95 % intervals (Wilson's), in which videos are the independent units."
    if clips:
        explained += (
            " Clip accuracy judges every window by itself; video accuracy judges each video once, "
            "by all its windows. They are not to be compared with each other."
        )
    lines += textwrap.wrap(explained, _WIDTH)
    lines += textwrap.wrap(evaluation.floor(), _WIDTH)
    lines += _listed("Without a score", evaluation, evaluation.errors)
    lines += _listed("Scored in part", evaluation, evaluation.partial)
    lines += _listed("Shorter than a clip", evaluation, evaluation.notes)
    return "\n".join(lines)


def _line(title: str, *cells: str) -> str:
    return f"{title:22}{''.join(f'{cell:24}' for cell in cells)}".rstrip()


def _accuracy(figures: Mapping[str, Any], name: str) -> str:
    """Returns an accuracy with its interval, both in percent."""
    if figures[name] is None:
        return "     -"
    text = f"{figures[name]:6.1%}"
    if interval := figures[f"{name}_interval"]:
        text += f" ({interval[0] * 100:.1f}-{interval[1]:.1%})"
    return text


def _listed(title: str, evaluation: "Evaluation", reasons: Mapping[int, str]) -> list[str]:
    if not reasons:
        return []
    lines = ["", f"{title}:"]
    for number in sorted(reasons)[:_MOST_LISTED]:
        video = evaluation.videos[number]
        named = video.path in reasons[number]
        # A line each, however long: to be searched and copied.
        lines.append(f"  {reasons[number]}" if named else f"  {video.name}: {reasons[number]}")
    if len(reasons) > _MOST_LISTED:
        lines.append(f"  … and {len(reasons) - _MOST_LISTED} more")
    return lines
