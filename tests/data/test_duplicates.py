"""Perceptual hashes: what they stay the same under, and how they are compared."""

import time

import av
import cv2
import numpy as np
import pytest

from keras_r3d.data.decoding.picture import Picture
from keras_r3d.data.scanning import duplicates
from keras_r3d.data.scanning.duplicates import FRAMES, NEAR, SAYS_NOTHING, hashed_frames


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 200, (9, 12, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def frame_hash(pixels: np.ndarray) -> int:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
    return duplicates.frame_hash(Picture(frame, pixels.shape[:2], 0))


def differing(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize("seed", range(10))
def test_a_copy_has_nearly_the_same_hash_and_another_picture_has_not(seed):
    original = picture(seed)
    ours = frame_hash(original)
    small = cv2.resize(original, (70, 50), interpolation=cv2.INTER_AREA)
    brighter = cv2.convertScaleAbs(small, alpha=1.1, beta=15)
    _, encoded = cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert differing(ours, frame_hash(cv2.imdecode(encoded, cv2.IMREAD_COLOR))) <= NEAR
    assert differing(ours, frame_hash(picture(seed + 100))) > NEAR
    assert differing(ours, frame_hash(original[:, ::-1].copy())) > NEAR


def test_black_one_color_and_noise_say_nothing():
    noise = np.random.default_rng(1).integers(-3, 4, (240, 320, 3))
    for value in (10, 128, 240):
        flat = np.full((240, 320, 3), value, np.uint8)
        assert frame_hash(flat) == SAYS_NOTHING
        assert frame_hash((flat + noise).astype(np.uint8)) == SAYS_NOTHING
    slope = np.broadcast_to(np.linspace(0, 255, 320).astype(np.uint8)[None, :, None], (240, 320, 3))
    assert frame_hash(slope.copy()) == SAYS_NOTHING


@pytest.mark.parametrize("count", [1, 2, 4, 5, 63, 100, 12345])
def test_hashed_frames_are_spread_evenly(count):
    numbers = hashed_frames(count)
    assert len(numbers) == FRAMES
    assert all(0 <= number < count for number in numbers)
    assert np.abs(np.array(numbers) - (np.arange(FRAMES) + 0.5) * count / FRAMES).max() <= 1


def test_distance_counts_bits():
    ours, theirs = np.random.default_rng(2).integers(0, 2**64, (2, 7, 11), np.uint64)
    expected = [
        [int(a ^ b).bit_count() for a, b in zip(*rows, strict=True)]
        for rows in zip(ours, theirs, strict=True)
    ]
    assert duplicates.distance(ours, theirs).tolist() == expected


def everything(first, second):
    return np.ones(len(first), bool)


def random_hashes(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**64, (count, FRAMES), np.uint64)


def changed(value, bits: int) -> np.uint64:
    return value ^ np.uint64(2**bits - 1)


def test_every_frame_must_be_near():
    table = random_hashes(6)
    table[3] = [changed(value, NEAR) for value in table[0]]
    table[4] = [changed(value, 2) for value in table[1]]
    table[5] = table[2]
    table[5, FRAMES - 1] = changed(table[2, FRAMES - 1], NEAR + 1)
    assert duplicates.near(table.tolist(), everything) == [(1, 4, 2.0), (0, 3, float(NEAR))]


def test_only_pairs_of_interest_are_found_each_once():
    table = random_hashes(700)
    table[600] = table[300] = table[20]
    split = np.arange(700) // 300  # 20 in the first, 300 in the second, 600 in the third
    split[600] = 1
    found = duplicates.near(table.tolist(), lambda first, second: split[first] != split[second])
    assert found == [(20, 300, 0.0), (20, 600, 0.0)]


def test_frames_that_say_nothing_match_nothing():
    table = np.full((4, FRAMES), SAYS_NOTHING, np.uint64)
    table[2:] = random_hashes(1)
    table[2, :2] = SAYS_NOTHING  # a fade: three frames are left
    assert duplicates.near(table.tolist(), everything) == [(2, 3, 0.0)]
    table[2, 2] = SAYS_NOTHING
    assert duplicates.near(table.tolist(), everything) == []
    assert duplicates.near([], everything) == []


def all_pairs(table: np.ndarray, split: np.ndarray) -> list[tuple[int, int, float]]:
    """Compares each with each, in Python's own numbers."""
    pairs = []
    rows, splits = table.tolist(), split.tolist()
    for second, theirs in enumerate(rows):
        for first, ours in enumerate(rows[:second]):
            if splits[first] == splits[second]:
                continue
            bits = [
                differing(a, b)
                for a, b in zip(ours, theirs, strict=True)
                if SAYS_NOTHING not in (a, b)
            ]
            if len(bits) >= 3 and max(bits) <= NEAR:
                pairs.append((first, second, sum(bits) / len(bits)))
    return sorted(pairs, key=lambda pair: (pair[2], pair))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most_pairs", [1, 50, 2**20])
def test_the_same_pairs_are_found_as_among_all(seed, most_pairs, monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST_PAIRS", most_pairs)
    random = np.random.default_rng(seed)
    scenes = random_hashes(8, seed)
    table = scenes[random.integers(0, len(scenes), 150)]
    for frame in np.ndindex(table.shape):  # about as often too many bits as not
        flipped = random.choice(64, random.integers(0, NEAR), replace=False)
        table[frame] ^= np.uint64(sum(2 ** int(bit) for bit in flipped))
    table[random.random(table.shape) < 0.25] = SAYS_NOTHING
    split = random.integers(0, 3, len(table))
    found = duplicates.near(table.tolist(), lambda one, two: split[one] != split[two])
    assert found == all_pairs(table, split)
    assert len(found) > 50


def test_tens_of_thousands_of_videos_are_compared_in_seconds():
    table = random_hashes(30_000).tolist()
    split = np.arange(30_000) % 2
    began = time.process_time()
    assert duplicates.near(table, lambda first, second: split[first] != split[second]) == []
    assert time.process_time() - began < 10  # all pairs would take a minute and more
