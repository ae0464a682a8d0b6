"""Renders clips of moving things: looks and places are random, the motion is the class.

A background, which a moving camera may displace; one or two textured things, or figures of people,
with the motion of the class; other things beside or in front of them; noise.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from keras_r3d.data.motion import figures, paths
from keras_r3d.data.motion import textures as bank
from keras_r3d.data.motion.paths import Times, Track
from keras_r3d.system.opencv import cv2

Pixels = NDArray[np.uint8]

CLASSES = tuple(sorted([*paths.ONE, *paths.TWO, *figures.ONE, *figures.TWO]))


def render(name: str, rng: Generator, frames: int, size: int) -> Pixels:
    """Renders a clip of one of `CLASSES`, uint8 `(frames, size, size, 3)`, RGB.

    `rng` draws everything that the motion does not determine.
    """
    time = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
    video = _background(time, rng, size)
    if rng.random() < 0.3:
        _distractor(video, time, rng)
    moving = _paced(time, rng)
    if name in paths.ONE:
        _draw_one(video, paths.ONE[name](moving, rng), rng)
    elif name in paths.TWO:
        _draw_two(video, paths.TWO[name](moving, rng), rng)
    else:
        action = figures.ONE.get(name) or figures.TWO[name]
        _draw_figures(video, action(moving, rng), rng)
    if rng.random() < 0.15:
        _cover(video, rng)
    return _as_camera(video, rng)


def _paced(time: Times, rng: Generator) -> Times:
    """Lets a motion begin late, end early, or go at an uneven speed."""
    start, end = (0.0, 1.0) if rng.random() < 0.4 else (rng.uniform(0, 0.2), rng.uniform(0.8, 1))
    share = np.clip((time - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share) if rng.random() < 0.5 else share


def _background(time: Times, rng: Generator, size: int) -> Pixels:
    """Draws a texture, seen by a camera that stands still, moves or trembles."""
    texture = _texture(rng)
    zoom = size / bank.SIDE * rng.uniform(1.3, 2.2)
    angle = rng.uniform(0, 2 * np.pi)
    video = np.empty((len(time), size, size, 3), np.uint8)
    kind = rng.random()
    if kind < 0.5:
        middle = np.array([size / 2])
        (matrix,) = _placing(middle, middle, np.array([zoom]), np.array([angle]), bank.SIDE)
        video[:] = _warp(texture, matrix, size)
        return video
    across = size * rng.normal(0, 0.1, 2) * (time[:, None] - 0.5)
    turns = rng.normal(0, 0.08) * (time - 0.5)
    zooms = zoom * (1 + rng.normal(0, 0.06) * (time - 0.5))
    if kind > 0.8:
        across = across + np.cumsum(rng.normal(0, 0.006 * size, across.shape), axis=0)
    x, y = size / 2 + across.T
    for frame, matrix in zip(video, _placing(x, y, zooms, angle + turns, bank.SIDE), strict=True):
        _warp(texture, matrix, size, frame)
    return video


def _texture(rng: Generator, side: int = bank.SIDE) -> Pixels:
    """Draws a texture, or a square piece of one."""
    textures = bank.textures()
    texture = textures[rng.integers(len(textures))]
    top, left = rng.integers(0, bank.SIDE - side + 1, 2)
    return bank.recolored(texture[top : top + side, left : left + side], rng)


def _draw_one(video: Pixels, track: Track, rng: Generator) -> None:
    size = video.shape[1]
    side, middle = size * rng.uniform(0.25, 0.6), _middle(rng, size)
    _draw_thing(video, track, rng, side, middle, size * rng.uniform(0.4, 0.95))


def _draw_two(video: Pixels, tracks: tuple[Track, Track], rng: Generator) -> None:
    size = video.shape[1]
    middle, way = _middle(rng, size), size * rng.uniform(0.5, 0.95)
    for track in tracks:
        _draw_thing(video, track, rng, size * rng.uniform(0.2, 0.42), middle, way)


def _middle(rng: Generator, size: int) -> NDArray[np.float64]:
    return size / 2 + rng.normal(0, 0.07 * size, 2)


def _draw_thing(
    video: Pixels, track: Track, rng: Generator, side: float, middle: NDArray, way: float
) -> None:
    """Draws a textured thing into all frames, in place.

    `side` is that of the square around its outline, `middle` the center of its track, `way` the
    length of a unit of the track: all in pixels.
    """
    outlines = bank.outlines()
    outline = outlines[rng.integers(len(outlines))]
    texture = _texture(rng, bank.OUTLINE)
    size, zoom = video.shape[1], side / bank.OUTLINE
    first = rng.uniform(-0.4, 0.4)
    center = np.stack([middle[0] + way * track.x, middle[1] + way * track.y])
    reach = 0.72 * side * track.scale
    starts = np.maximum(0, (center - reach).astype(int))
    ends = np.minimum(size, (center + reach).astype(int) + 1)
    x, y = center - starts
    matrices = _placing(x, y, zoom * track.scale, first + track.angle, bank.OUTLINE)
    boxes = zip(*starts.tolist(), *ends.tolist(), strict=True)
    for frame, matrix, (left, top, right, bottom) in zip(video, matrices, boxes, strict=True):
        if left >= right or top >= bottom:
            continue
        shape = right - left, bottom - top
        part = frame[top:bottom, left:right]
        share = cv2.warpAffine(outline, matrix, shape)
        pixels = cv2.warpAffine(texture, matrix, shape, borderMode=cv2.BORDER_REPLICATE)
        part[...] = cv2.blendLinear(pixels, part, share, 1 - share)


def _draw_figures(video: Pixels, poses: tuple[figures.Pose, ...], rng: Generator) -> None:
    size = video.shape[1]
    facing = 1 if rng.random() < 0.5 else -1
    # Whole people, or so close that their legs are out of the picture.
    height = size * (rng.uniform(0.55, 0.95) if rng.random() < 0.8 else rng.uniform(0.95, 1.3))
    squeezed = rng.uniform(0.65, 1.1)  # like pictures that are wider than high, made square
    for pose in poses:
        tall = height * rng.uniform(0.9, 1.1)
        place = np.broadcast_to(_middle(rng, size), (len(video), 2))
        figures.draw(video, pose, figures.random_body(rng, tall, facing * squeezed), place)
        facing = -facing


def _distractor(video: Pixels, time: Times, rng: Generator) -> None:
    """Draws a small thing that stays, or sways a little."""
    size, angle = video.shape[1], rng.uniform(0, 2 * np.pi)
    sway = rng.uniform(0, 0.2) * np.sin(2 * np.pi * (time + rng.random()))
    track = Track(np.cos(angle) * sway, np.sin(angle) * sway, np.ones_like(time), 0 * time)
    middle = size * rng.uniform(0.1, 0.9, 2)
    _draw_thing(video, track, rng, size * rng.uniform(0.1, 0.25), middle, size)


def _cover(video: Pixels, rng: Generator) -> None:
    """Covers part of the picture, in place, with a vertical or horizontal bar."""
    size = video.shape[1]
    width = int(size * rng.uniform(0.05, 0.2))
    start = int(rng.integers(size - width))
    color = rng.integers(0, 256, 3)
    turned = video.swapaxes(1, 2) if rng.random() < 0.5 else video
    turned[:, start : start + width] = color


def _as_camera(video: Pixels, rng: Generator) -> Pixels:
    """Changes exposure and adds noise."""
    levels = (np.arange(256) - 128) * rng.uniform(0.6, 1.3) + 128 + rng.uniform(-30, 30)
    flat = cv2.LUT(video.reshape(1, -1), np.clip(levels, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        strength = rng.uniform(0.3, 1.2)
        flat = cv2.add(flat, _noise(flat.size, strength, rng))
        flat = cv2.subtract(flat, _noise(flat.size, strength, rng))
    return flat.reshape(video.shape)


def _noise(count: int, strength: float, rng: Generator) -> Pixels:
    noise = bank.noise()
    start = int(rng.integers(len(noise)))
    if start + count <= len(noise):
        taken = noise[start : start + count]
    else:
        taken = np.concatenate([noise[start:], np.resize(noise, start + count - len(noise))])
    return cv2.convertScaleAbs(taken[None], alpha=strength)


def _placing(x: Times, y: Times, zoom: Times, angle: Times, side: int) -> NDArray[np.float64]:
    """Returns matrices that put the center of a square of `side` at x and y, rotated and scaled.

    float64 `(frames, 2, 3)`, of values `(frames,)`.
    """
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    half = side / 2
    first = [cosine, -sine, x - half * (cosine - sine)]
    second = [sine, cosine, y - half * (sine + cosine)]
    return np.ascontiguousarray(np.array([first, second]).transpose(2, 0, 1))


def _warp(texture: Pixels, matrix: NDArray, size: int, out: Pixels | None = None) -> Pixels:
    return cv2.warpAffine(texture, matrix, (size, size), dst=out, borderMode=cv2.BORDER_REFLECT)
