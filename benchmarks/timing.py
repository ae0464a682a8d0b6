"""Timing several ways to do one thing in turns, so that all see the same load of the machine."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    steps: Mapping[str, Callable[[], object]], units: float, rounds: int
) -> dict[str, float]:
    """Runs each step once to warm up, then all in turns.

    Returns:
        Units (of which a step takes `units`) per second of each, the median over the rounds.
    """
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(rounds):
        for kind, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[kind].append(time.perf_counter() - started)
    return {kind: units / statistics.median(times) for kind, times in seconds.items()}
