"""Stick figures of people: how they move arms, legs and trunk, and how they are drawn.

Lengths are shares of a figure's height; angles are radians from hanging down, positive forwards
(where a figure faces).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from keras_r3d.data.motion.paths import Times
from keras_r3d.system.opencv import cv2

_SHIFT = 4  # bits of a pixel
_TRUNK, _ARM, _LEG, _HEAD = 0.3, 0.17, 0.24, 0.065  # arms and legs have two such parts

# Of a figure at each time: `x` and `y`, how far its hip is forwards and down; `lean` of the trunk,
# forwards; `arm` and `leg`, the angle of the upper part; `elbow` and `knee`, the bend of the lower
# one (of a knee backwards); and the same of the other side with a 2.
Pose = dict[str, Times]


def pose(t: Times, rng: Generator, **values: Any) -> Pose:
    """Returns the pose of a person who stands, apart from the `values` of some joints."""
    sway = 0.05 * np.sin(2 * np.pi * (t * rng.uniform(0.3, 1.0) + rng.random()))
    rest = dict.fromkeys(("x", "y", "knee", "knee2"), 0.0)
    rest |= {"lean": sway, "arm": 2 * sway, "arm2": -2 * sway, "elbow": 0.15, "elbow2": 0.15}
    rest |= {"leg": rng.uniform(0, 0.15), "leg2": -rng.uniform(0, 0.15)}
    return {
        name: np.broadcast_to(np.asarray(value, float), t.shape)
        for name, value in (rest | values).items()
    }


def _rise(t: Times, start: float, end: float) -> Times:
    """Rises smoothly from 0 at `start` to 1 at `end`."""
    share = np.clip((t - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


def _bump(t: Times, middle: float, half: float) -> Times:
    """Rises from 0 to 1 and falls again, around `middle`."""
    return _rise(t, middle - half, middle) - _rise(t, middle, middle + half)


Action = Callable[[Times, Generator], tuple[Pose, ...]]


def _wave_arm(t, rng):
    swing = np.sin(2 * np.pi * (rng.uniform(1.5, 3) * t + rng.random()))
    return (pose(t, rng, arm=2.6, elbow=0.6 * swing, elbow2=0.2),)


def _reach_out(t, rng):
    out = _bump(t, rng.uniform(0.4, 0.6), 0.35)
    return (pose(t, rng, arm=1.5 * out, elbow=0.9 * (1 - out) * (t > 0)),)


def _bent(t, rng, down):
    return (pose(t, rng, lean=1.3 * down, arm=1.2 * down, arm2=1.2 * down),)


def _seated(t, rng, down):
    lean, bend = 0.3 * np.sin(np.pi * down), 1.4 * down
    return (pose(t, rng, y=0.22 * down, leg=bend, leg2=bend, knee=bend, knee2=bend, lean=lean),)


def _jump(t, rng):
    up = np.abs(np.sin(np.pi * (rng.uniform(1, 2.2) * t)))
    arm, leg, knee = 1.5 * up, 0.4 * (1 - up), 0.6 * (1 - up)
    legs = {"leg": leg, "leg2": leg, "knee": knee, "knee2": knee}
    return (pose(t, rng, y=-0.2 * up, arm=arm, arm2=arm, **legs),)


def _walk(t, rng):
    swing = np.sin(2 * np.pi * (rng.uniform(1, 2.5) * t + rng.random()))
    arms = {"arm": -0.5 * swing, "arm2": 0.5 * swing}
    knees = {"knee": 0.4 * (1 - swing) / 2, "knee2": 0.4 * (1 + swing) / 2}
    return (pose(t, rng, x=0.9 * (t - 0.5), leg=0.5 * swing, leg2=-0.5 * swing, **arms, **knees),)


def _kick(t, rng):
    out = _bump(t, rng.uniform(0.4, 0.6), rng.uniform(0.2, 0.4))
    return (pose(t, rng, leg=1.4 * out, knee=0.5 * out * (1 - out), lean=-0.3 * out),)


# With one figure.
ONE: Mapping[str, Action] = {
    "raise_arm": lambda t, rng: (pose(t, rng, arm=2.9 * _rise(t, 0.15, 0.8)),),
    "lower_arm": lambda t, rng: (pose(t, rng, arm=2.9 * (1 - _rise(t, 0.15, 0.8))),),
    "wave_arm": _wave_arm,
    "reach_out": _reach_out,
    "bend_down": lambda t, rng: _bent(t, rng, _rise(t, 0.1, 0.9)),
    "straighten_up": lambda t, rng: _bent(t, rng, 1 - _rise(t, 0.1, 0.9)),
    "sit_down": lambda t, rng: _seated(t, rng, _rise(t, 0.1, 0.9)),
    "stand_up": lambda t, rng: _seated(t, rng, 1 - _rise(t, 0.1, 0.9)),
    "jump": _jump,
    "walk": _walk,
    "swing_leg": _kick,
}


def _distance(t, rng, close=0.5) -> Times:
    """Half the distance between two figures: they step up to each other, or stand there already."""
    far = rng.uniform(0.0, 0.25) if rng.random() < 0.6 else 0.0
    leave = rng.uniform(0.0, 0.25) if rng.random() < 0.4 else 0.0
    return close / 2 + far * (1 - _rise(t, 0, 0.4)) + leave * _rise(t, 0.75, 1)


def _hit_with_arm(t, rng):
    middle, away = rng.uniform(0.4, 0.65), _distance(t, rng)
    out = _bump(t, middle, rng.uniform(0.1, 0.22))
    back = _bump(t, middle + 0.12, 0.25)
    elbow = 1.2 * (1 - out) * _bump(t, middle, 0.4)
    return (
        pose(t, rng, x=-away + 0.05 * out, arm=1.65 * out, elbow=elbow, lean=0.25 * out),
        pose(t, rng, x=-away - 0.06 * back, lean=-0.35 * back, arm=0.5 * back),
    )


def _hit_with_leg(t, rng):
    middle, away = rng.uniform(0.4, 0.65), _distance(t, rng, 0.6)
    out = _bump(t, middle, rng.uniform(0.12, 0.25))
    back = _bump(t, middle + 0.1, 0.25)
    return (
        pose(t, rng, x=-away + 0.04 * out, leg=rng.uniform(1.1, 1.6) * out, lean=-0.35 * out),
        pose(t, rng, x=-away - 0.05 * back, lean=0.2 * back, arm=0.5 * back, arm2=0.5 * back),
    )


def _push_away(t, rng):
    middle, away = rng.uniform(0.35, 0.55), _distance(t, rng, 0.45)
    out, falls = _bump(t, middle, 0.25), _rise(t, middle - 0.05, middle + 0.25)
    arms = {"arm": 1.5 * out, "arm2": 1.5 * out, "elbow": 0.2}
    far, thrown = rng.uniform(0.12, 0.3), _bump(t, middle + 0.1, 0.3)
    step, up = -0.4 * _bump(t, middle + 0.15, 0.25), 0.8 * _bump(t, middle + 0.1, 0.25)
    return (
        pose(t, rng, x=-away + 0.08 * out, lean=0.3 * out, **arms),
        pose(t, rng, x=-away - far * falls, lean=-0.3 * thrown, leg=step, arm=up),
    )


def _shake_hands(t, rng):
    away, meet = _distance(t, rng, 0.55), _rise(t, 0.25, 0.45) - _rise(t, 0.75, 0.95)
    pump = 0.12 * np.sin(2 * np.pi * rng.uniform(2, 4) * t) * meet
    arms = {"arm": 1.05 * meet + pump, "elbow": 0.35 * meet}
    return pose(t, rng, x=-away, **arms), pose(t, rng, x=-away, **arms)


def _embrace(t, rng):
    near = _rise(t, 0.1, 0.45) - rng.uniform(0, 1) * _rise(t, 0.8, 1.0)
    arms = {"arm": 1.5 * near, "arm2": 1.7 * near, "elbow": 0.5 * near, "elbow2": 0.4 * near}
    values = {"x": -(0.08 + 0.3 * (1 - near)), "lean": 0.12 * near, **arms}
    return pose(t, rng, **values), pose(t, rng, **values)


def _point_at(t, rng):
    away = _distance(t, rng, rng.uniform(0.55, 0.85))
    out = _rise(t, 0.2, 0.45) - _rise(t, 0.75, 0.95)
    return pose(t, rng, x=-away, arm=rng.uniform(1.35, 1.7) * out, elbow=0.0), pose(t, rng, x=-away)


def _face_each_other(t, rng):
    away = _distance(t, rng)
    return pose(t, rng, x=-away), pose(t, rng, x=-away)


# With two figures that face each other; `x` is forwards for both.
TWO: Mapping[str, Action] = {
    "hit_with_arm": _hit_with_arm,
    "hit_with_leg": _hit_with_leg,
    "push_away": _push_away,
    "shake_hands": _shake_hands,
    "embrace": _embrace,
    "point_at": _point_at,
    "face_each_other": _face_each_other,
}


@dataclasses.dataclass(frozen=True)
class Body:
    """The looks of a figure."""

    height: float  # in pixels
    colors: NDArray[np.float64]  # of trunk, legs, arms and head, RGB
    build: float  # multiplies the widths
    facing: float  # above 0 to the right, below to the left; its size is a factor of the width


def random_body(rng: Generator, height: float, facing: float) -> Body:
    """Draws the looks of a figure."""
    colors = rng.uniform(0, 255, (4, 3))
    skin = np.array([225.0, 180, 150]) * rng.uniform(0.3, 1.1)
    colors[3] = skin
    if rng.random() < 0.5:  # bare arms, or sleeves
        colors[2] = skin if rng.random() < 0.5 else colors[0] * rng.uniform(0.8, 1.2)
    return Body(height, np.clip(colors, 0, 255), rng.uniform(0.8, 1.4), facing)


def joints(figure: Pose, facing: float) -> dict[str, NDArray[np.float64]]:
    """Returns the places of joints, float64 `(frames, 2)`, in heights from the hip at rest."""

    def end(start, angle, length):
        return start + length * np.stack([facing * np.sin(angle), np.cos(angle)], axis=1)

    hip = np.stack([facing * figure["x"], figure["y"]], axis=1)
    upwards = np.pi - figure["lean"]
    neck = end(hip, upwards, _TRUNK)
    places = {"hip": hip, "neck": neck, "head": end(neck, upwards, 1.3 * _HEAD)}
    for number, side in enumerate(("", "2")):
        arm, elbow, leg, knee = (figure[name + side] for name in ("arm", "elbow", "leg", "knee"))
        places[f"elbow{number}"] = end(neck, arm, _ARM)
        places[f"hand{number}"] = end(places[f"elbow{number}"], arm + elbow, _ARM)
        places[f"knee{number}"] = end(hip, leg, _LEG)
        places[f"foot{number}"] = end(places[f"knee{number}"], leg - knee, _LEG)
    return places


_PARTS = (
    # From, to, width, color: those behind first.
    ("neck", "elbow1", 0.065, 2),
    ("elbow1", "hand1", 0.055, 2),
    ("hip", "knee1", 0.085, 1),
    ("knee1", "foot1", 0.07, 1),
    ("hip", "knee0", 0.085, 1),
    ("knee0", "foot0", 0.07, 1),
    ("hip", "neck", 0.14, 0),
    ("neck", "elbow0", 0.065, 2),
    ("elbow0", "hand0", 0.055, 2),
)


def draw(video: NDArray[np.uint8], figure: Pose, body: Body, place: NDArray[np.float64]) -> None:
    """Draws a figure, whose hip at rest is at `place`, in pixels, into all frames, in place."""
    points = {
        name: ((place + body.height * where) * (1 << _SHIFT)).round().astype(int).tolist()
        for name, where in joints(figure, body.facing).items()
    }
    thick = [max(1, round(body.height * width * body.build)) for _, _, width, _ in _PARTS]
    colors = [tuple(color) for color in body.colors.tolist()]
    radius = round(body.height * _HEAD * (1 << _SHIFT))
    for number, frame in enumerate(video):
        for (start, stop, _, color), width in zip(_PARTS, thick, strict=True):
            cv2.line(
                *(frame, points[start][number], points[stop][number], colors[color]),
                *(width, cv2.LINE_AA, _SHIFT),
            )
        cv2.circle(frame, points["head"][number], radius, colors[3], -1, cv2.LINE_AA, _SHIFT)
