"""Where a network has a map of the clip, and which pixels each of its cells stands for."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

from keras_r3d.applications.models import operations
from keras_r3d.system.errors import ArgumentError

_CONVOLUTIONS = (layers.Conv3D, layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_POOLINGS = (
    *(layers.MaxPooling3D, layers.AveragePooling3D),
    *(layers.MaxPooling2D, layers.AveragePooling2D),
)
_PADDINGS = (layers.ZeroPadding3D, layers.ZeroPadding2D)
_RANKS = (4, 5)  # of a map's batch: 4 where frames were made a batch of images, as in a FrameNet
# The cells on a side of the map that Grad-CAM was published with: conv5_3 of VGG-16 at 224 pixels.
_FINE_ENOUGH = 14


@dataclasses.dataclass(frozen=True)
class Stage:
    """A layer whose output is a map of the clip. Axes are frames, height, width.

    Attributes:
        layer: its name.
        cells: of the map along each axis.
        first: frame, row and column of the clip at the center of the first cell.
        steps: frames, rows and columns of the clip from one cell to the next.
    """

    layer: str
    cells: tuple[int, ...]
    first: tuple[float, ...]
    steps: tuple[int, ...]


def stages(model: keras.Model, shape: Sequence[int]) -> list[Stage]:
    """Lists the last layer of each size of map of a clip `(frames, height, width)`, in order.

    Only layers that all of the network's paths lead through: what a shortcut goes around is only
    part of what the network computes. ArgumentError: the network has no convolution.
    """
    by_size: dict[tuple[int, ...], Stage] = {}
    for layer in _on_all_paths(model):
        path = _path(model, layer)
        is_map = isinstance(layer, layers.Layer) and len(layer.output.shape) in _RANKS
        is_map = is_map and any(isinstance(part, _CONVOLUTIONS) for part in path)
        if is_map and not isinstance(layer, (*_POOLINGS, *_PADDINGS)):
            stage = _stage(layer.name, path, shape)
            by_size[stage.cells[1:]] = stage
    if not by_size:
        raise ArgumentError(
            f"The model {model.name} has no convolution whose map could be drawn over the clip: "
            f"explaining needs one. Its layers: {[layer.name for layer in model.layers[:8]]}, …"
        )
    return list(by_size.values())


def choose(model: keras.Model, shape: Sequence[int], name: str | None = None) -> Stage:
    """Returns the deepest stage with 14 cells or more a side, else the finest; or a named one.

    `shape` is that of the clip, `(frames, height, width)`. ArgumentError: there is no layer of that
    name, or it has no map.
    """
    candidates = stages(model, shape)
    if name is None:
        fine = [stage for stage in candidates if min(stage.cells[1:]) >= _FINE_ENOUGH]
        return fine[-1] if fine else max(candidates, key=lambda stage: min(stage.cells[1:]))
    layer = next((layer for layer in model.layers if layer.name == name), None)
    if layer is None or len(getattr(layer.output, "shape", ())) not in _RANKS:
        raise ArgumentError(
            f"The model {model.name} has no layer '{name}' with a map of the clip. Sensible ones: "
            f"{', '.join(stage.layer for stage in candidates)}"
        )
    return _stage(name, _path(model, layer), shape)


def _on_all_paths(model: keras.Model) -> list[keras.Layer]:
    """Lists the layers that every path from input to output leads through, in order."""
    parts = operations(model)  # layers, and what makes a batch of images of a clip
    places = {id(layer.output): place for place, layer in enumerate(parts)}
    last_use = list(range(len(parts)))
    for place, layer in enumerate(parts):
        for tensor in keras.tree.flatten(layer.input):
            last_use[places.get(id(tensor), place)] = place
    shared, reach = [], 0
    for place, layer in enumerate(parts):
        if reach <= place:  # nothing from before goes past it
            shared.append(layer)
        reach = max(reach, last_use[place])
    return shared


def _path(model: keras.Model, layer: keras.Layer) -> list[keras.Layer]:
    """Lists the layers from the input to this one; where paths meet, those of the first."""
    producers = {id(layer.output): layer for layer in operations(model)}
    path = [layer]
    while True:
        before = [producers.get(id(tensor)) for tensor in keras.tree.flatten(path[0].input)[:1]]
        if not before or before[0] in (None, path[0]):
            return path
        path.insert(0, before[0])


def _stage(name: str, path: Sequence[keras.Layer], shape: Sequence[int]) -> Stage:
    cells, first, steps = list(shape), [0.0, 0.0, 0.0], [1, 1, 1]
    for layer in path:
        for axis, (size, stride, before, after) in enumerate(_window(layer, cells)):
            first[axis] += ((size - 1) / 2 - before) * steps[axis]
            steps[axis] *= stride
            cells[axis] = (cells[axis] + before + after - size) // stride + 1
    output = path[-1].output.shape[-4:-1]
    if any(size not in (None, cell) for size, cell in zip(output, cells, strict=True)):
        raise ArgumentError(
            f"Layer '{name}' has a map of {output} (frames, height, width), where {tuple(cells)} "
            "was expected: a layer before it moves pixels in a way that is not known here. Name an "
            "earlier layer."
        )
    return Stage(name, tuple(cells), tuple(first), tuple(steps))


def _window(layer: keras.Layer, cells: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Returns size, stride and padding before and after of a layer's window along each axis."""
    if isinstance(layer, layers.Reshape):  # of a FrameNet, frames into stacks
        size = layer.input.shape[1] // layer.output.shape[1]
        return [(size, size, 0, 0), (1, 1, 0, 0), (1, 1, 0, 0)]
    if isinstance(layer, _PADDINGS):
        padding = [(0, 0)] * (3 - len(layer.padding)) + [tuple(sides) for sides in layer.padding]
        if layer.data_format == "channels_first":  # pads height, width, channels: see blocks.py
            padding = [(0, 0), *padding[:2]]
        return [(1, 1, before, after) for before, after in padding]
    if isinstance(layer, _CONVOLUTIONS):
        dilated = zip(layer.kernel_size, layer.dilation_rate, strict=True)
        sizes = [(size - 1) * rate + 1 for size, rate in dilated]
    elif isinstance(layer, _POOLINGS):
        sizes = list(layer.pool_size)
    else:
        return [(1, 1, 0, 0)] * 3
    window = [(1, 1, 0, 0)] * (3 - len(sizes))  # images have no frames
    cells = cells[len(window) :]
    for size, stride, count in zip(sizes, layer.strides, cells, strict=True):
        same = layer.padding != "valid"
        lacking = max(0, (-(-count // stride) - 1) * stride + size - count) if same else 0
        window.append((size, stride, lacking // 2, lacking - lacking // 2))
    return window
