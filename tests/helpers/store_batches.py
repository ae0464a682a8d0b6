"""Batches of a clip store."""

import tensorflow as tf

from keras_r3d.data import pipeline
from keras_r3d.data.opening import open_source


def stream(opened, data) -> tf.data.Dataset:
    return pipeline.training_clips(
        opened.reader,
        opened.annotations.split("train"),
        opened.annotations.classes,
        data,
        batch_size=4,
        seed=1,
    )


def batches(root, data, count: int = 3):
    opened = open_source(root, data)
    taken = [(x.numpy(), y.numpy()) for x, y in stream(opened, data).take(count)]
    return taken, opened.reader
