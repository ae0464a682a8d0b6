"""What PyTorch's projects call the tensors that our layers hold, and how they lay them out.

Families of names: those of the authors (`layer1.0.conv1.weight`), which many projects share, of
their R(2+1)D and DenseNet, torchvision's (`layer1.0.conv1.0.weight`), and those of each project
with C3D. Axes are (out, in, time, height, width) there and (time, height, width, in, out) here.
"""

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

# Our layer, their module, the first convolution first. Stages count from 2 here and from 1 there,
# blocks from 1 and from 0, `i` and `layer` from 1 in both.
_SHARED = (
    ("conv{stage}_{block}_shortcut_conv", "layer{stage}.{block}.downsample.0"),
    ("conv{stage}_{block}_shortcut_bn", "layer{stage}.{block}.downsample.1"),
    ("predictions", "fc"),
)
AUTHORS = (
    ("conv1", "conv1"),
    ("conv1_bn", "bn1"),
    ("conv{stage}_{block}_conv{i}", "layer{stage}.{block}.conv{i}"),
    ("conv{stage}_{block}_bn{i}", "layer{stage}.{block}.bn{i}"),
    *_SHARED,
)
_STEM_2PLUS1D = (
    ("conv1_spatial", "conv1_s"),
    ("conv1_spatial_bn", "bn1_s"),
    ("conv1_temporal", "conv1_t"),
    ("conv1_bn", "bn1_t"),
)
_PARTS_2PLUS1D = (
    ("conv{stage}_{block}_conv{i}_spatial", "layer{stage}.{block}.conv{i}_s"),
    ("conv{stage}_{block}_conv{i}_spatial_bn", "layer{stage}.{block}.bn{i}_s"),
    ("conv{stage}_{block}_conv{i}_temporal", "layer{stage}.{block}.conv{i}_t"),
    ("conv{stage}_{block}_bn{i}", "layer{stage}.{block}.bn{i}_t"),
)
AUTHORS_2PLUS1D = (*_STEM_2PLUS1D, *_PARTS_2PLUS1D, *_SHARED)
AUTHORS_2PLUS1D_BOTTLENECK = (  # of whose three convolutions the second is factorized
    *_STEM_2PLUS1D,
    *((ours.replace("{i}", "2"), theirs.replace("{i}", "2")) for ours, theirs in _PARTS_2PLUS1D),
    *AUTHORS[2:],
)
TORCHVISION = (
    ("conv1", "stem.0"),
    ("conv1_bn", "stem.1"),
    ("conv{stage}_{block}_conv{i}", "layer{stage}.{block}.conv{i}.0"),
    ("conv{stage}_{block}_bn{i}", "layer{stage}.{block}.conv{i}.1"),
    *_SHARED,
)
TORCHVISION_2PLUS1D = (
    ("conv1_spatial", "stem.0"),
    ("conv1_spatial_bn", "stem.1"),
    ("conv1_temporal", "stem.3"),
    ("conv1_bn", "stem.4"),
    ("conv{stage}_{block}_conv{i}_spatial", "layer{stage}.{block}.conv{i}.0.0"),
    ("conv{stage}_{block}_conv{i}_spatial_bn", "layer{stage}.{block}.conv{i}.0.1"),
    ("conv{stage}_{block}_conv{i}_temporal", "layer{stage}.{block}.conv{i}.0.3"),
    ("conv{stage}_{block}_bn{i}", "layer{stage}.{block}.conv{i}.1"),
    *_SHARED,
)
_C3D = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7")


def _c3d(*modules: str) -> "Names":
    return tuple(zip((*_C3D, "predictions"), modules, strict=True))


C3D = _c3d(*_C3D, "fc8")  # also in files of Keras 1 and 2
C3D_SEQUENTIAL = _c3d(
    *(f"features.{number}" for number in (0, 3, 6, 8, 11, 13, 16, 18)),
    *(f"classifier.{number}" for number in (0, 3, 6)),
)
_MMACTION = [f"conv{name}.conv" for name in ("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b")]
C3D_MMACTION = _c3d(
    *(f"backbone.{module}" for module in (*_MMACTION, "fc6", "fc7")), "cls_head.fc_cls"
)
C3D_MMACTION_BACKBONE = _c3d(*_MMACTION, "fc6", "fc7", "fc8")


def _densenet(stem: str, dot: str) -> tuple[tuple[str, str], ...]:
    layer = "features.denseblock{stage}.denselayer{layer}."
    return (
        ("conv1", f"features.conv{stem}"),
        ("conv1_bn", f"features.norm{stem}"),
        ("conv{stage}_{layer}_conv{i}", f"{layer}conv{dot}{{i}}"),
        ("conv{stage}_{layer}_bn{i}", f"{layer}norm{dot}{{i}}"),
        *((f"conv{n + 2}_transition_conv", f"features.transition{n}.conv") for n in (1, 2, 3)),
        *((f"conv{n + 2}_transition_bn", f"features.transition{n}.norm") for n in (1, 2, 3)),
        ("conv5_bn", "features.norm5"),
        ("predictions", "classifier"),
    )


DENSENET_2018 = _densenet("0", ".")
DENSENET = _densenet("1", "")
_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_OTHER = {"kernel": "weight", "bias": "bias"}
IGNORED = "num_batches_tracked"  # a counter of training steps

Names = Sequence[tuple[str, str]]
T = TypeVar("T")

# Two tensors that tell a family, the first of a network and another.
_SIGNS: tuple[tuple[Names, str, str], ...] = (
    (TORCHVISION_2PLUS1D, "stem.0.weight", "stem.4.weight"),
    (TORCHVISION, "stem.0.weight", "stem.0.weight"),
    (AUTHORS, "conv1.weight", "layer1.0.conv1.weight"),
    (AUTHORS_2PLUS1D, "conv1_s.weight", "layer1.0.conv1_s.weight"),
    (AUTHORS_2PLUS1D_BOTTLENECK, "conv1_s.weight", "layer1.0.conv2_s.weight"),
    (DENSENET_2018, "features.conv0.weight", "features.denseblock1.denselayer1.conv.1.weight"),
    (DENSENET, "features.conv1.weight", "features.denseblock1.denselayer1.conv1.weight"),
    (C3D, "conv1.weight", "conv5b.weight"),
    (C3D_SEQUENTIAL, "features.0.weight", "features.18.weight"),
    (C3D_MMACTION, "backbone.conv1a.conv.weight", "backbone.conv5b.conv.weight"),
    (C3D_MMACTION_BACKBONE, "conv1a.conv.weight", "conv5b.conv.weight"),
)
# And those of I3D, whose names are in i3d.py.
_PAIRS = [pair for _, *pair in _SIGNS] + [2 * [f"{c}onv3d_1a_7x7.conv3d.weight"] for c in "Cc"]


def first_tensor(names: Names) -> str:
    """Returns what a family calls the kernel of the first convolution."""
    return next(first for family, first, _ in _SIGNS if family is names)


def find_names(tensors: Collection[str]) -> Names | None:
    """Returns the family of names that tensors are called by, None if it is none of ours."""
    return next((names for names, *signs in _SIGNS if all(s in tensors for s in signs)), None)


def split_networks(tensors: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Returns the tensors of each network by the prefix of its names, which is taken off.

    A name belongs to the network with the longest prefix that it has.
    """
    prefixes = []
    for name in tensors:
        found = [
            prefix
            for first, other in _PAIRS
            if name.endswith(first)
            and f"{(prefix := name.removesuffix(first))}{other}" in tensors
            and (not prefix or prefix.endswith("."))
        ]
        # The shortest: mmaction2's classifier is beside `backbone`, not in it.
        prefixes += [min(found, key=len)] if found else []
    networks: dict[str, dict[str, T]] = {prefix: {} for prefix in prefixes}
    for name, tensor in tensors.items():
        prefix = name
        while prefix and prefix not in networks:
            prefix = prefix[: prefix.rfind(".", 0, -1) + 1]
        if prefix in networks:
            networks[prefix][name.removeprefix(prefix)] = tensor
    return networks


def variable(names: Names, tensor: str) -> str | None:
    """Returns `layer/variable` of ours for a tensor's name, None if there is none."""
    module, _, kind = tensor.rpartition(".")
    layer = _translate([(theirs, ours) for ours, theirs in names], module, +1)
    kinds = {theirs: ours for ours, theirs in _kinds(layer or "").items()}
    return f"{layer}/{kinds[kind]}" if layer and kind in kinds else None


def tensor(names: Names, variable: str) -> str:
    """Returns the tensor's name for `layer/variable` of ours."""
    layer, _, kind = variable.partition("/")
    module = _translate(names, layer, -1)
    return f"{module}.{_kinds(layer)[kind]}" if module else variable  # unknown to these names


def _translate(names: Names, text: str, step: int) -> str | None:
    for source, target in names:
        if match := _pattern(source).fullmatch(text):
            numbers = {name: int(number) for name, number in match.groupdict().items()}
            steps = {key: 0 if key in ("i", "layer") else step for key in numbers}
            return target.format(**{key: n + steps[key] for key, n in numbers.items()})
    return None


@functools.cache
def _pattern(template: str) -> re.Pattern:
    number = r"(?P<\1>0|[1-9][0-9]{0,3})"
    return re.compile(re.sub(r"\\{(\w+)\\}", number, re.escape(template)))


def _kinds(layer: str) -> dict[str, str]:
    return _BATCH_NORM if re.search(r"bn\d?$", layer) else _OTHER


def axes_from_pytorch(dimensions: int) -> tuple[int, ...]:
    """Returns the order of PyTorch's axes that is Keras's."""
    return {5: (2, 3, 4, 1, 0), 2: (1, 0)}.get(dimensions, tuple(range(dimensions)))


def shape_to_pytorch(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape in PyTorch's order of axes."""
    axes = {5: (4, 3, 0, 1, 2), 2: (1, 0)}.get(len(shape), range(len(shape)))
    return tuple(shape[axis] for axis in axes)
