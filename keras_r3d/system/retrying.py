"""Asking again what may succeed the next time, within a deadline."""

import itertools
import random
import time
from collections.abc import Callable
from typing import TypeVar

from keras_r3d.system.errors import ServingError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0  # seconds

T = TypeVar("T")


class PassingError(ServingError):
    """A failure that may pass: the server is starting, overloaded, or just went away."""


def retry(
    ask: Callable[[float], T],
    *,
    retries: int,
    deadline_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """Asks, and asks again as long as it fails with a PassingError.

    The pauses double; each is shortened by up to half, by chance, so that clients that failed
    together do not come back together.

    Args:
        ask: takes the seconds that are left.
        retries: most times that it is asked again.
        deadline_seconds: for all of it.

    Raises:
        ServingError: as `ask`; of one that may pass, after the last try.
    """
    until = clock() + deadline_seconds
    for tried in itertools.count(1):
        try:
            return ask(until - clock())
        except PassingError as error:
            pause = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE) * (1 - chance() / 2)
            if tried > retries or clock() + pause >= until:
                times = f"{tried} times" if tried > 1 else "once"
                raise ServingError(f"{error} (Asked {times}.)") from error
        sleep(pause)
    raise AssertionError  # the loop has no end
