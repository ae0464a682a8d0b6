"""What all builders do alike: settle arguments, make the entrance, load weights."""

import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_r3d.applications import metadata
from keras_r3d.applications.labels import read_labels
from keras_r3d.applications.networks import HEAD, STEM, Conventions, Network
from keras_r3d.applications.weights import loading
from keras_r3d.applications.weights.weights_file import WeightsFile
from keras_r3d.recipe import Clips
from keras_r3d.recipe import load as load_recipe
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system.errors import WeightsError

CLASSES = 400  # Kinetics
SHAPELESS = ("max_pool", "conv1_t_stride")  # options that no tensor's shape shows
DOCSTRING = """Builds {summary}

    An option that is None is read from the file of `weights`, else it is the network's own.

    Args:
        include_top: keep the classifier.
        weights: None (He initialization); path of a `.keras`, `.weights.h5` or PyTorch checkpoint
            (`.pth`, `.safetensors`), as FILE#KEY one of several networks in it; such a file on the
            Hugging Face hub, "hf://OWNER/NAME/FILE" or "hf://OWNER/NAME@REVISION/FILE"; or the name
            of public weights (`list_weights`).
        input_tensor: Keras tensor to use as the input, `(batch, frames, height, width, channels)`.
        input_shape: `(frames, height, width, channels)`; None leaves the first three open.
        pooling: of the last feature map without the top: None (left as it is, `(batch, frames,
            height, width, channels)`), "avg" or "max".
        classes: of the classifier; else 400. If the file of `weights` has another number, its
            classifier is not loaded, and a warning says so.
        classifier_activation: "softmax"; "sigmoid" where a clip may have several labels, as always
            with such `weights`; or None for logits.
        name: of the model.{options}
        width: multiplies all numbers of filters; else 1.
        dropout: rate before the classifier.
        in_channels: 3 for RGB, 2 for optical flow; else 3. Weights of an RGB network fit other
            input, too: conv1 then has the mean over red, green and blue for each channel.
        include_preprocessing: normalize inside the model; the input is then RGB, 0-255, uint8 or
            float. Otherwise `preprocess_input` does it.
        mean: per channel, RGB, 0-255: what normalizing subtracts. None is that of the weights, else
            the one the network was published with; 128 for other than 3 channels.
        std: per channel, RGB, 0-255: what it then divides by. None likewise; 1 for other than 3
            channels.
        labels: class names, kept in the model and in every file it is saved to: a list, a file of
            them, or "kinetics400". None is those of the weights, if they are known.
        clips: how clips are cut for it, `keras_r3d.data.Clips`; kept in the model likewise. None
            is as those of the weights, if they say so and the input fits.

    Returns:
        Functional `keras.Model` of stock layers: a saved file loads without keras_r3d.

    Raises:
        ValueError: an argument out of range, or weights that cannot be had or do not fit.
    """


def build_network(
    build_layers: Callable[[Any, dict[str, Any]], Any],
    arguments: Mapping[str, Any],
    defaults: Mapping[str, Any],
    file: WeightsFile | None,
    conventions: Conventions,
    *,
    smallest: tuple[int, int, int] = (1, 1, 1),
    clip: tuple[int, int, int] | None = None,
) -> keras.Model:
    """Builds a network from its builder's arguments, and loads its weights.

    Args:
        build_layers: takes the normalized clips and all arguments settled, returns the output.
        defaults: of the arguments that weights can decide.
        conventions: normalization where the weights do not say.
        smallest: frames, height and width that the strides need.
        clip: frames, height and width, where they are fixed, unless `input_shape` says otherwise.
    """
    name, include_top, clips = (arguments[key] for key in ("name", "include_top", "clips"))
    check_choice("pooling", arguments["pooling"], [None, "avg", "max"])
    input_tensor, (shape, channels) = arguments["input_tensor"], read_shape(arguments)
    if file is not None:
        file = loading.adapt_channels(file, channels)
    labels = None if arguments["labels"] is None else read_labels(arguments["labels"])
    classes = _count_classes(labels, arguments["classes"], file)
    options = {**arguments, "in_channels": channels, "classes": classes}
    for key, default in {"classes": CLASSES, **defaults, "in_channels": 3}.items():
        options[key] = _settle(key, options[key], default, file)
    options["classifier_activation"], thresholds = _settle_activation(options, file)
    channels = options["in_channels"]
    kept = file is not None and options["classes"] == file.options.get("classes")
    if labels is None and file is not None and kept:
        labels = file.labels
    shape = (*(clip or (None, None, None)), channels) if shape is None else shape
    check_shape(shape, channels, smallest)
    inputs = keras.Input(shape, name="clip") if input_tensor is None else input_tensor
    if clip is not None and None in shape:
        raise ValueError(
            f"{name} with its top takes clips of one size: `input_shape` must have frames, height "
            f"and width. Received: input_shape={shape}"
        )
    if clips is not None and any(
        size not in (None, cut) for size, cut in zip(shape, clips.shape, strict=True)
    ):
        raise ValueError(
            f"`clips` cuts clips of {clips.shape} (frames, height, width, channels), but the model "
            f"takes {shape}: pass `input_shape=clips.shape`."
        )
    mean, std = _settle_normalization(channels, arguments, file, conventions)
    about = metadata.Metadata(
        labels if include_top else None,
        mean,
        std,
        arguments["include_preprocessing"],
        file.path.name if file else None,
        recipe=_settle_recipe(clips, shape, file if include_top and kept else None),
        thresholds=thresholds if include_top else None,
    )
    x = metadata.attach(inputs, about)
    if about.normalises:
        variance = [value**2 for value in std]
        x = layers.Normalization(mean=list(mean), variance=variance, name="normalization")(x)
    x = build_layers(x, options)
    if file is not None:
        loading.load_weights(keras.Model(inputs, x, name=name), file, include_top)
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    return keras.Model(inputs, x, name=name)


def _settle(option: str, asked: Any, default: Any, file: WeightsFile | None) -> Any:
    """Returns the option that was asked for, else that of the weights, else the default."""
    stored = file.options.get(option) if file else None
    value = next(value for value in (asked, stored, default) if value is not None)
    if file and option in SHAPELESS and stored is not None and value != stored:
        raise WeightsError(
            f"`weights`: {file.path} is of a network with {option}={stored}. "
            f"Received: {option}={asked}"
        )
    return value


def _settle_activation(
    options: Mapping[str, Any], file: WeightsFile | None
) -> tuple[str | None, tuple[float, ...] | None]:
    """Returns the activation of the classifier, and its thresholds if labels may be several."""
    activation, classes = options["classifier_activation"], options["classes"]
    fits = file is not None and file.options.get("classes") == classes
    thresholds = file.thresholds if file is not None and fits else None
    if thresholds and activation == "softmax":
        activation = "sigmoid"
    if thresholds is None and activation == "sigmoid":
        thresholds = (0.5,) * classes
    return activation, thresholds


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value}")


def check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be an int of at least 1. Received: {name}={value}")


def scale_widths(filters: Sequence[int], width: float) -> list[int]:
    """Multiplies numbers of filters, rounded as in the authors' code."""
    if isinstance(width, bool) or not isinstance(width, numbers.Real) or not 0 < width < 1000:
        raise ValueError(f"`width` must be a number above 0. Received: width={width}")
    return [max(1, int(count * width)) for count in filters]


def scale_network(network: Network, width: float) -> list[int]:
    """Returns the filters of conv1, and of the first convolution of each stage's blocks."""
    counts = scale_widths((STEM, *network.filters), width)
    if not network.dense:
        return counts
    growth = max(1, counts[1] // 4)
    return [2 * growth] + 4 * [4 * growth]


def read_shape(arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...] | None, int | None]:
    """Returns the shape of the input that was asked for, of any length, and its channels."""
    input_tensor, shape = arguments["input_tensor"], arguments["input_shape"]
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, the output of `keras.Input` or a layer. "
                f"Received: {type(input_tensor).__name__}"
            )
        shape = input_tensor.shape[1:]
    if shape is not None:
        sizes = np.atleast_1d(np.array(shape, object)).tolist()
        shape = tuple(int(n) if isinstance(n, numbers.Integral) else n for n in sizes)
    channels = shape[3] if shape is not None and len(shape) == 4 else None
    if (asked := arguments["in_channels"]) is not None:
        check_count("in_channels", asked)
        if channels not in (None, asked):
            raise ValueError(
                f"`in_channels` is {asked}, but the input has {channels}: input_shape={shape}"
            )
        channels = int(asked)
    return shape, channels


def check_shape(shape: tuple[Any, ...], channels: int, smallest: Sequence[int]) -> None:
    if (
        len(shape) != 4
        or shape[3] != channels
        or any(
            size is not None and (not isinstance(size, int) or size < least)
            for size, least in zip(shape, smallest, strict=False)
        )
    ):
        axes = zip(("frames", "height", "width"), smallest, strict=True)
        needed = ", ".join(f"{axis} of at least {least}" for axis, least in axes)
        raise ValueError(
            f"`input_shape` must be (frames, height, width, {channels}): {needed} (None leaves one "
            f"open). Received: input_shape={shape}"
        )


def _count_classes(
    names: Sequence[str] | None, classes: int | None, file: WeightsFile | None
) -> int | None:
    """Returns the number of classes that was asked for: in itself, or as their names."""
    if classes is not None:
        check_count("classes", classes)
        classes = int(classes)
    if names is None:
        return classes
    expected = classes or (file.options.get("classes") if file else None)
    if expected is not None and len(names) != expected:
        raise ValueError(
            f"`labels` has {len(names)} names, but the classifier {expected} classes"
            + ("." if classes or file is None else f" in {file.path}: give `classes` too.")
        )
    return len(names)


def pool(x, pooling: str | None):
    """Averages the last feature map, takes its largest values, or leaves it."""
    if pooling == "avg":
        return layers.GlobalAveragePooling3D(data_format="channels_last", name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling3D(data_format="channels_last", name="max_pool")(x)
    return x


def finish(x, options: Mapping[str, Any]):
    """Adds what follows the last map: what `pooling` says, or its mean, dropout and classifier."""
    if not options["include_top"]:
        return pool(x, options["pooling"])
    x = pool(x, "avg")
    if options["dropout"]:
        x = layers.Dropout(options["dropout"], name="dropout")(x)
    return classify(x, options)


def classify(x, options: Mapping[str, Any]):
    """Adds the classifier."""
    activation = options["classifier_activation"]
    return layers.Dense(options["classes"], activation=activation, name=HEAD)(x)


def _settle_recipe(
    clips: Clips | None, shape: Sequence[int | None], file: WeightsFile | None
) -> dict[str, Any] | None:
    """Returns how clips are cut: as asked for, else as those of the weights, if they fit."""
    if clips is not None:
        return {"clips": as_dict(clips)}
    if file is None or file.recipe is None:
        return None
    published = load_recipe(file.recipe)
    pairs = zip(shape, published.clips.shape, strict=True)
    if any(size not in (None, cut) for size, cut in pairs):
        return None
    return {"clips": as_dict(published.clips), "eval": as_dict(published.eval)}


def _settle_normalization(
    channels: int,
    arguments: Mapping[str, Any],
    file: WeightsFile | None,
    conventions: Conventions,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std: those asked for, else of the weights, else the network's own."""
    asked = {"mean": arguments["mean"], "std": arguments["std"]}
    stored = file.conventions if file else None
    defaults = stored or conventions.to_bytes()
    if len(defaults[0]) != channels:
        # Optical flow and the like are stored as bytes around 128.
        defaults = (128.0,) * channels, (1.0,) * channels
    if file and not stored and arguments["include_preprocessing"] and asked["mean"] is None:
        shown = [[round(value, 2) for value in values] for values in defaults]
        warnings.warn(
            f"{file.path} does not say how its input was normalized. Assumed for pixels of 0-255: "
            f"mean {shown[0]}, std {shown[1]}. If that is wrong, give `mean` and `std`, or "
            "normalize yourself with include_preprocessing=False.",
            stacklevel=4,
        )
    for key, values in asked.items():
        if values is not None and np.shape(values) != (channels,):
            raise ValueError(
                f"`{key}` must have a number for each of {channels} channels. "
                f"Received: {key}={values}"
            )
    mean, std = (
        tuple(float(value) for value in (default if values is None else values))
        for default, values in zip(defaults, asked.values(), strict=True)
    )
    if not all(value > 0 for value in std):
        raise ValueError(f"`std` must be above 0. Received: std={list(std)}")
    return mean, std
