"""How things move: pure arithmetic on time, which runs from 0 to 1.

Lengths are shares of the picture's side; x points right, y down, and angles are radians clockwise.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Track:
    """Place, size and rotation of a texture at each time: float64 `(frames,)` each."""

    x: Times
    y: Times
    scale: Times
    angle: Times


Path = Callable[[Times, Generator], Track]
Paths = Callable[[Times, Generator], tuple[Track, Track]]


def _track(t: Times, x=0.0, y=0.0, scale=1.0, angle=0.0) -> Track:
    values = (np.asarray(value, np.float64) for value in (x, y, scale, angle))
    return Track(*(np.broadcast_to(value, t.shape) for value in values))


def _polyline(corners: Sequence[tuple[float, float]]) -> Path:
    """Moves at an even speed along straight lines; fills the unit square around 0."""
    points = np.array(corners, np.float64)
    points = (points - (points.max(axis=0) + points.min(axis=0)) / 2) / np.ptp(points, axis=0).max()
    lengths = np.hypot(*np.diff(points, axis=0).T)
    reached = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()

    def path(t: Times, _: Generator) -> Track:
        return _track(t, np.interp(t, reached, points[:, 0]), np.interp(t, reached, points[:, 1]))

    return path


def _circle(turns: float) -> Path:
    def path(t: Times, rng: Generator) -> Track:
        phase = 2 * np.pi * (rng.random() + turns * t)
        return _track(t, 0.42 * np.cos(phase), 0.42 * np.sin(phase))

    return path


def _shake(x: float, y: float) -> Path:
    def path(t: Times, rng: Generator) -> Track:
        wave = 0.35 * np.sin(2 * np.pi * (rng.uniform(1.5, 3.5) * t + rng.random()))
        return _track(t, x * wave, y * wave)

    return path


def _resize(first: float, last: float) -> Path:
    return lambda t, _: _track(t, scale=first + (last - first) * t)


def _turn(direction: int) -> Path:
    return lambda t, rng: _track(t, angle=direction * rng.uniform(1.2, 3.0) * t)


_WAYS = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}
_SLANTED = {"down_right": (1, 1), "down_left": (-1, 1), "up_left": (-1, -1), "up_right": (1, -1)}


_SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
# Of one thing: paths within -0.5 to 0.5, before they are scaled.
ONE: dict[str, Path] = {
    **{name: _polyline([(0, 0), way]) for name, way in (_WAYS | _SLANTED).items()},
    **{f"{name}_and_back": _polyline([(0, 0), way, (0, 0)]) for name, way in _WAYS.items()},
    **{
        f"{first}_then_{second}": _polyline([(0, 0), (x, y), (x + u, y + v)])
        for turns in (_WAYS, _SLANTED)
        for first, (x, y) in turns.items()
        for second, (u, v) in turns.items()
        if x * u + y * v == 0
    },
    "circle_clockwise": _circle(1),
    "circle_counterclockwise": _circle(-1),
    "square_clockwise": _polyline(_SQUARE),
    "square_counterclockwise": _polyline(_SQUARE[::-1]),
    "zigzag": _polyline([(0, 0), (1, 0), (0, 1), (1, 1)]),
    "cross": _polyline([(0, 0), (1, 1), (1, 0), (0, 1)]),
    "shake_sideways": _shake(1, 0),
    "shake_vertically": _shake(0, 1),
    "grow": _resize(0.55, 1.45),
    "shrink": _resize(1.45, 0.55),
    "turn_clockwise": _turn(1),
    "turn_counterclockwise": _turn(-1),
    "still": lambda t, _: _track(t),
}


def _relative(first: Callable[[Times], Times], second: Callable[[Times], Times]) -> Paths:
    """Moves two things on one line, somewhat slanted."""

    def paths(t: Times, rng: Generator) -> tuple[Track, Track]:
        slant = rng.uniform(-0.3, 0.3) + np.pi * rng.integers(2)
        x, y = np.cos(slant), np.sin(slant)
        ways = first(t), second(t)
        return _track(t, x * ways[0], y * ways[0]), _track(t, x * ways[1], y * ways[1])

    return paths


def _around(turns: float) -> Paths:
    def paths(t: Times, rng: Generator) -> tuple[Track, Track]:
        phase = rng.uniform(-0.3, 0.3) + np.pi * (rng.integers(2) + turns * t)
        x, y = 0.3 * np.cos(phase), 0.3 * np.sin(phase)
        return _track(t, x, y), _track(t, -x, -y)

    return paths


# Of two things, in relation to each other.
TWO: dict[str, Paths] = {
    "approach": _relative(lambda t: -0.5 + 0.4 * t, lambda t: 0.5 - 0.4 * t),
    "part": _relative(lambda t: -0.1 - 0.4 * t, lambda t: 0.1 + 0.4 * t),
    "pass": _relative(lambda t: -0.5 + t, lambda t: 0.5 - t),
    "follow": _relative(lambda t: -0.5 + 0.6 * t, lambda t: -0.1 + 0.6 * t),
    "push": _relative(
        lambda t: -0.5 + 0.4 * np.minimum(2 * t, 1), lambda t: 0.3 * np.maximum(0, t - 0.4) / 0.6
    ),
    "touch_and_back": _relative(lambda t: -0.05 - 0.35 * np.abs(2 * t - 1), lambda t: 0.15 + 0 * t),
    "exchange": _around(1),
    "circle_each_other": _around(2),
}
