"""What two overlapping windows have in common, and so what a streaming export could save.

docs/export.md says why there is none: behind the first layers every value depends on the zeros
that a window is padded with, and those lie elsewhere in the next window.
"""

import keras
import numpy as np
import pytest

from keras_r3d.applications import R3D18

FRAMES = 16
VIDEO = np.random.default_rng(0).integers(0, 256, (2 * FRAMES, 32, 32, 3)).astype(np.float32)


def convolutions(model: keras.Model) -> list[keras.layers.Conv3D]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv3D)]


@pytest.fixture(scope="module")
def costs() -> np.ndarray:
    """Multiplications of each convolution of the R3D-18 of the paper."""
    layers = convolutions(R3D18(input_shape=(FRAMES, 112, 112, 3)))
    return np.array([np.prod(one.output.shape[1:4]) * np.prod(one.kernel.shape) for one in layers])


@pytest.fixture(scope="module")
def outputs() -> keras.Model:
    model = R3D18(input_shape=(FRAMES, 32, 32, 3), width=0.125, classes=3)
    return keras.Model(model.input, [one.output for one in convolutions(model)])


def in_common(before: np.ndarray, after: np.ndarray, hop: int) -> float:
    """Returns the share of a layer's frames that the next window has again, `hop` frames later."""
    frames = before.shape[1]
    step, rest = divmod(hop * frames, FRAMES)
    if rest:
        return 0.0
    pairs = zip(before[0, step:], after[0], strict=False)
    return sum(np.allclose(*pair, rtol=1e-3, atol=1e-4) for pair in pairs) / frames


@pytest.mark.parametrize(("hop", "saved"), [(1, 0.22), (2, 0.21), (4, 0.15), (8, 0.05)])
def test_little_of_a_window_is_in_the_next(outputs, costs, hop, saved):
    windows = [VIDEO[None, start : start + FRAMES] for start in (0, hop)]
    layers = zip(*(map(keras.ops.convert_to_numpy, outputs(one)) for one in windows), strict=True)
    shares = np.array([in_common(*layer, hop) for layer in layers])
    assert not shares[2:].any()  # conv1 and at most the first convolution of conv2
    assert (shares * costs).sum() / costs.sum() == pytest.approx(saved, abs=0.005)
