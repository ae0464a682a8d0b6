"""R3D of basic blocks and I3D in PyTorch, beside whose speed ours is measured."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_R3D = {"r3d10": (1, 1, 1, 1), "r3d18": (2, 2, 2, 2), "r3d34": (3, 4, 6, 3)}  # blocks by stage
_I3D = {  # filters of branches 0, 1a and 1b, 2a and 2b, 3b
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
_VARIABLES = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
_VARIABLES |= {"moving_mean": "running_mean", "moving_variance": "running_var"}


class _Network(nn.Module):
    """Takes uint8 clips `(batch, frames, height, width, 3)`, gives logits `(batch, classes)`.

    Its layers have the names of ours, a batch norm that of its convolution and "_bn".
    """

    def __init__(self, mean: Sequence[float], std: float, epsilon: float):
        super().__init__()
        self.layers = nn.ModuleDict()
        self.std, self.epsilon, self.memory_format = std, epsilon, torch.contiguous_format
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1, 1))

    def add(self, name: str, before: int, after: int, size: int, stride=1, padding=None) -> None:
        padding = size // 2 if padding is None else padding
        self.layers[name] = nn.Conv3d(before, after, size, stride, padding, bias=False)
        self.layers[f"{name}_bn"] = nn.BatchNorm3d(after, self.epsilon)

    def conv(self, x: Tensor, name: str, shortcut: Tensor | float = 0.0) -> Tensor:
        x = self.layers[f"{name}_bn"](self.layers[name](x))
        return functional.relu(x + shortcut if isinstance(shortcut, Tensor) else x)

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.permute(0, 4, 1, 2, 3).to(memory_format=self.memory_format)
        x = self.features((x.float() - self.mean) / self.std)
        return self.layers["predictions"](x.mean((2, 3, 4)))


class _R3DNet(_Network):
    """With shortcuts of type A."""

    def __init__(self, blocks: Sequence[int], classes: int):
        super().__init__((114.7748, 107.7354, 99.4750), 1.0, 1e-5)
        self.add("conv1", 3, 64, 7, (1, 2, 2))
        self.blocks: list[tuple[str, int, int]] = []  # name, stride, channels that are added
        before = 64
        for stage, count in enumerate(blocks):
            after = 64 * 2**stage
            for number in range(count):
                name, stride = f"conv{stage + 2}_{number + 1}", 2 if stage and not number else 1
                self.add(f"{name}_conv1", before, after, 3, stride)
                self.add(f"{name}_conv2", after, after, 3)
                self.blocks.append((name, stride, after - before))
                before = after
        self.layers["predictions"] = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Tensor:
        x = functional.max_pool3d(self.conv(x, "conv1"), 3, 2, 1)
        for name, stride, missing in self.blocks:
            shortcut = x
            if missing or stride > 1:
                shortcut = functional.avg_pool3d(x, 1, stride)
                shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, 0, 0, missing))
            x = self.conv(self.conv(x, f"{name}_conv1"), f"{name}_conv2", shortcut)
        return x


class _I3DNet(_Network):
    def __init__(self, classes: int):
        super().__init__((127.5,) * 3, 127.5, 1e-3)
        self.add("conv1", 3, 64, 7, 2, padding=0)
        self.add("conv2b", 64, 64, 1)
        self.add("conv2c", 64, 192, 3)
        before = 192
        for name, (one, before_1, after_1, before_2, after_2, pooled) in _I3D.items():
            self.add(f"{name}_branch0", before, one, 1)
            self.add(f"{name}_branch1a", before, before_1, 1)
            self.add(f"{name}_branch1b", before_1, after_1, 3)
            self.add(f"{name}_branch2a", before, before_2, 1)
            self.add(f"{name}_branch2b", before_2, after_2, 3)
            self.add(f"{name}_branch3b", before, pooled, 1)
            before = one + after_1 + after_2 + pooled
        self.layers["predictions"] = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.conv(_pad(x, (7, 7, 7), (2, 2, 2)), "conv1")
        x = self.conv(_max_pool(x, (1, 3, 3), (1, 2, 2)), "conv2b")
        x = _max_pool(self.conv(x, "conv2c"), (1, 3, 3), (1, 2, 2))
        for name in _I3D:
            if name in ("conv4b", "conv5b"):
                x = _max_pool(x, (3, 3, 3) if name == "conv4b" else (2, 2, 2), (2, 2, 2))
            branches = [
                self.conv(x, f"{name}_branch0"),
                self.conv(self.conv(x, f"{name}_branch1a"), f"{name}_branch1b"),
                self.conv(self.conv(x, f"{name}_branch2a"), f"{name}_branch2b"),
                self.conv(functional.max_pool3d(x, 3, 1, 1), f"{name}_branch3b"),
            ]
            x = torch.cat(branches, 1)
        return functional.avg_pool3d(x, (2, 1, 1), 1)


def _pad(x: Tensor, sizes: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Pads with zeros as TensorFlow's "same" does: an odd one lies behind."""
    pads: list[int] = []
    for length, size, stride in zip(x.shape[:1:-1], sizes[::-1], strides[::-1], strict=True):
        total = max(size - (length % stride or stride), 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads) if any(pads) else x


def _max_pool(x: Tensor, sizes: Sequence[int], strides: Sequence[int]) -> Tensor:
    return functional.max_pool3d(_pad(x, sizes, strides), sizes, strides)  # nothing is below 0


def build(
    name: str,
    classes: int,
    weights: Mapping[str, np.ndarray] | None = None,  # of ours, by `layer/variable`
    *,
    channels_last: bool = True,
) -> nn.Module:
    """Builds a network. Raises ValueError if it is not written here."""
    if name not in (*_R3D, "i3d"):
        raise ValueError(f"written for {', '.join(_R3D)} and i3d only")
    network = _I3DNet(classes) if name == "i3d" else _R3DNet(_R3D[name], classes)
    state = network.state_dict()
    for path, array in (weights or {}).items():
        layer, variable = path.split("/")
        values = np.moveaxis(array, (-1, -2), (0, 1)) if variable == "kernel" else array
        key = f"layers.{layer}.{_VARIABLES.get(variable, variable)}"
        state[key] = torch.from_numpy(np.ascontiguousarray(values))
    network.load_state_dict(state)
    if channels_last:
        network.memory_format = torch.channels_last_3d
        network = network.to(memory_format=torch.channels_last_3d)
    return network
