"""The tables of networks, and finding the row that an array of shapes belongs to."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from math import gcd
from typing import Any, Protocol

STEM = 64  # filters of conv1
FILTERS = (64, 128, 256, 512)  # of conv2_x, conv3_x, conv4_x and conv5_x
_TWICE = (128, 256, 512, 1024)
HEAD = "predictions"  # name of the classifier


@dataclasses.dataclass(frozen=True)
class Conventions:
    """The normalization that weights were trained with, RGB, for pixels in `value_range`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[int, int]

    def to_bytes(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns mean and std for pixels of 0-255."""
        scale = 255 / self.value_range[1]
        return tuple(scale * m for m in self.mean), tuple(scale * s for s in self.std)


# The authors' code until 2018: no division, and the mean of ActivityNet's frames for Kinetics too.
KINETICS_2017 = Conventions((114.7748, 107.7354, 99.4750), (1.0, 1.0, 1.0), (0, 255))
# The authors' code since 2020.
KINETICS_2020 = Conventions((0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737), (0, 1))
# Of the weights that come with keras_r3d, as in recipes/motion.toml.
MOTION = Conventions((114.7748, 107.7354, 99.4750), (58.0, 57.0, 57.0), (0, 255))
# Of C3D's authors: the mean of each channel in place of their mean of each place of a clip.
SPORTS1M = Conventions((102.0, 98.0, 90.0), (1.0, 1.0, 1.0), (0, 255))
MMACTION_C3D = Conventions((104.0, 117.0, 128.0), (1.0, 1.0, 1.0), (0, 255))
INCEPTION = Conventions((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), (0, 255))  # -1 to 1
# The same of flow, 20 pixels to 1, as `keras_r3d.data` stores it in bytes.
INCEPTION_FLOW = Conventions((128.0, 128.0), (127.0, 127.0), (0, 255))
TORCHVISION = Conventions((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989), (0, 1))


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table; a builder's arguments change what is "by default"."""

    blocks: tuple[int, int, int, int]  # in conv2_x, conv3_x, conv4_x and conv5_x
    shortcut: str | None  # by default; None where blocks are joined by concatenation: DenseNet
    bottleneck: bool = False  # blocks of three convolutions instead of two
    # Of each stage's blocks: "3d" (3x3x3), "2d" (1x3x3) or "2+1d" (factorized).
    convolutions: tuple[str, str, str, str] = ("3d", "3d", "3d", "3d")
    stem: str = "3d"  # first convolution: "3d" or "2+1d"
    conv1_t_size: int = 7  # its frames, by default
    max_pool: bool = True  # a max-pooling follows it, by default
    conventions: Conventions = KINETICS_2017  # where the weights do not say
    family: str = "hara"  # or "torchvision": whose names its checkpoints use
    filters: tuple[int, int, int, int] = FILTERS  # of the first convolution of a stage's blocks
    expansion: int = 4  # of a bottleneck's channels, in its last convolution
    groups: int = 1  # of a bottleneck's 3x3x3 convolution, at most
    order: str = "post"  # batch norm and ReLU follow a convolution, or stand before it: "pre"

    @property
    def dense(self) -> bool:
        return self.shortcut is None

    def stem_middle(self, filters: int, t_size: int) -> int:
        """Returns the filters in space of a factorized conv1; the authors count RGB in any case."""
        if self.family == "torchvision":
            return max(1, 45 * filters // STEM)
        return 3 * 49 * t_size * filters // (3 * 49 + t_size * filters)

    def middle(self, before: int, inputs: int, filters: int) -> int:
        """Returns the filters in space of a factorized 3x3x3 convolution, as large as a whole one.

        `before` are the channels of its block, which both convolutions of torchvision's go by.
        """
        inputs = before if self.family == "torchvision" else inputs
        return 27 * inputs * filters // (9 * inputs + 3 * filters)


def _torchvision(first: str, later: str, stem: str = "3d") -> Network:
    convolutions = (first, later, later, later)
    return Network(
        (2, 2, 2, 2), "B", False, convolutions, stem, 3, False, TORCHVISION, "torchvision"
    )


def _bottlenecks(*blocks: int, **options: Any) -> Network:
    return Network(blocks, "B", bottleneck=True, **options)  # type: ignore[arg-type]


def _dense(*blocks: int) -> Network:
    return Network(blocks, None, filters=(128,) * 4, order="pre")  # type: ignore[arg-type]


_FACTORIZED: Any = {
    "convolutions": ("2+1d",) * 4,
    "stem": "2+1d",
    "conventions": KINETICS_2020,  # of the only files there are
}
NETWORKS = {
    "r3d10": Network((1, 1, 1, 1), "A"),
    "r3d18": Network((2, 2, 2, 2), "A"),
    "r3d34": Network((3, 4, 6, 3), "A"),
    "r3d50": _bottlenecks(3, 4, 6, 3),
    "r3d101": _bottlenecks(3, 4, 23, 3),
    "r3d152": _bottlenecks(3, 8, 36, 3),
    "r3d200": _bottlenecks(3, 24, 36, 3),
    "preresnet18": Network((2, 2, 2, 2), "A", order="pre"),
    "preresnet34": Network((3, 4, 6, 3), "A", order="pre"),
    "preresnet50": _bottlenecks(3, 4, 6, 3, order="pre"),
    "preresnet101": _bottlenecks(3, 4, 23, 3, order="pre"),
    "preresnet152": _bottlenecks(3, 8, 36, 3, order="pre"),
    "preresnet200": _bottlenecks(3, 24, 36, 3, order="pre"),
    "wideresnet50": _bottlenecks(3, 4, 6, 3, filters=_TWICE, expansion=2),
    "resnext50": _bottlenecks(3, 4, 6, 3, filters=_TWICE, expansion=2, groups=32),
    "resnext101": _bottlenecks(3, 4, 23, 3, filters=_TWICE, expansion=2, groups=32),
    "resnext152": _bottlenecks(3, 8, 36, 3, filters=_TWICE, expansion=2, groups=32),
    "densenet121": _dense(6, 12, 24, 16),
    "densenet169": _dense(6, 12, 32, 32),
    "densenet201": _dense(6, 12, 48, 32),
    "densenet264": _dense(6, 12, 64, 48),
    "r2p1d18": Network((2, 2, 2, 2), "B", **_FACTORIZED),
    "r2p1d34": Network((3, 4, 6, 3), "B", **_FACTORIZED),
    "r2p1d50": _bottlenecks(3, 4, 6, 3, **_FACTORIZED),
    "r2p1d101": _bottlenecks(3, 4, 23, 3, **_FACTORIZED),
    "r3d_18": _torchvision("3d", "3d"),
    "mc3_18": _torchvision("3d", "2d"),
    "r2plus1d_18": _torchvision("2+1d", "2+1d", stem="2+1d"),
}


C3D_NETWORKS = ("c3d", "c3d_bn")
FRAME_NET = "framenet"

I3D_STEM = (64, 64, 192)  # filters of conv1, conv2b and conv2c
# Of an Inception block's branches 0, 1a and 1b, 2a and 2b, and 3b, behind a max-pooling.
I3D_BLOCKS = {
    "conv3b": (64, 96, 128, 16, 32, 32),
    "conv3c": (128, 128, 192, 32, 96, 64),
    "conv4b": (192, 96, 208, 16, 48, 64),
    "conv4c": (160, 112, 224, 24, 64, 64),
    "conv4d": (128, 128, 256, 24, 64, 64),
    "conv4e": (112, 144, 288, 32, 64, 64),
    "conv4f": (256, 160, 320, 32, 128, 128),
    "conv5b": (256, 160, 320, 32, 128, 128),
    "conv5c": (384, 192, 384, 48, 128, 128),
}


def scale_i3d(filters: Sequence[int], first: int) -> list[int]:
    """Scales numbers of filters of I3D to `first` of conv1, of which the width is read again."""
    return [max(1, count * first // I3D_STEM[0]) for count in filters]


# The normalization of each network where its weights do not say.
CONVENTIONS = {
    **{name: network.conventions for name, network in NETWORKS.items()},
    **dict.fromkeys(C3D_NETWORKS, KINETICS_2017),
    "i3d": INCEPTION,
}


class _Array(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


def identify_network(
    arrays: Mapping[str, _Array], family: str
) -> tuple[str | None, dict[str, Any]]:
    """Returns the network that arrays by `layer/variable` belong to, and its builder's arguments.

    The network is None if it is none of ours; of two with the same blocks that of `family`.
    """
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    bias = shapes.get(f"{HEAD}/bias", ())
    options: dict[str, Any] = {"classes": bias[0]} if len(bias) == 1 else {}
    if len(shapes.get("conv1/kernel", ())) == 4:  # of images
        return FRAME_NET, options | {"in_channels": shapes["conv1/kernel"][2]}
    if "conv5c_branch0/kernel" in shapes:
        return _identify_i3d(shapes, options)
    stem = "2+1d" if "conv1_temporal/kernel" in shapes else "3d"
    bottleneck = "conv2_1_conv3/kernel" in shapes
    is_dense = "conv3_transition_conv/kernel" in shapes
    is_c3d = "conv5b/kernel" in shapes
    first = "conv1_spatial/kernel" if stem == "2+1d" else "conv1/kernel"
    last = "conv5b" if is_c3d else "conv5_1_conv1"
    if stem == "2+1d" and not bottleneck:
        last += "_temporal"
    *in_space, filters = shapes.get(f"{last}/kernel", ()) or (0,)
    kernel = shapes.get(first, ())
    in_time = shapes.get("conv1_temporal/kernel", kernel)
    if not len(kernel) == len(in_time) == len(in_space) + 1 == 5:
        return None, options
    options["in_channels"] = kernel[3]
    if is_c3d:
        if shapes[f"{last}/kernel"] != (3, 3, 3, filters, filters):
            return None, options
        normalized = "conv1_bn/gamma" in shapes
        options |= {"with_batch_norm": normalized, "width": filters / FILTERS[-1]}
        return C3D_NETWORKS[normalized], options
    options |= {"width": filters / FILTERS[-1], "conv1_t_size": in_time[0]}
    if not is_dense:
        options["shortcut"] = "B" if any("_shortcut_" in name for name in shapes) else "A"
    outputs = shapes.get("conv5_bn/gamma" if is_dense else "conv5_1_conv3/kernel", (filters,))[-1]
    if shapes.get(f"{HEAD}/kernel", ())[:1] != (outputs,):
        options.pop("classes", None)  # of the embedding of several stages
    elif shapes[f"{HEAD}/kernel"][1:] != bias:
        return None, options
    blocks = dict.fromkeys("2345", 0)
    for name in shapes:
        if match := re.match(r"conv([2-5])_(\d+)_", name):
            blocks[match[1]] = max(blocks[match[1]], int(match[2]))

    def convolution(stage: str) -> str:
        if f"conv{stage}_1_conv2_temporal/kernel" in shapes:
            return "2+1d"
        return "2d" if shapes.get(f"conv{stage}_1_conv2/kernel", ())[:1] == (1,) else "3d"

    structure = (
        tuple(blocks.values()),
        is_dense,
        bottleneck,
        tuple(map(convolution, blocks)),
        stem,
    )
    names = [
        name
        for name, row in NETWORKS.items()
        if (row.blocks, row.dense, row.bottleneck, row.convolutions, row.stem) == structure
        and _has_shapes(row, shapes, filters)
    ]
    if not names:
        return None, options
    name = min(names, key=lambda name: NETWORKS[name].family != family)
    # From the widest stage all others are rounded as they were.
    return name, options | {"width": filters / NETWORKS[name].filters[-1]}


def _has_shapes(row: Network, shapes: Mapping[str, tuple[int, ...]], filters: int) -> bool:
    """Whether the arrays that tell networks apart, the widest among them, are those of a row.

    Wide, grouped and pre-activated networks call their tensors alike. And no network is built that
    is much larger than the file. `filters` are those of conv5_x.
    """
    stem, *_, inputs, _ = (
        max(1, int(count * filters / row.filters[-1])) for count in (STEM, *row.filters)
    )
    second = outputs = filters
    if row.bottleneck:
        inputs, outputs = row.expansion * inputs, row.expansion * filters
    elif row.dense:
        second = filters // 4
        for stage, count in enumerate(row.blocks):
            inputs = outputs // 2 if stage else stem
            outputs = inputs + count * second
    ends: dict[str, tuple[int, ...]] = {
        "conv1_bn/gamma": (stem,),
        "conv5_1_bn1/gamma": (inputs if row.order == "pre" else filters,),
        "conv5_1_bn2/gamma": (filters,),
    }
    if row.bottleneck:
        ends["conv5_1_conv3/kernel"] = (filters, outputs)
        ends["conv5_1_bn3/gamma"] = (filters if row.order == "pre" else outputs,)
    elif row.dense:
        ends["conv5_bn/gamma"] = (outputs,)
    if row.stem == "3d":
        ends["conv1/kernel"] = (stem,)
    elif kernel := shapes.get("conv1_temporal/kernel"):
        ends["conv1_spatial/kernel"] = (row.stem_middle(stem, kernel[0]),)
    if row.convolutions[-1] == "2+1d":
        middle = row.middle(filters if row.bottleneck else inputs, filters, filters)
        ends["conv5_1_conv2_temporal/kernel"] = (middle, filters)
    else:
        ends["conv5_1_conv2/kernel"] = (filters // gcd(row.groups, filters), second)
    return all(shapes.get(name, ())[-len(end) :] == end for name, end in ends.items())


def _identify_i3d(
    shapes: Mapping[str, tuple[int, ...]], options: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    kernel = shapes.get("conv1/kernel", ())
    if len(kernel) != 5:
        return None, options
    one, before, after, _, other, pooled = scale_i3d(I3D_BLOCKS["conv5c"], kernel[4])
    # No network is built that is much larger than the file: its widest array must be there.
    if shapes.get("conv5c_branch1b/kernel") != (3, 3, 3, before, after):
        return None, options
    head = one + after + other + pooled, options.get("classes")
    if shapes.get(f"{HEAD}/kernel") != head:
        options.pop("classes", None)  # of the embedding of several stages
    return "i3d", options | {"width": kernel[4] / I3D_STEM[0], "in_channels": kernel[3]}
