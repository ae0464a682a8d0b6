"""Progress in one line of a terminal; in a log file, a line from time to time."""

import shutil
import sys
import time


def show(text: str, end: str = "") -> None:
    """Puts a text, cut to one line, in the place of the last one; only on a terminal."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]}\x1b[K", end=end, flush=True)


class Progress:
    """Shows how many are done, how fast, and how long the rest takes.

    On a terminal in one line; elsewhere a line for each tenth.

    Args:
        noun: what is counted: "videos".
        unit: how many make one of them: of bytes that are shown as "MB", 1e6.
    """

    def __init__(self, noun: str, unit: float = 1):
        self._noun, self._unit = noun, unit
        self._started = time.monotonic()
        self._before: int | None = None
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        """Takes the number done, and of all (0: it is not known)."""
        if self._before is None:
            # What an earlier call did says nothing of the speed of this one.
            self._before = done if done > 1 else 0
            self._tenths = (done - 1) * 10 // total if total else 0
        new, seconds = done - self._before, time.monotonic() - self._started
        text = f"{self._number(done)} of {self._number(total)} {self._noun}"
        if not total:
            text = f"{self._number(done)} {self._noun}"
        elif new > 0 and seconds > 0:
            rate = new / seconds
            text += f", {rate / self._unit:.3g}/s, {duration((total - done) / rate)} left"
        if sys.stdout.isatty():
            show(text, end="\n" if done == total else "")
        elif total and done * 10 // total != self._tenths:
            self._tenths = done * 10 // total
            print(text, flush=True)

    def _number(self, count: int) -> str:
        return str(count) if self._unit == 1 else f"{count / self._unit:.1f}"


def duration(seconds: float) -> str:
    """Returns a time as a person would say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
