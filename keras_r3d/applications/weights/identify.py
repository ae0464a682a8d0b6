"""Which residual network an array of shapes belongs to, and with which options it was built."""

import re
from collections.abc import Mapping
from typing import Any

from keras_r3d.applications.blocks import EXPANSION
from keras_r3d.applications.networks import FILTERS, NETWORKS

HEAD = "predictions"
Shapes = Mapping[str, tuple[int, ...]]


def identify(shapes: Shapes, family: str) -> tuple[str | None, dict[str, Any]]:
    """Reads from the shapes which network they belong to.

    Args:
        shapes: by `layer/variable`, in the order of Keras's axes.
        family: of two networks with the same blocks, the one that is preferred.

    Returns:
        Name in the table (None if it is none), and the builder's arguments.
    """
    options: dict[str, Any] = {}
    bias = shapes.get(f"{HEAD}/bias", ())
    if len(bias) == 1:
        options["classes"] = bias[0]
    factorised = "conv1_temporal/kernel" in shapes
    bottleneck = "conv2_1_conv3/kernel" in shapes
    first = shapes.get("conv1_spatial/kernel" if factorised else "conv1/kernel", ())
    in_time = shapes.get("conv1_temporal/kernel", first)
    last = shapes.get("conv5_1_conv1_temporal/kernel" if factorised else "conv5_1_conv1/kernel", ())
    if not len(first) == len(in_time) == len(last) == 5:
        return None, options
    filters = last[4]  # of the widest stage: from it all others are rounded as they were
    options |= {
        "shortcut": "B" if any("_shortcut_" in name for name in shapes) else "A",
        "width": filters / FILTERS[-1],
        "in_channels": first[3],
        "conv1_t_size": in_time[0],
    }
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
    if not factorised:
        regular["conv1/kernel"] = (*first[:4], narrow)
        in_space = shapes.get("conv5_1_conv2/kernel", ())[:3]
        regular["conv5_1_conv2/kernel"] = (*in_space, filters, filters)
    if shapes.get(f"{HEAD}/kernel", ())[:1] != (outputs,):
        options.pop("classes", None)  # of the embedding of several stages
    if "classes" in options:
        regular[f"{HEAD}/kernel"] = (outputs, options["classes"])
    if any(shapes.get(name) != shape for name, shape in regular.items()):
        return None, options
    structure = (_blocks(shapes), bottleneck, _convolutions(shapes), "2+1d" if factorised else "3d")
    alike = [
        name
        for name, row in NETWORKS.items()
        if (row.blocks, row.bottleneck, row.convolutions, row.stem) == structure
    ]
    alike.sort(key=lambda name: NETWORKS[name].family != family)
    return (alike[0] if alike else None), options


def _blocks(shapes: Shapes) -> tuple[int, ...]:
    places = [re.match(r"conv(\d)_(\d+)_", name) for name in shapes]
    return tuple(
        max((int(place[2]) for place in places if place and place[1] == stage), default=0)
        for stage in "2345"
    )


def _convolutions(shapes: Shapes) -> tuple[str, ...]:
    def kind(stage: int) -> str:
        if f"conv{stage}_1_conv2_temporal/kernel" in shapes:
            return "2+1d"
        return "2d" if shapes.get(f"conv{stage}_1_conv2/kernel", ())[:1] == (1,) else "3d"

    return tuple(kind(stage) for stage in (2, 3, 4, 5))
