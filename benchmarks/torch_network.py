"""R3D of basic blocks and I3D in PyTorch, beside whose speed ours is measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_VARIABLES = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
_VARIABLES |= {"moving_mean": "running_mean", "moving_variance": "running_var"}


class _Network(nn.Module):
    """Takes uint8 clips `(batch, frames, height, width, 3)`, gives logits `(batch, classes)`.

    Its layers have the names and sizes of ours.
    """

    mean: tuple[float, ...] = (114.7748, 107.7354, 99.4750)
    std, epsilon = 1.0, 1e-5

    def __init__(self, shapes: Mapping[str, Sequence[int]], memory_format: torch.memory_format):
        super().__init__()
        self.layers, self.memory_format = nn.ModuleDict(), memory_format
        self.register_buffer("shift", torch.tensor(self.mean).view(1, 3, 1, 1, 1))
        for name, shape in shapes.items():
            layer, variable = name.split("/")
            if variable == "kernel" and len(shape) == 2:
                self.layers[layer] = nn.Linear(*shape)
            elif variable == "kernel":
                *size, before, after = shape
                stride, padding = self.place(layer, size[0])
                self.layers[layer] = nn.Conv3d(before, after, size, stride, padding, bias=False)
                self.layers[_norm(layer)] = nn.BatchNorm3d(after, self.epsilon)

    def conv(self, x: Tensor, layer: str) -> Tensor:
        return self.layers[_norm(layer)](self.layers[layer](x))

    def relu(self, x: Tensor, *layers: str) -> Tensor:
        for layer in layers:
            x = functional.relu(self.conv(x, layer))
        return x

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.permute(0, 4, 1, 2, 3).to(memory_format=self.memory_format)
        x = self.features((x.float() - self.shift) / self.std)
        return self.layers["predictions"](x.mean((2, 3, 4)))


class _R3D(_Network):
    """With shortcuts of type A."""

    def place(self, layer: str, size: int) -> tuple[int | tuple[int, ...], int]:
        down = layer.endswith("_1_conv1") and layer != "conv2_1_conv1"
        return (1, 2, 2) if layer == "conv1" else 2 if down else 1, size // 2

    def features(self, x: Tensor) -> Tensor:
        x = functional.max_pool3d(self.relu(x, "conv1"), 3, 2, 1)
        for first in [layer for layer in self.layers if layer.endswith("_conv1")]:
            y = self.conv(self.relu(x, first), first[:-1] + "2")
            if missing := y.shape[1] - x.shape[1]:
                x = functional.avg_pool3d(x, 1, self.layers[first].stride)
                x = functional.pad(x, (0, 0, 0, 0, 0, 0, 0, missing))
            x = functional.relu(y + x)
        return x


class _I3D(_Network):
    """With TensorFlow's padding; what is padded with zeros before a max-pooling is not below 0."""

    mean, std, epsilon = (127.5,) * 3, 127.5, 1e-3

    def place(self, layer: str, size: int) -> tuple[int, int]:
        return (2, 0) if layer == "conv1" else (1, size // 2)

    def features(self, x: Tensor) -> Tensor:
        x = self.relu(_pad(x, (7, 7, 7), (2, 2, 2)), "conv1")
        x = self.relu(_max_pool(x, (1, 3, 3), (1, 2, 2)), "conv2b", "conv2c")
        x = _max_pool(x, (1, 3, 3), (1, 2, 2))
        for layer in self.layers:
            block, _, branch = layer.partition("_")
            if branch != "branch0":
                continue
            if block in ("conv4b", "conv5b"):
                x = _max_pool(x, (3, 3, 3) if block == "conv4b" else (2, 2, 2), (2, 2, 2))
            branches = [
                self.relu(x, layer),
                self.relu(x, f"{block}_branch1a", f"{block}_branch1b"),
                self.relu(x, f"{block}_branch2a", f"{block}_branch2b"),
                self.relu(functional.max_pool3d(x, 3, 1, 1), f"{block}_branch3b"),
            ]
            x = torch.cat(branches, 1)
        return functional.avg_pool3d(x, (2, 1, 1), 1)


def _norm(layer: str) -> str:
    return layer.replace("_conv", "_bn") if "_conv" in layer else f"{layer}_bn"


def _pad(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    pads: list[int] = []
    for length, wide, step in zip(x.shape[:1:-1], size[::-1], stride[::-1], strict=True):
        total = max(wide - (length % step or step), 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads) if any(pads) else x


def _max_pool(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return functional.max_pool3d(_pad(x, size, stride), size, stride)


_NETWORKS = {**dict.fromkeys(("r3d10", "r3d18", "r3d34"), _R3D), "i3d": _I3D}


def build(
    name: str, shapes: Mapping[str, Sequence[int]], *, channels_last: bool = True
) -> _Network:
    """Builds a network from the shapes of our weights, `layer/variable`.

    Raises ValueError if it is none of those here.
    """
    if name not in _NETWORKS:
        raise ValueError(f"written for {', '.join(_NETWORKS)} only")
    form = torch.channels_last_3d if channels_last else torch.contiguous_format
    return _NETWORKS[name](shapes, form).to(memory_format=form)


def read_network(path: Path, *, channels_last: bool) -> _Network:
    """Builds the network that `benchmarks.exports.export.write_weights` wrote, to score clips."""
    weights = dict(np.load(path))
    name = str(weights.pop("name"))
    shapes = {key: array.shape for key, array in weights.items()}
    network = build(name, shapes, channels_last=channels_last)
    state = network.state_dict()
    for key, array in weights.items():
        layer, variable = key.split("/")
        values = np.moveaxis(array, (-1, -2), (0, 1)) if variable == "kernel" else array
        place = f"layers.{layer}.{_VARIABLES.get(variable, variable)}"
        state[place] = torch.from_numpy(np.ascontiguousarray(values))
    network.load_state_dict(state)  # raises for a name or a shape that it does not have
    return network.eval()
