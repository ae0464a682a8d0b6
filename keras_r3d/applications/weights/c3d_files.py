"""C3D in files of other projects: how kernels lie there, and how the network was trained."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_r3d.applications.networks import MMACTION_C3D, SPORTS1M, Conventions
from keras_r3d.applications.weights import pretrained, pytorch
from keras_r3d.system.errors import WeightsError

if TYPE_CHECKING:
    from keras_r3d.applications.weights.weights_file import Value, WeightsFile

_SPORTS1M_CLASSES = 487


@dataclasses.dataclass(frozen=True)
class _Project:
    name: str
    bgr: bool
    pool5_padding: str
    conventions: Conventions


# Whoever converted the weights for Sports-1M did not train them: they stay Caffe's.
_CAFFE = _Project("facebookarchive/C3D", True, "behind", SPORTS1M)
_MMACTION = _Project("open-mmlab/mmaction2", False, "both", MMACTION_C3D)
_JFZHANG95 = _Project("jfzhang95/pytorch-video-recognition", True, "both", SPORTS1M)


def settle(file: "WeightsFile", names: pytorch.Names, channels_first: bool) -> "WeightsFile":
    """Adds to a file what is known of the project whose names its tensors have.

    Where that is a guess a warning says so. `channels_first`: fc6 takes (channels, frames, height,
    width) in this order, ours takes channels last.
    """
    if names is pytorch.C3D_MMACTION:
        project = _MMACTION
    elif file.options.get("classes") == _SPORTS1M_CLASSES or names is not pytorch.C3D:
        project = _CAFFE
    else:
        project = _JFZHANG95
    if project is not _CAFFE and pretrained.find_file("c3d", file.path.name) is None:
        mean = list(project.conventions.mean)
        warnings.warn(
            f"{file.path} does not say how it was trained. Assumed as by {project.name}: bgr="
            f"{project.bgr}, pool5_padding='{project.pool5_padding}', mean={mean} (RGB). If that "
            "is wrong, give `bgr`, `pool5_padding` and `mean`.",
            stacklevel=6,  # whoever called the builder
        )
    values = dict(file.values)
    if channels_first and (fc6 := values.get("fc6/kernel")):
        channels = values["conv5b/kernel"].shape[-1]

        def read():
            kernel = fc6.read()
            kernel = kernel.reshape(channels, -1, kernel.shape[-1]).swapaxes(0, 1)
            return kernel.reshape(fc6.shape)

        values["fc6/kernel"] = dataclasses.replace(fc6, read=read)
    rgb = file.options["in_channels"] == 3
    about = {"pool5_padding": project.pool5_padding, "bgr": project.bgr and rgb}
    return dataclasses.replace(
        file,
        values=values,
        options={**file.options, **about},
        conventions=project.conventions.to_bytes() if rgb else None,
    )


def from_keras_2(
    path: object, arrays: Mapping[str, "Value"], backend: str | None
) -> tuple[dict[str, "Value"], bool]:
    """Returns values of a file of Keras 1 or 2 by our names, and whether its channels come first.

    Keras 1 stored kernels (out, in, frames, height, width) where channels come first.
    """
    values = {name.replace("fc8/", "predictions/"): value for name, value in arrays.items()}
    shape = values["conv5b/kernel"].shape if "conv5b/kernel" in values else ()
    if len(shape) != 5 or (3, 3, 3) not in (shape[:3], shape[2:]):
        layers = ", ".join(sorted({name.partition("/")[0] for name in arrays})[:6])
        raise WeightsError(
            f"`weights`: {path} is a file of Keras 1 or 2 and of another network than C3D, the "
            f"only one that is read from such: its layers are {layers or 'not to be found'}; "
            "expected were conv1, conv2, conv3a, …, fc8."
        )
    channels_first = shape[:3] != (3, 3, 3)
    if backend is None:
        raise WeightsError(
            f"`weights`: {path} does not say whether Theano or TensorFlow wrote it, and Theano's "
            "kernels are turned around on all three axes. If you know, note it in the file: "
            f"h5py.File({str(path)!r}, 'r+').attrs['backend'] = 'theano' (or 'tensorflow')."
        )
    if backend == "theano" and not channels_first:
        raise WeightsError(
            f"`weights`: {path} was written by Keras 2 with Theano and does not say the order of "
            "fc6's inputs: take a file that TensorFlow or PyTorch wrote."
        )
    for name, value in values.items() if channels_first else ():
        if len(value.shape) == 5:
            values[name] = _from_channels_first(value, turned=backend == "theano")
    return values, channels_first


def _from_channels_first(value: "Value", turned: bool) -> "Value":
    axes = pytorch.axes_from_pytorch(5)

    def read():
        kernel = value.read().transpose(axes)
        return kernel[::-1, ::-1, ::-1] if turned else kernel

    return dataclasses.replace(value, shape=tuple(value.shape[axis] for axis in axes), read=read)
