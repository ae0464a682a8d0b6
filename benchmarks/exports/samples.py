"""Clips and weights to measure with where there are none of a training, made up but not noise."""

import keras
import numpy as np

from keras_r3d.data import demo
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.system.opencv import cv2


def clips(count: int, frames: int, size: int, *, split: str = "train") -> Frame:
    """Draws clips of the demo's scenes, which differ by split: a shape moves before a texture.

    Returns:
        uint8 `(count, frames, size, size, 3)`, RGB.
    """
    out = np.empty((count, frames, size, size, 3), np.uint8)
    for number, clip in enumerate(out):
        label = demo.CLASSES[number % len(demo.CLASSES)]
        scene = demo.frames(label, split, np.random.default_rng([0, number]))
        for place, frame in enumerate(clip):
            scaled = cv2.resize(scene[place % len(scene)], (size, size))
            frame[:] = scaled[..., ::-1]  # to RGB
    return out


def move_weights(network: keras.Model, clips: Frame) -> None:
    """Gives a new network statistics and scores like those of a trained one.

    New batch norms multiply by 1 and add 0, and scores of random weights are all alike: mistakes
    would not show, nor would the rounding of int8. After this, each batch norm has the statistics
    of the clips, factors of 0.5-1.5 and offsets of up to 0.3, and logits have a deviation of 1.5.
    """
    rng = np.random.default_rng(0)
    norms = [n for n in network.layers if isinstance(n, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.gamma.assign(rng.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(rng.uniform(-0.3, 0.3, norm.beta.shape))
    if norms:
        momentum = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        network(clips.astype(np.float32), training=True)
        for norm, before in zip(norms, momentum, strict=True):
            norm.momentum = before
    last = network.get_layer("predictions")
    features = keras.Model(network.input, last.input)(clips.astype(np.float32))
    kernel, *bias = last.get_weights()
    logits = keras.ops.convert_to_numpy(features) @ kernel
    last.set_weights([kernel * 1.5 / logits.std(), *bias])
