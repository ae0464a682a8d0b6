"""What PyTorch's projects call the tensors that our layers hold, and how they lay them out.

Two families of names: those of the authors (`layer1.0.conv1.weight`), which many projects share,
and torchvision's (`layer1.0.conv1.0.weight`). Axes are (out, in, time, height, width) there and
(time, height, width, in, out) here.
"""

import functools
import re
from collections.abc import Sequence

import numpy as np

# Our layer, their module. Stages count from 2 here and from 1 there, blocks from 1 and from 0.
AUTHORS = (
    ("conv1", "conv1"),
    ("conv1_bn", "bn1"),
    ("conv{stage}_{block}_conv{i}", "layer{stage}.{block}.conv{i}"),
    ("conv{stage}_{block}_bn{i}", "layer{stage}.{block}.bn{i}"),
    ("conv{stage}_{block}_shortcut_conv", "layer{stage}.{block}.downsample.0"),
    ("conv{stage}_{block}_shortcut_bn", "layer{stage}.{block}.downsample.1"),
    ("predictions", "fc"),
)
TORCHVISION = (
    ("conv1", "stem.0"),
    ("conv1_bn", "stem.1"),
    ("conv{stage}_{block}_conv{i}", "layer{stage}.{block}.conv{i}.0"),
    ("conv{stage}_{block}_bn{i}", "layer{stage}.{block}.conv{i}.1"),
    ("conv{stage}_{block}_shortcut_conv", "layer{stage}.{block}.downsample.0"),
    ("conv{stage}_{block}_shortcut_bn", "layer{stage}.{block}.downsample.1"),
    ("predictions", "fc"),
)
TORCHVISION_2PLUS1D = (
    ("conv1_spatial", "stem.0"),
    ("conv1_spatial_bn", "stem.1"),
    ("conv1_temporal", "stem.3"),
    ("conv1_bn", "stem.4"),
    ("conv{stage}_{block}_conv{i}_spatial", "layer{stage}.{block}.conv{i}.0.0"),
    ("conv{stage}_{block}_conv{i}_spatial_bn", "layer{stage}.{block}.conv{i}.0.1"),
    ("conv{stage}_{block}_conv{i}_temporal", "layer{stage}.{block}.conv{i}.0.3"),
    *TORCHVISION[3:],
)

_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_OTHER = {"kernel": "weight", "bias": "bias"}
IGNORED = "num_batches_tracked"  # a counter of training steps

Names = Sequence[tuple[str, str]]


def layout(tensors: Sequence[str]) -> Names | None:
    """Returns the family of names that tensors are called by, None if it is neither."""
    if "stem.0.weight" in tensors:
        return TORCHVISION_2PLUS1D if "stem.4.weight" in tensors else TORCHVISION
    return AUTHORS if "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors else None


def variable(names: Names, tensor: str) -> str | None:
    """Returns `layer/variable` of ours for a tensor's name, None if there is none."""
    module, _, kind = tensor.rpartition(".")
    for ours, theirs in names:
        if found := _pattern(theirs).fullmatch(module):
            layer = ours.format(**_counted(found, +1))
            for variable_name, tensor_name in _kinds(layer).items():
                if tensor_name == kind:
                    return f"{layer}/{variable_name}"
    return None


def tensor(names: Names, variable: str) -> str:
    """Returns the tensor's name for `layer/variable` of ours."""
    layer, _, kind = variable.partition("/")
    for ours, theirs in names:
        if found := _pattern(ours).fullmatch(layer):
            return f"{theirs.format(**_counted(found, -1))}.{_kinds(layer)[kind]}"
    return variable  # a layer that these names know nothing of


@functools.cache
def _pattern(template: str) -> re.Pattern:
    number = r"(?P<\1>0|[1-9][0-9]{0,3})"
    return re.compile(re.sub(r"\\{(\w+)\\}", number, re.escape(template)))


def _counted(found: re.Match, step: int) -> dict[str, int]:
    numbers = {name: int(number) for name, number in found.groupdict().items()}
    return {name: n if name == "i" else n + step for name, n in numbers.items()}


def _kinds(layer: str) -> dict[str, str]:
    return _BATCH_NORM if re.search(r"bn\d?$", layer) else _OTHER


_AXES = {5: (2, 3, 4, 1, 0), 2: (1, 0)}
_AXES_BACK = {5: (4, 3, 0, 1, 2), 2: (1, 0)}


def from_pytorch(values: np.ndarray) -> np.ndarray:
    """Moves PyTorch's axes to where Keras has them."""
    return values.transpose(_AXES[values.ndim]) if values.ndim in _AXES else values


def shape_from_pytorch(shape: Sequence[int]) -> tuple[int, ...]:
    return _moved(shape, _AXES)


def shape_to_pytorch(shape: Sequence[int]) -> tuple[int, ...]:
    return _moved(shape, _AXES_BACK)


def _moved(shape: Sequence[int], axes: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in axes.get(len(shape), range(len(shape))))
