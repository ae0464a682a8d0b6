"""3D residual networks as Keras functional models, in the manner of `keras.applications`."""

from keras_r3d.applications.r3d import R3D10, R3D18, R3D34

__all__ = ["R3D10", "R3D18", "R3D34"]
