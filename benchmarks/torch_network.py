"""R3D of basic blocks and I3D in PyTorch, beside whose speed ours is measured."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_NETWORKS = ("r3d10", "r3d18", "r3d34", "i3d")
_BATCH_NORM = ("moving_mean", "moving_variance", "gamma", "beta")


class Network:
    """Takes uint8 clips `(batch, frames, height, width, 3)`, gives logits `(batch, classes)`.

    Its weights are ours, by `layer/variable`. Raises ValueError for a network not written here.
    """

    def __init__(
        self,
        name: str,
        weights: Mapping[str, np.ndarray],
        *,
        channels_last: bool = True,
        training: bool = False,
    ):
        if name not in _NETWORKS:
            raise ValueError(f"written for {', '.join(_NETWORKS)} only")
        self.name, self.training, self.weights = name, training, dict[str, Tensor]()
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        for key, array in weights.items():
            tensor = torch.from_numpy(array)
            if key.endswith("/kernel"):
                tensor = tensor.movedim((-1, -2), (0, 1)).contiguous()
            if tensor.ndim == 5:
                tensor = tensor.contiguous(memory_format=self.memory_format)
            self.weights[key] = tensor.requires_grad_(training and "/moving_" not in key)

    def __call__(self, clips: Tensor) -> Tensor:
        x = clips.permute(0, 4, 1, 2, 3).to(memory_format=self.memory_format).float()
        x = (self._i3d if self.name == "i3d" else self._r3d)(x)
        kernel, bias = self.weights["predictions/kernel"], self.weights["predictions/bias"]
        return functional.linear(x.mean((2, 3, 4)), kernel, bias)

    def _r3d(self, x: Tensor) -> Tensor:
        """With shortcuts of type A."""
        x = x - torch.tensor((114.7748, 107.7354, 99.4750)).view(1, 3, 1, 1, 1)
        x = functional.max_pool3d(self._conv(x, "conv1", (1, 2, 2)).relu(), 3, 2, 1)
        for block in self._names("_conv1/kernel"):
            stride = 2 if block.endswith("_1") and block != "conv2_1" else 1
            y = self._conv(x, f"{block}_conv1", stride).relu()
            y = self._conv(y, f"{block}_conv2")
            if missing := y.shape[1] - x.shape[1]:
                x = functional.avg_pool3d(x, 1, stride)
                x = functional.pad(x, (0, 0, 0, 0, 0, 0, 0, missing))
            x = (y + x).relu()
        return x

    def _i3d(self, x: Tensor) -> Tensor:
        x = _pad(x / 127.5 - 1, (7, 7, 7), (2, 2, 2))
        x = self._conv(x, "conv1", 2, padding=0).relu()
        x = self._conv(_max_pool(x, (1, 3, 3), (1, 2, 2)), "conv2b").relu()
        x = _max_pool(self._conv(x, "conv2c").relu(), (1, 3, 3), (1, 2, 2))
        for block in self._names("_branch0/kernel"):
            if block in ("conv4b", "conv5b"):
                x = _max_pool(x, (3, 3, 3) if block == "conv4b" else (2, 2, 2), (2, 2, 2))
            inputs = [x, x, x, functional.max_pool3d(x, 3, 1, 1)]
            for branch, layers in enumerate((("0",), ("1a", "1b"), ("2a", "2b"), ("3b",))):
                for layer in layers:
                    y = self._conv(inputs[branch], f"{block}_branch{layer}")
                    inputs[branch] = y.relu()
            x = torch.cat(inputs, 1)
        return functional.avg_pool3d(x, (2, 1, 1), 1)

    def _names(self, end: str) -> list[str]:
        return [name.removesuffix(end) for name in self.weights if name.endswith(end)]

    def _conv(
        self,
        x: Tensor,
        layer: str,
        stride: int | Sequence[int] = 1,
        padding: int | None = None,
    ) -> Tensor:
        """Convolution, padded by half the kernel, and batch norm."""
        kernel = self.weights[f"{layer}/kernel"]
        padding = kernel.shape[2] // 2 if padding is None else padding
        x = functional.conv3d(x, kernel, None, stride, padding)
        norm = layer.replace("_conv", "_bn") if "_conv" in layer else f"{layer}_bn"
        variables = [self.weights.get(f"{norm}/{variable}") for variable in _BATCH_NORM]
        epsilon = 1e-3 if self.name == "i3d" else 1e-5
        return functional.batch_norm(x, *variables, self.training, eps=epsilon)


def _pad(x: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pads with zeros as TensorFlow's "same" does: of an odd number more lie behind."""
    pads: list[int] = []
    for length, wide, step in zip(x.shape[:1:-1], size[::-1], stride[::-1], strict=True):
        total = max(wide - (length % step or step), 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads) if any(pads) else x


def _max_pool(x: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    return functional.max_pool3d(_pad(x, size, stride), size, stride)  # after ReLU: none below 0
