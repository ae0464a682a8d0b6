"""Predictions as lines of text, of 80 columns."""

import datetime
import os
import unicodedata
from collections.abc import Iterable
from typing import Any

from keras_r3d.data.listing import printable
from keras_r3d.inference.prediction import Prediction

_COLUMNS = 80
_VIDEO, _LABEL, _SCORE = 36, 35, 5  # columns, with two between


def heading() -> str:
    """Returns the first line of a table."""
    return _row("video", "class", "score")


def of_prediction(prediction: Prediction, top: int) -> list[str]:
    """Returns the lines of a video: its best classes one below the other, then what is wrong."""
    name = shortened_path(printable(prediction.video), _VIDEO)
    lines: list[str] = []
    for label, score in prediction.top(top):
        lines.append(_row("" if lines else name, shortened(printable(label), _LABEL), score))
    detail = printable(prediction.detail.removeprefix(f"{prediction.video}: "))
    if prediction.status != "ok":
        detail = f"{prediction.status}: {detail}"
    if detail:
        lines.append(_row("" if lines else name, detail))
    return lines


def of_record(record: dict[str, Any], now: datetime.datetime) -> str:
    """Returns the line of a window of a live source: as many classes as have their place."""
    line = f"{now:%H:%M:%S}  latency {record['latency_seconds'] * 1000:4.0f} ms"
    for number, one in enumerate(record["top"]):
        more = f"  {shortened(printable(one['label']), _LABEL)} {one['score']:.3f}"
        if number and _width(line + more) > _COLUMNS:
            break
        line += more
    return line


def total(statuses: Iterable[str]) -> str:
    """Returns how many videos have which status."""
    counts = {"ok": 0, "partial": 0, "error": 0}
    for status in statuses:
        counts[status] += 1
    number = sum(counts.values())
    parts = [f"{count} {status}" for status, count in counts.items()]
    return f"{number} video{'s' if number != 1 else ''}: {', '.join(parts)}."


def shortened(name: str, columns: int) -> str:
    """Cuts the middle out of a name that is too long."""
    if _width(name) <= columns:
        return name
    tail = name[len(name) - (columns - 1) // 2 :]
    while _width(tail) > columns // 2:
        tail = tail[1:]
    head = name[:columns]
    while _width(head) + 1 + _width(tail) > columns:
        head = head[:-1]
    return f"{head}…{tail}"


def shortened_path(path: str, columns: int) -> str:
    """Cuts folders from the front of a path that is too long, then out of the file's name."""
    if _width(path) <= columns:
        return path
    while os.sep in path:
        path = path.partition(os.sep)[2]
        if _width(path) <= columns - 2:
            return f"…{os.sep}{path}"
    return shortened(path, columns)


def _row(video: str, label: str, score: float | str = "") -> str:
    text = score if isinstance(score, str) else f"{score:.3f}"
    padded = f"{_padded(video, _VIDEO)}  {_padded(label, _LABEL)}  {text:>{_SCORE}}"
    return padded.rstrip()


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - _width(text))


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
