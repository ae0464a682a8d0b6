"""Exports of a model: SavedModel, TFLite, ONNX, OpenVINO and a web page, each compared with Keras.

Installed as `keras_r3d.export`.
"""

from keras_r3d.export.web.serving import serve

__all__ = ["serve"]
