"""Predictions as lines of text: as wide as a terminal, or, in a pipe, with nothing cut."""

import shutil
import sys
from collections.abc import Iterable, Sequence

from keras_r3d.data.annotations.listing import printable
from keras_r3d.inference.prediction.prediction import Prediction, reached
from keras_r3d.inference.prediction.predictions import Predictions
from keras_r3d.inference.prediction.watching import Sighting
from keras_r3d.system.text import shortened, shortened_path, shown, width

_SCORE = 5  # columns
_NAMED = " *"  # of a class whose score reaches its threshold, where there may be several
_GAP = 2  # between columns of the table
_LEAST = 40  # columns of a terminal
_MOST_PADDED = 60  # columns that names in a pipe are padded to
_LIVE_LABEL = 35


def terminal_columns() -> int | None:
    """Returns the width of the terminal that lines are printed on; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Table:
    """A table of videos and their classes, as wide as a terminal; None cuts nothing."""

    def __init__(
        self,
        videos: Iterable[str],
        labels: Iterable[str],
        columns: int | None,
        several: bool = False,
    ):
        self._several = several
        video, label = (
            max((width(printable(name)) for name in [title, *names]), default=0)
            for title, names in (("video", videos), ("class", labels))
        )
        self._cuts = columns is not None
        if columns is None:
            self._video, self._label = min(video, _MOST_PADDED), min(label, _MOST_PADDED)
        else:
            room = max(columns, _LEAST) - _SCORE - len(_NAMED) * several - 2 * _GAP
            self._video = min(video, max(room // 2, room - label))
            self._label = min(label, room - self._video)

    def heading(self) -> str:
        """Returns the first line."""
        return self._row("video", "class", f"{'score':>{_SCORE}}")

    def rows(self, prediction: Prediction, top: int) -> list[str]:
        """Returns the lines of a video: its best classes, then, never cut, what is wrong."""
        name = printable(prediction.video)
        name = shortened_path(name, self._video) if self._cuts else name
        lines: list[str] = []
        for label, score, reaches in prediction.lines(top):
            label = printable(label)
            label = shortened(label, self._label) if self._cuts else label
            mark = _NAMED * reaches
            lines.append(self._row("" if lines else name, label, f"{score:.3f}{mark}"))
        detail = prediction.detail
        for named in (prediction.video, prediction.source.path):
            detail = detail.removeprefix(f"{named}: ")
        detail = printable(detail)
        if prediction.status != "ok":
            detail = f"{prediction.status}: {detail}"
        if detail:
            lines.append(self._row("" if lines else name, detail))
        return lines

    def _row(self, video: str, label: str, score: str = "") -> str:
        video += " " * (self._video - width(video))
        label += " " * (self._label - width(label))
        return (" " * _GAP).join([video, label, score]).rstrip()


def show(
    predictions: Prediction | Predictions, labels: Sequence[str], top: int, several: bool = False
) -> int:
    """Prints predictions of several videos as they come, and returns the exit code.

    That is 1 if a video has no score, or something that was wanted could not be written. Of a model
    that names `several` labels those that it names are marked.
    """
    assert isinstance(predictions, Predictions)  # of several videos, as commands ask
    table = Table(predictions.videos, labels, terminal_columns(), several)
    print(table.heading())
    try:
        for prediction in predictions:
            print("\n".join(table.rows(prediction, top)), flush=True)
            for lacking in predictions.lacking:
                print(f"  {lacking}")
    except BaseException:  # also Ctrl-C and SIGTERM, which are no `Exception`
        if kept := predictions.keep():
            again = "resumes" if predictions.resumes else "begins anew, and replaces them"
            print(
                f"\nNot finished: {len(predictions.statuses)} of {len(predictions.videos)} videos "
                f"are in {', '.join(map(str, kept))}. The same command {again}.",
                file=sys.stderr,
            )
        raise
    print(total(predictions.statuses) + " *: the score reaches its threshold." * several)
    if predictions.share is not None:
        print(predictions.share)
        return 0
    for path in predictions.written:
        print(f"Written: {shown(path)}")
    return int(not predictions.complete or "error" in predictions.statuses)


def sighting_line(sighting: Sighting, top: int, columns: int | None) -> str:
    """Returns the line of a window of a live source: as many of its classes as fit."""
    line = f"{sighting.time:%H:%M:%S}  latency {sighting.latency_seconds * 1000:4.0f} ms"
    names: list[str] = []
    if sighting.thresholds is not None:
        names = reached(sighting.labels, sighting.scores, sighting.thresholds)
    for number, (label, score) in enumerate(sighting.top(top)):
        mark = _NAMED * (label in names)
        label = printable(label)
        if columns is not None:
            label = shortened(label, _LIVE_LABEL)
        more = f"  {label} {score:.3f}{mark}"
        if number and columns is not None and width(line + more) > columns:
            break
        line += more
    return line


def total(statuses: Sequence[str]) -> str:
    """Returns the number of videos of each status, in words."""
    parts = [f"{statuses.count(status)} {status}" for status in ("ok", "partial", "error")]
    number = len(statuses)
    return f"{number} video{'s' if number != 1 else ''}: {', '.join(parts)}."
