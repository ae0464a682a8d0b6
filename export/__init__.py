"""Exports of a trained run: SavedModel and TFLite, each compared with Keras.

Installed as `keras_r3d.export`.
"""
