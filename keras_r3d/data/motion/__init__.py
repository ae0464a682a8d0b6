"""Rendered motion: clips that are made as they are needed, to learn motion without any video."""

from keras_r3d.data.motion.reader import URL, MotionReader, annotations
from keras_r3d.data.motion.rendering import CLASSES, render

__all__ = ["CLASSES", "URL", "MotionReader", "annotations", "render"]
