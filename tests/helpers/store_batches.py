"""Batches of a clip store."""

import tensorflow as tf

from keras_r3d.data import pipeline
from keras_r3d.data.opening import open_source


def stream(opened, cut) -> tf.data.Dataset:
    """Draws clips of few videos, half of which may break."""
    return pipeline.training_clips(
        opened.reader,
        opened.annotations.split("train"),
        opened.annotations.classes,
        cut,
        batch_size=4,
        seed=1,
        broken_share=0.5,
    )


def batches(root, cut, count: int = 3):
    opened = open_source(root, cut)
    taken = [(x.numpy(), y.numpy()) for x, y in stream(opened, cut).take(count)]
    return taken, opened.reader
