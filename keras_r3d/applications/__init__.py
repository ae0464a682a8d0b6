"""3D residual networks as Keras functional models, in the manner of `keras.applications`."""

from keras_r3d.applications import backend as _backend  # noqa: F401 (first)
from keras_r3d.applications.builders.c3d import C3D
from keras_r3d.applications.builders.frame_net import FrameNet
from keras_r3d.applications.builders.i3d import I3D
from keras_r3d.applications.builders.r3d import (
    R2P1D18,
    R2P1D34,
    R2P1D50,
    R2P1D101,
    R3D10,
    R3D18,
    R3D34,
    R3D50,
    R3D101,
    R3D152,
    R3D200,
    DenseNet121,
    DenseNet169,
    DenseNet201,
    DenseNet264,
    PreResNet18,
    PreResNet34,
    PreResNet50,
    PreResNet101,
    PreResNet152,
    PreResNet200,
    ResNeXt50,
    ResNeXt101,
    ResNeXt152,
    WideResNet50,
    mc3_18,
    r2plus1d_18,
    r3d_18,
)
from keras_r3d.applications.labels import decode_predictions
from keras_r3d.applications.metadata import Metadata, read_metadata
from keras_r3d.applications.models import (
    get_model,
    list_models,
    list_weights,
    multiply_adds,
    preprocess_input,
)
from keras_r3d.applications.weights.containers.tensors import CheckpointError
from keras_r3d.applications.weights.conversion import convert
from keras_r3d.system.errors import WeightsError

__all__ = [
    "C3D",
    "I3D",
    "R2P1D18",
    "R2P1D34",
    "R2P1D50",
    "R2P1D101",
    "R3D10",
    "R3D18",
    "R3D34",
    "R3D50",
    "R3D101",
    "R3D152",
    "R3D200",
    "CheckpointError",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "DenseNet264",
    "FrameNet",
    "Metadata",
    "PreResNet18",
    "PreResNet34",
    "PreResNet50",
    "PreResNet101",
    "PreResNet152",
    "PreResNet200",
    "ResNeXt50",
    "ResNeXt101",
    "ResNeXt152",
    "WeightsError",
    "WideResNet50",
    "convert",
    "decode_predictions",
    "get_model",
    "list_models",
    "list_weights",
    "mc3_18",
    "multiply_adds",
    "preprocess_input",
    "r2plus1d_18",
    "r3d_18",
    "read_metadata",
]
