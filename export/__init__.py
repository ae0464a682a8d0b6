"""Exports of a model: SavedModel, TFLite, ONNX and OpenVINO, each compared with Keras.

Installed as `keras_r3d.export`.
"""
