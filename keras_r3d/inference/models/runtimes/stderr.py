"""What libraries write to the process's stderr, past Python."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def dropped() -> Iterator[None]:
    """Drops what is written to stderr, by C++ and by Python, of all threads.

    For chatter that no setting turns off, where a failure is an exception that says what it was.
    """
    kept = os.dup(2)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            sys.stderr.flush()
            os.dup2(nowhere.fileno(), 2)
            try:
                with contextlib.redirect_stderr(nowhere):  # also where it is not of file 2
                    yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
    finally:
        os.close(kept)
