"""The table of residual networks, and finding the row that an array of shapes belongs to."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Protocol

from keras_r3d.applications.builders.blocks import EXPANSION

FILTERS = (64, 128, 256, 512)  # of conv2_x, conv3_x, conv4_x and conv5_x
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
TORCHVISION = Conventions((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989), (0, 1))


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table; a builder's arguments change what is "by default"."""

    blocks: tuple[int, int, int, int]  # in conv2_x, conv3_x, conv4_x and conv5_x
    shortcut: str  # by default
    bottleneck: bool = False  # blocks of three convolutions instead of two
    # Of each stage's blocks: "3d" (3x3x3), "2d" (1x3x3) or "2+1d" (factorized).
    convolutions: tuple[str, str, str, str] = ("3d", "3d", "3d", "3d")
    stem: str = "3d"  # first convolution: "3d" or "2+1d"
    conv1_t_size: int = 7  # its frames, by default
    max_pool: bool = True  # a max-pooling follows it, by default
    conventions: Conventions = KINETICS_2017  # where the weights do not say
    family: str = "hara"  # or "torchvision": whose names its checkpoints use


def _torchvision(first: str, later: str, stem: str = "3d") -> Network:
    convolutions = (first, later, later, later)
    return Network(
        (2, 2, 2, 2), "B", False, convolutions, stem, 3, False, TORCHVISION, "torchvision"
    )


NETWORKS = {
    "r3d10": Network((1, 1, 1, 1), "A"),
    "r3d18": Network((2, 2, 2, 2), "A"),
    "r3d34": Network((3, 4, 6, 3), "A"),
    "r3d50": Network((3, 4, 6, 3), "B", bottleneck=True),
    "r3d101": Network((3, 4, 23, 3), "B", bottleneck=True),
    "r3d152": Network((3, 8, 36, 3), "B", bottleneck=True),
    "r3d200": Network((3, 24, 36, 3), "B", bottleneck=True),
    "r3d_18": _torchvision("3d", "3d"),
    "mc3_18": _torchvision("3d", "2d"),
    "r2plus1d_18": _torchvision("2+1d", "2+1d", stem="2+1d"),
}


C3D_NETWORKS = ("c3d", "c3d_bn")


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
    stem = "2+1d" if "conv1_temporal/kernel" in shapes else "3d"
    bottleneck = "conv2_1_conv3/kernel" in shapes
    is_c3d = "conv5b/kernel" in shapes
    if stem == "2+1d":
        first, last = "conv1_spatial/kernel", "conv5_1_conv1_temporal/kernel"
    else:
        first, last = "conv1/kernel", "conv5b/kernel" if is_c3d else "conv5_1_conv1/kernel"
    *in_space, filters = shapes.get(last, ()) or (0,)
    kernel = shapes.get(first, ())
    in_time = shapes.get("conv1_temporal/kernel", kernel)
    if not len(kernel) == len(in_time) == len(in_space) + 1 == 5:
        return None, options
    # Of the widest stage: from it all others are rounded as they were.
    settled = {"width": filters / FILTERS[-1], "in_channels": kernel[3]}
    if is_c3d:
        if shapes[last] != (3, 3, 3, filters, filters):
            return None, options
        normalized = "conv1_bn/gamma" in shapes
        return C3D_NETWORKS[normalized], options | {"with_batch_norm": normalized} | settled
    options["shortcut"] = "B" if any("_shortcut_" in name for name in shapes) else "A"
    options |= settled | {"conv1_t_size": in_time[0]}
    # Wide, grouped and pre-activated networks call their tensors alike. And no network is built
    # that is much larger than the file: its widest arrays must be there.
    narrow = max(1, int(FILTERS[0] * options["width"]))
    outputs = EXPANSION * filters if bottleneck else filters
    regular: dict[str, tuple[int, ...]] = {
        "conv1_bn/gamma": (narrow,),
        "conv5_1_bn1/gamma": (filters,),
        "conv5_1_bn2/gamma": (filters,),
    }
    if bottleneck:
        regular["conv5_1_bn3/gamma"] = (outputs,)
    if stem == "3d":
        regular["conv1/kernel"] = (*kernel[:4], narrow)
        size = shapes.get("conv5_1_conv2/kernel", ())[:3]
        regular["conv5_1_conv2/kernel"] = (*size, filters, filters)
    if shapes.get(f"{HEAD}/kernel", ())[:1] != (outputs,):
        options.pop("classes", None)  # of the embedding of several stages
    if "classes" in options:
        regular[f"{HEAD}/kernel"] = (outputs, options["classes"])
    if any(shapes.get(name) != shape for name, shape in regular.items()):
        return None, options
    blocks = dict.fromkeys("2345", 0)
    for name in shapes:
        if match := re.match(r"conv([2-5])_(\d+)_", name):
            blocks[match[1]] = max(blocks[match[1]], int(match[2]))

    def convolution(stage: str) -> str:
        if f"conv{stage}_1_conv2_temporal/kernel" in shapes:
            return "2+1d"
        return "2d" if shapes.get(f"conv{stage}_1_conv2/kernel", ())[:1] == (1,) else "3d"

    structure = (tuple(blocks.values()), bottleneck, tuple(map(convolution, blocks)), stem)
    names = [
        name
        for name, row in NETWORKS.items()
        if (row.blocks, row.bottleneck, row.convolutions, row.stem) == structure
    ]
    names.sort(key=lambda name: NETWORKS[name].family != family)
    return (names[0] if names else None), options
