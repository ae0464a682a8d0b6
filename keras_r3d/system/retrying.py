"""Retrying what may succeed the next time, within a deadline."""

import itertools
import random
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 8.0

T = TypeVar("T")


class PassingError(Exception):
    """A failure that may pass: the server is starting, overloaded, or just went away."""


def retry(
    ask: Callable[[float], T],
    *,
    retries: int,
    deadline_seconds: float,
    failure: Callable[[str], Exception],
) -> T:
    """Calls a function with the seconds that are left, up to 1 + `retries` times while it raises
    PassingError; after the last, raises `failure` of its message.

    The pauses double; each is shortened by up to half, by chance, so that clients that failed
    together do not come back together.
    """
    until = time.monotonic() + deadline_seconds
    for tries in itertools.count(1):
        try:
            return ask(until - time.monotonic())
        except PassingError as error:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS)
            pause *= 1 - random.random() / 2
            if tries > retries or time.monotonic() + pause >= until:
                times = f"{tries} times" if tries > 1 else "once"
                raise failure(f"{error} (Asked {times}.)") from error
        time.sleep(pause)
    raise AssertionError  # the loop has no end
