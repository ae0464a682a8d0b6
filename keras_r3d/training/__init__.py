"""Optimiser, schedule and the training of a run."""

from keras_r3d.training.sgd import SGD

__all__ = ["SGD"]
