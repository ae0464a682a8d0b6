"""Weights of an RGB network for input of other channels, such as optical flow."""

import dataclasses

import numpy as np

from keras_r3d.applications.weights.weights_file import Source, Value

_RGB = 3
_FIRST = ("conv1/kernel", "conv1_spatial/kernel")


def adapted(source: Source, channels: int | None) -> Source:
    """Makes weights of an RGB network fit input of other channels: "cross-modality pre-training".

    The first kernel becomes its mean over red, green and blue, for each of the new channels.

    Args:
        channels: of the input; None is as many as the weights have.

    Returns:
        The weights as they are where nothing can or need be changed.

    Reference:
        Wang et al., Temporal Segment Networks, ECCV 2016, section 3.2,
        https://arxiv.org/abs/1608.00859
    """
    if channels in (None, _RGB) or source.options.get("in_channels") != _RGB:
        return source
    assert channels is not None
    name = next(one for one in _FIRST if one in source.values)
    value = source.values[name]

    def read() -> np.ndarray:
        mean = value.read().astype(np.float32).mean(axis=3, keepdims=True)
        return np.repeat(mean, channels, axis=3)

    shape = (*value.shape[:3], channels, value.shape[4])
    return dataclasses.replace(
        source,
        values={**source.values, name: Value(value.name, shape, read)},
        options={**source.options, "in_channels": channels},
    )
