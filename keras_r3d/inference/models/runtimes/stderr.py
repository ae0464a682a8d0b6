"""What libraries write to the process's stderr, past Python."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def dropped() -> Iterator[None]:
    """Drops what is written to stderr, by C++ and by Python, of all threads.

    For chatter that no setting turns off, where a failure is an exception that says what it was.
    """
    kept, nowhere = os.dup(2), _nowhere()
    sys.stderr.flush()
    os.dup2(nowhere.fileno(), 2)
    try:
        with contextlib.redirect_stderr(nowhere):  # also where it is not of file 2
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@functools.cache
def _nowhere() -> TextIO:
    """Stays open: loggers that are made meanwhile keep it."""
    return open(os.devnull, "w", encoding="utf-8")
