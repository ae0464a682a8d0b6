"""FrameNet: a network for images over the frames of a clip, whose scores are averaged.

Reference:
    Wang et al., Temporal Segment Networks, ECCV 2016, https://arxiv.org/abs/1608.00859. Stacks of
    optical flow: Simonyan & Zisserman, Two-Stream Convolutional Networks for Action Recognition in
    Videos, NIPS 2014, https://arxiv.org/abs/1406.2199.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from keras_r3d.applications import metadata
from keras_r3d.applications.builders import building
from keras_r3d.applications.networks import FRAME_NET, INCEPTION, Conventions
from keras_r3d.applications.weights import loading
from keras_r3d.applications.weights.weights_file import Value, WeightsFile, open_weights
from keras_r3d.recipe import Clips
from keras_r3d.system.errors import ArgumentError, WeightsError

IMAGENET = "imagenet"
_CAFFE = Conventions((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), (0, 255))  # their kernels: BGR
_TENSORFLOW = INCEPTION
_TORCH = Conventions((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0, 1))
_CENTERED = Conventions((128.0, 128.0, 128.0), (128.0, 128.0, 128.0), (0, 255))

# Networks of keras.applications of stock layers alone, and what `preprocess_input` does for each.
BACKBONES = {
    name: conventions
    for conventions, names in (
        (_CAFFE, "ResNet50 ResNet101 ResNet152 VGG16 VGG19"),
        (_TENSORFLOW, "MobileNet MobileNetV2 ResNet50V2 ResNet101V2 ResNet152V2 InceptionV3"),
        (_TENSORFLOW, "Xception NASNetMobile NASNetLarge"),
        (_TORCH, "DenseNet121 DenseNet169 DenseNet201"),
        (_TORCH, " ".join(f"EfficientNetB{number}" for number in range(8))),
        (_TORCH, " ".join(f"EfficientNetV2B{number}" for number in range(4))),
        (_CENTERED, "EfficientNetV2S EfficientNetV2M EfficientNetV2L"),
    )
    for name in names.split()
}
_WITH_WIDTH = ("MobileNet", "MobileNetV2")  # their `alpha`
_PREPROCESSING = (layers.Rescaling, layers.Normalization)  # FrameNet normalizes before
_STAGES = 5
CLIP = (3, 224, 224)


def open_source(
    backbone: str | None, width: float | None, weights: str | os.PathLike[str] | WeightsFile
) -> WeightsFile:
    """Opens `weights` of a FrameNet: those of a backbone by `keras.applications`, or of a file.

    What is open already is returned. Raises WeightsError.
    """
    if isinstance(weights, WeightsFile):
        return weights
    text = os.fspath(weights)
    if text != IMAGENET and (text.endswith(".weights.h5") or not text.endswith(".h5")):
        file = open_weights(FRAME_NET, weights)
        if file.network != FRAME_NET:
            raise WeightsError(f"`weights`: {file.path} is not of a FrameNet.")
        return file
    if text != IMAGENET and not os.path.isfile(text):
        raise WeightsError(f"`weights`: there is no file {text}.")
    if backbone is None:
        raise WeightsError(f"`backbone` must say which network the weights {text} are of.")
    network = _build_backbone(backbone, width or 1.0, CLIP[1:], text)
    values = {
        f"{name}/{variable.name}": Value(
            f"{layer.name}/{variable.name}",
            tuple(variable.shape),
            partial(keras.ops.convert_to_numpy, variable),
        )
        for layer, name in _stages(network)
        for variable in layer.weights
    }
    conventions = BACKBONES[backbone]
    if conventions is _CAFFE:
        bgr = values["conv1/kernel"]
        values["conv1/kernel"] = dataclasses.replace(bgr, read=lambda: bgr.read()[:, :, ::-1])
    options = {"backbone": backbone, "width": width or 1.0, "in_channels": 3}
    return WeightsFile(Path(text), values, FRAME_NET, options, conventions.to_bytes())


def _build_backbone(
    name: str, width: float, size: Sequence[int], weights: str | None = None
) -> keras.Model:
    """Builds a network of `keras.applications` without its top, for RGB."""
    building.check_choice("backbone", name, list(BACKBONES))
    building.scale_widths([], width)
    options = {"alpha": width} if name in _WITH_WIDTH else {}
    if width != 1 and not options:
        raise ArgumentError(
            f"`width` must be 1 for {name}: only {' and '.join(_WITH_WIDTH)} have others. "
            f"Received: width={width}"
        )
    build = getattr(keras.applications, name)
    try:
        return build(include_top=False, weights=weights, input_shape=(*size, 3), **options)
    except Exception as error:  # Keras, h5py and urllib raise many kinds
        reason = " ".join(str(error).split()).rstrip(".")
        if weights is None:
            raise ArgumentError(
                f"`input_shape`: {name} takes no frames of {size[0]}x{size[1]}: {reason}."
            ) from error
        remedy = f'Expected is the .h5 file of {name} without its top ("notop").'
        if weights == IMAGENET:
            remedy = (
                "Without the internet, get that file in another way and put it into "
                "~/.keras/models, or pass its path as `weights`."
            )
        raise WeightsError(
            f"`weights`: Keras cannot load {weights} for {name}: {reason}. {remedy}"
        ) from error


def _stages(backbone: keras.Model) -> Iterator[tuple[keras.Layer, str]]:
    """Yields the layers of a backbone and their names here, which begin with their stage.

    As in other networks here, conv1 is the first convolution, and a stage ends where the map is
    halved; so `freeze` and [few] work alike. Names do not depend on the size of the frames.
    """
    halvings, first = {id(backbone.inputs[0]): 0}, None
    for number, layer in enumerate(backbone.layers[1:]):
        before = max(halvings[id(tensor)] for tensor in keras.tree.flatten(layer.input))
        halvings[id(layer.output)] = count = before + (max(getattr(layer, "strides", (1,))) > 1)
        if isinstance(layer, _PREPROCESSING):
            continue
        if first is None and isinstance(layer, layers.Conv2D):
            first = count
            yield layer, "conv1"
        else:
            later = isinstance(layer, layers.ZeroPadding2D)  # for what halves the map
            stage = 1 if first is None else min(_STAGES, 1 + count - first + later)
            name, kind = layer.name, type(layer).__name__.lower()
            if name.replace("_", "").rstrip("0123456789") == kind:
                name = f"{kind}_{number}"  # for Keras counts such names over the whole process
            yield layer, f"conv{stage}_{name}"


def _apply(backbone: keras.Model, x):
    """Adds copies of the layers of a backbone, their weights new, to images of any channels."""
    names = {layer.name: name for layer, name in _stages(backbone)}
    tensors = {id(backbone.inputs[0]): x}
    for layer in backbone.layers[1:]:
        inputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], layer.input)
        if layer.name in names:
            config = {**layer.get_config(), "name": names[layer.name]}
            if isinstance(layer, layers.BatchNormalization):
                # As in other networks here: 0.999, MobileNetV2's, outlasts a short training.
                config["momentum"] = 0.9
            inputs = layer.__class__.from_config(config)(inputs)
        tensors[id(layer.output)] = inputs
    return tensors[id(backbone.outputs[0])]


def _build_layers(x, options: dict[str, Any]):
    frames, height, width, channels = x.shape[1:]
    stack = options["stack"]
    if frames % stack:
        raise ValueError(
            f"`stack` must divide the frames of a clip, {frames}. Received: stack={stack}"
        )
    if stack > 1:  # channels of a stack: x and y of its first frame, of its second, …
        count = frames // stack
        x = layers.Reshape((count, stack, height * width, channels), name="stack_split")(x)
        x = layers.Permute((1, 3, 2, 4), name="stack_channels")(x)
        x = layers.Reshape((count, height, width, stack * channels), name="stack")(x)
    backbone = _build_backbone(options["backbone"], options["width"], (height, width))
    count = x.shape[1]
    # Frames of all clips become one batch: one pass of 2D layers, whose batch norm sees all.
    x = _apply(backbone, ops.reshape(x, (-1, *x.shape[2:])))
    x = ops.reshape(x, (-1, count, *x.shape[1:]))
    # The scores of the mean frame are the mean of the frames' scores: the classifier is linear.
    return building.finish(x, options)


def FrameNet(  # noqa: N802 (builders are written like classes)
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor=None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str = FRAME_NET,
    *,
    backbone: str | None = None,
    stack: int | None = None,
    width: float | None = None,
    dropout: float = 0.0,
    in_channels: int | None = None,
    include_preprocessing: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    clips: Clips | None = None,
) -> keras.Model:
    arguments = locals()  # by name, before there are other variables
    file = None if weights is None else open_source(backbone, width, weights)
    options: dict[str, Any] = {"backbone": None, "stack": 1, "width": 1.0}
    for known in (file.options if file else {}, arguments):
        options |= {key: known[key] for key in options if known.get(key) is not None}
    building.check_choice("backbone", options["backbone"], list(BACKBONES))
    building.check_count("stack", options["stack"])
    if file is not None:
        channels = building.read_shape(arguments)[1] or 3
        file = loading.adapt_channels(file, channels * options["stack"])
        # Those of a clip, not of a stack.
        file = dataclasses.replace(file, options={**file.options, "in_channels": channels})
    arguments, conventions = arguments | options, BACKBONES[options["backbone"]]
    model = building.build_network(_build_layers, arguments, {}, file, conventions, clip=CLIP)
    metadata.record(model, options=options)
    return model


FrameNet.__doc__ = building.DOCSTRING.format(
    summary="""a network of `keras.applications` over the frames of a clip; the frames' scores are
    averaged before the softmax, the consensus of temporal segment networks.

    It takes clips of one size, else (3, 224, 224, `in_channels`). `width` is the `alpha` of
    MobileNet and MobileNetV2. `weights` can also be "imagenet", which Keras downloads, or the path
    of the backbone's own `.h5` file without its top: the classifier is then new.""",
    options="""
        backbone: which, as `keras.applications` calls it, such as "MobileNetV2"; of its networks
            those of stock layers.
        stack: frames whose channels the backbone takes as one image; else 1. 5 or 10 for flow.""",
)
