"""Optimiser, schedule and the training of a run."""

from keras_r3d.training.optimization.sgd import SGD

__all__ = ["SGD"]
