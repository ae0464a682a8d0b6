"""Statistics of what training draws: chi-square tests at p = 1e-4, with fixed seeds.

Draws are made as the pipeline makes them, with a generator of its own for every clip.
"""

import dataclasses
import hashlib
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from chances import LEAST_P, Numbered, generators, p_value, tail

from keras_r3d import recipe
from keras_r3d.data import clips
from keras_r3d.data.sampling import augmentation, cropping, temporal


def binned(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    return np.floor((values - low) / (high - low) * bins).astype(int)


@pytest.mark.parametrize(
    ("degrees", "chi_square", "p"),
    [
        (1, 3.841, 0.05),
        (1, 15.137, 1e-4),
        (2, 18.421, 1e-4),
        (10, 18.307, 0.05),
        (10, 35.564, 1e-4),
        (45, 69.957, 0.01),
        (100, 149.449, 1e-3),
    ],
)
def test_the_chance_of_a_chi_square_is_that_of_the_tables(degrees, chi_square, p):
    assert tail(chi_square, degrees) == pytest.approx(p, rel=2e-3)


# The paper: 4 corners or the center, 5 scales, flips; 16 frames at a random place.
HEIGHT, WIDTH, COUNT, STARTS = 24, 32, 20, 5


def paper_draws(draws: int = 12_500) -> list[tuple[int, cropping.Crop]]:
    data = dataclasses.replace(recipe.load("kinetics34").clips, size=16)
    reader = Numbered(COUNT, HEIGHT, WIDTH)
    drawn = [clips.training_clip(reader, None, data, rng) for rng in generators(draws)]
    assert all((clip.pixels[:, 0, 0, 0] == clip.frame_numbers).all() for clip in drawn)
    return [(int(clip.frame_numbers[0]), clip.crop) for clip in drawn]


def paper_crops() -> Counter:
    """Weights: the top and the bottom coincide at full scale."""
    data = recipe.load("kinetics34").clips
    return Counter(
        cropping.place(HEIGHT, WIDTH, scale, position, flip)
        for scale in data.crop.scales
        for position in data.crop.positions
        for flip in (False, True)
    )


def paper_p_values(drawn: list[tuple[int, cropping.Crop]]) -> dict[str, float]:
    crops, starts = paper_crops(), dict.fromkeys(range(STARTS), 1)
    both = {(start, crop): crops[crop] for start in starts for crop in crops}
    return {
        "crops": p_value(Counter(crop for _, crop in drawn), crops),
        "flips": p_value(Counter(crop.flip for _, crop in drawn), {False: 1, True: 1}),
        "starts": p_value(Counter(start for start, _ in drawn), starts),
        "both": p_value(Counter(drawn), both),
    }


@pytest.fixture(scope="module")
def drawn() -> list[tuple[int, cropping.Crop]]:
    return paper_draws()


def test_the_paper_s_crops_and_starts_are_equally_likely_and_independent(drawn):
    values = paper_p_values(drawn)
    assert min(values.values()) > LEAST_P, values


def rare_corners(rng, height, width, scales, positions, flip, aspect):
    crop = cropping.place(height, width, scales[rng.integers(len(scales))], "center")
    share = np.array([0.24, 0.19, 0.19, 0.19, 0.19])
    position = positions[rng.choice(5, p=share)]
    return cropping.place(height, width, crop.scale, position, flip and bool(rng.integers(2)))


def rare_flip(rng, height, width, scales, positions, flip, aspect):
    position = positions[rng.integers(len(positions))]
    scale = scales[rng.integers(len(scales))]
    return cropping.place(height, width, scale, position, flip and rng.random() < 0.47)


def no_last_start(rng, count, frames, stride):
    return int(rng.integers(count - (frames - 1) * stride - 1)) + stride * np.arange(frames)


def half_the_last_start(rng, count, frames, stride):
    start = np.rint(rng.uniform(0, count - (frames - 1) * stride - 1))  # both ends are half as wide
    return int(start) + stride * np.arange(frames)


@pytest.mark.parametrize(
    ("module", "name", "biased", "seen_in"),
    [
        (cropping, "random_crop", rare_corners, {"crops"}),
        (cropping, "random_crop", rare_flip, {"flips"}),
        (temporal, "random_window", no_last_start, {"starts", "both"}),
        (temporal, "random_window", half_the_last_start, {"starts", "both"}),
    ],
)
def test_a_biased_draw_fails(monkeypatch, module, name, biased, seen_in):
    monkeypatch.setattr(module, name, biased)
    values = paper_p_values(paper_draws())
    assert {test for test, value in values.items() if value < LEAST_P} >= seen_in, values


def test_dependent_draws_fail(drawn):
    """The start decides about the flip, though each alone is as it should be."""
    tied = [
        (start, dataclasses.replace(crop, flip=(start + number % 5 // 4) % 2 == 0))
        for number, (start, crop) in enumerate(drawn)
    ]
    assert paper_p_values(tied)["both"] < LEAST_P < paper_p_values(tied)["starts"]


@pytest.mark.parametrize(
    ("count", "frames", "stride"),
    [(20, 4, 3), (17, 16, 1), (100, 16, 2), (32, 16, 2), (9, 1, 5), (16, 16, 1), (5, 16, 1)],
)
def test_every_legal_start_is_as_likely_and_none_lies_beyond(count, frames, stride):
    last = max(0, count - (frames - 1) * stride - 1)
    starts = Counter(
        int(temporal.random_window(rng, count, frames, stride)[0]) for rng in generators(5000)
    )
    assert set(starts) == set(range(last + 1))
    assert p_value(starts, dict.fromkeys(range(last + 1), 1)) > LEAST_P


def segment_weights(count: int, frames: int, part: int) -> dict[int, float]:
    """Returns the share of each frame of a video in one of its `frames` equal parts."""
    low, high = part * count / frames, (part + 1) * count / frames
    overlaps = {n: min(n + 1, high) - max(n, low) for n in range(count)}
    return {n: overlap for n, overlap in overlaps.items() if overlap > 1e-9}


@pytest.mark.parametrize(
    ("count", "frames"), [(40, 4), (64, 16), (10, 4), (50, 16), (16, 16), (3, 8), (7, 1)]
)
def test_segments_draw_uniformly_inside_each_part(count, frames):
    drawn = np.array([temporal.spread(count, frames, rng) for rng in generators(5000)])
    for part in range(frames):
        weights = segment_weights(count, frames, part)
        assert p_value(Counter(drawn[:, part].tolist()), weights) > LEAST_P, part


def test_segments_are_drawn_independently():
    drawn = Counter(tuple(temporal.spread(20, 2, rng).tolist()) for rng in generators(5000))
    weights = dict.fromkeys(itertools.product(range(10), range(10, 20)), 1)
    assert p_value(drawn, weights) > LEAST_P


def test_random_resized_crops_are_uniform_in_area_and_in_the_logarithm_of_the_aspect():
    area, aspect = (0.1, 0.5), (3 / 4, 4 / 3)  # all fit into a square frame
    crops = [
        cropping.random_resized_crop(rng, 3000, 3000, area, aspect, True)
        for rng in generators(10_000)
    ]
    # A side rounded to whole pixels may pass a limit by a hair.
    areas = np.clip([crop.scale for crop in crops], 0.1, 0.5 - 1e-9)
    shapes = np.log([crop.width / crop.height for crop in crops])
    limit = math.log(4 / 3)
    shapes = np.clip(shapes, -limit, limit - 1e-9)
    cells = zip(
        binned(areas, *area, 8).tolist(),
        binned(shapes, -limit, limit, 8).tolist(),
        [crop.flip for crop in crops],
        strict=True,
    )
    weights = dict.fromkeys(itertools.product(range(8), range(8), (False, True)), 1)
    assert p_value(Counter(cells), weights) > LEAST_P


def test_random_resized_crops_are_uniform_in_place():
    crops = Counter(
        cropping.random_resized_crop(rng, 10, 20, (0.25, 0.25), (1, 1), True)
        for rng in generators(5000)
    )
    places = itertools.product(range(4), range(14), (False, True))
    weights = {cropping.Crop(top, left, 7, 7, flip, 49 / 200): 1 for top, left, flip in places}
    assert p_value(crops, weights) > LEAST_P


def test_affine_changes_are_uniform_and_reach_their_limits_only():
    size, rotate, shear, translate = 64, 30.0, 20.0, 0.25
    changes = np.array(
        [
            augmentation.random_matrix(rng, (size, size), rotate, shear, translate)
            for rng in generators(5000)
        ]
    )
    linear = changes[:, :, :2]
    angles = np.arctan2(-linear[:, 1, 0], linear[:, 0, 0])
    slants = np.cos(angles) * linear[:, 0, 1] - np.sin(angles) * linear[:, 1, 1]
    center = np.array([31.5, 31.5])
    ways = linear @ center + changes[:, :, 2] - center
    for values, limit in [
        (np.degrees(angles), rotate),
        (np.degrees(np.arctan(slants)), shear),
        (ways[:, 0], translate * size),
        (ways[:, 1], translate * size),
    ]:
        assert (
            p_value(
                Counter(binned(values, -limit, limit, 10).tolist()), dict.fromkeys(range(10), 1)
            )
            > LEAST_P
        )


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("demo", "f53d14b9e0da8d88"),
        ("gestures", "1866deee95bb934e"),
        ("interactions", "2dd9d41f576ab61f"),
        ("kinetics34", "09121a4a7ef7a3f2"),
    ],
)
def test_the_recipes_draw_what_they_drew_when_their_results_were_made(name, digest):
    data, reader = recipe.load(name).clips, Numbered(60, 48, 64)
    drawn = hashlib.sha256()
    for rng in generators(200):
        clip = clips.training_clip(reader, None, data, rng)
        top, left, height, width, flip, scale = dataclasses.astuple(clip.crop)
        crop = (top, left, height, width, int(flip), scale)
        colors = clip.pixels[:, 0, 0].tolist()
        drawn.update(repr((clip.frame_numbers.tolist(), crop, colors)).encode())
    assert drawn.hexdigest()[:16] == digest
