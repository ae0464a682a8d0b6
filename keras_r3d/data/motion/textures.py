"""Textures and outlines, drawn once a process: the same ones always."""

import functools
import itertools

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from keras_r3d.system.opencv import cv2

Pixels = NDArray[np.uint8]

SIDE = 128  # of a texture, in pixels
OUTLINE = 64  # of an outline
_TEXTURES, _OUTLINES = 384, 384
_SEED = 0
_NOISE = 2**20


@functools.cache
def textures() -> NDArray[np.uint8]:
    """Returns textures, uint8 `(n, SIDE, SIDE, 3)`."""
    rng = np.random.default_rng([_SEED, 1])
    kinds = (_cloud, _leaves, _patches, _polygons, _stripes)
    return np.stack([kinds[number % len(kinds)](rng) for number in range(_TEXTURES)])


@functools.cache
def outlines() -> NDArray[np.float32]:
    """Returns how much of each pixel a thing covers, float32 `(n, OUTLINE, OUTLINE)`, 0 to 1."""
    rng = np.random.default_rng([_SEED, 2])
    masks = np.zeros((_OUTLINES, OUTLINE, OUTLINE), np.float32)
    for mask, draw in zip(masks, itertools.cycle((_ellipse, _star, _sticks)), strict=False):
        draw(mask, rng)
        mask[...] = cv2.GaussianBlur(mask, (3, 3), 0)
    return masks


@functools.cache
def noise() -> NDArray[np.uint8]:
    """Returns absolute values of noise of deviation 6, uint8 `(n,)`."""
    values = np.random.default_rng([_SEED, 3]).normal(0, 6, _NOISE)
    return np.abs(values).astype(np.uint8)


def recolored(pixels: Pixels, rng: Generator) -> Pixels:
    """Returns a texture with its channels swapped, and of another contrast and brightness."""
    low, high = np.sort(rng.uniform(0, 255, (2, 3)), axis=0)
    grow = np.clip((high - low) / 255, 0.25, 1)
    table = low + np.arange(256)[:, None] * grow
    if rng.random() < 0.3:
        table = table[::-1]
    table = np.clip(table, 0, 255).astype(np.uint8)
    channels = cv2.split(pixels)  # each by itself, which OpenCV is much faster at
    swapped = [channels[number] for number in rng.permutation(3)]
    tables = np.ascontiguousarray(table.T)
    return cv2.merge([cv2.LUT(*pair) for pair in zip(swapped, tables, strict=True)])


def _as_bytes(values: NDArray) -> Pixels:
    values = values - values.min()
    return (255 * values / max(1e-6, values.max())).astype(np.uint8)


def _cloud(rng: Generator) -> Pixels:
    """Smooth noise of several sizes."""
    total = np.zeros((SIDE, SIDE, 3), np.float32)
    for octave in range(1, int(rng.integers(3, 7))):
        cells = rng.random((2**octave, 2**octave, 3)).astype(np.float32)
        total += cv2.resize(cells, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / octave
    return _as_bytes(total)


def _leaves(rng: Generator) -> Pixels:
    """Discs of all sizes that cover each other, which has the statistics of photographs.

    Reference:
        Lee, Mumford & Huang, Occlusion Models for Natural Images, IJCV 2001.
    """
    picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for _ in range(300):
        radius = int(3 / np.sqrt(rng.uniform(0.002, 1)))
        center = rng.integers(-10, SIDE + 10, 2).tolist()
        color = np.clip(rng.normal(0.5, 0.22) + rng.normal(0, 0.12, 3), 0, 1) * 255
        cv2.circle(picture, center, radius, color.tolist(), -1, cv2.LINE_AA)
    return picture


def _patches(rng: Generator) -> Pixels:
    """Squares."""
    cells = int(rng.integers(3, 24))
    pattern = rng.random((cells, cells, 3)).astype(np.float32)
    return _as_bytes(cv2.resize(pattern, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))


def _polygons(rng: Generator) -> Pixels:
    picture = np.full((SIDE, SIDE, 3), rng.integers(0, 255, 3), np.uint8)
    for _ in range(int(rng.integers(3, 14))):
        corners = rng.integers(0, SIDE, (int(rng.integers(3, 6)), 2)).astype(np.int32)
        cv2.fillPoly(picture, [corners], rng.uniform(0, 255, 3).tolist())
    return picture


def _stripes(rng: Generator) -> Pixels:
    x = np.arange(SIDE) / SIDE
    angle = rng.random() * np.pi
    phase = rng.uniform(2, 14) * (np.cos(angle) * x + np.sin(angle) * x[:, None]) + rng.random()
    wave = (0.5 + 0.5 * np.sin(2 * np.pi * phase))[..., None]
    first, last = rng.random((2, 3))
    return (255 * (wave * first + (1 - wave) * last)).astype(np.uint8)


def _ellipse(mask: NDArray[np.float32], rng: Generator) -> None:
    axes = (OUTLINE * rng.uniform((0.2, 0.15), 0.48)).astype(int).tolist()
    cv2.ellipse(mask, (OUTLINE // 2,) * 2, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)


def _star(mask: NDArray[np.float32], rng: Generator) -> None:
    corners = int(rng.integers(3, 9))
    angles = 2 * np.pi * np.sort(rng.random(corners))
    radii = OUTLINE * rng.uniform(0.2, 0.48, corners)
    points = OUTLINE / 2 + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1.0)


def _sticks(mask: NDArray[np.float32], rng: Generator) -> None:
    """Draws a chain of thick lines, as a hand or an arm."""
    point = np.array([OUTLINE / 2, OUTLINE / 2])
    for _ in range(int(rng.integers(2, 6))):
        start, point = point, np.clip(point + rng.normal(0, OUTLINE / 4, 2), 2, OUTLINE - 3)
        ends = start.astype(int).tolist(), point.astype(int).tolist()
        cv2.line(mask, *ends, 1.0, int(rng.integers(2, OUTLINE // 6)))
