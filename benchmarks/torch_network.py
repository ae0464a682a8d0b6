"""An R3D of basic blocks in PyTorch, to compare the speed of its training step with ours."""

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = {"r3d10": (1, 1, 1, 1), "r3d18": (2, 2, 2, 2), "r3d34": (3, 4, 6, 3)}
_MEAN = (114.7748, 107.7354, 99.4750)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv3d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(after)
        self.conv2 = nn.Conv3d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(after)
        self.stride, self.missing = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.missing or self.stride > 1:
            shortcut = functional.avg_pool3d(x, 1, self.stride)
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, 0, 0, self.missing))
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


class R3D(nn.Module):
    """An R3D with shortcuts of type A.

    Takes uint8 clips `(batch, frames, height, width, 3)`, gives logits `(batch, classes)`.
    """

    def __init__(self, name: str, classes: int, *, channels_last: bool = True):
        super().__init__()
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        blocks: list[nn.Module] = []
        before = 64
        for stage, count in enumerate(BLOCKS[name]):
            after = 64 * 2**stage
            for number in range(count):
                blocks.append(_Block(before, after, 2 if stage and not number else 1))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, classes)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1, 1))

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.permute(0, 4, 1, 2, 3).to(memory_format=self.memory_format)
        x = functional.relu(self.bn1(self.conv1(x.float() - self.mean)))
        x = self.blocks(functional.max_pool3d(x, 3, 2, 1))
        return self.fc(x.mean((2, 3, 4)))
