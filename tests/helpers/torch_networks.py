"""Writes checkpoints with PyTorch, and what its networks answer: run by test_torch.py, apart.

    python torch_networks.py FOLDER CASE…

The authors' networks are written out here and in torch_families.py; torchvision's come from
torchvision, which nothing else needs. Each case becomes CASE.pth and CASE.npz.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch_families
from torch import nn
from torch.nn import functional

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


class Block(nn.Module):
    def __init__(self, before, filters, stride, shortcut, bottleneck):
        super().__init__()
        after = filters * 4 if bottleneck else filters
        if bottleneck:
            convolutions = [(before, filters, 1, 1), (filters, filters, 3, stride)]
            convolutions.append((filters, after, 1, 1))
        else:
            convolutions = [(before, filters, 3, stride), (filters, filters, 3, 1)]
        self.count = len(convolutions)
        for i, (c_in, c_out, size, step) in enumerate(convolutions, start=1):
            convolution = nn.Conv3d(c_in, c_out, size, step, size // 2, bias=False)
            setattr(self, f"conv{i}", convolution)
            setattr(self, f"bn{i}", nn.BatchNorm3d(c_out))
        self.stride, self.after, self.downsample = stride, after, None
        if shortcut == "B" and (stride != 1 or before != after):
            projection = nn.Conv3d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm3d(after))

    def forward(self, x):
        identity = x
        if self.downsample is not None:
            identity = self.downsample(x)
        elif self.stride != 1 or x.shape[1] != self.after:
            identity = functional.avg_pool3d(x, 1, self.stride)
            missing = self.after - identity.shape[1]
            identity = functional.pad(identity, (0, 0, 0, 0, 0, 0, 0, missing))
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            if i < self.count:
                x = functional.relu(x)
        return functional.relu(x + identity)


class Authors(nn.Module):
    def __init__(self, depth, shortcut, width=1.0, classes=10, channels=3, t_size=7, t_stride=1):
        super().__init__()
        filters = [int(count * width) for count in (64, 128, 256, 512)]
        self.conv1 = nn.Conv3d(
            *(channels, filters[0], (t_size, 7, 7), (t_stride, 2, 2), (t_size // 2, 3, 3)),
            bias=False,
        )
        self.bn1 = nn.BatchNorm3d(filters[0])
        before = filters[0]
        for stage, count in enumerate(BLOCKS[depth]):
            blocks = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(before, filters[stage], stride, shortcut, depth >= 50))
                before = blocks[-1].after
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool3d(x, 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3, 4)))


def moved(model):
    """Random weights that keep the signal, and batch-norm statistics off their start."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif tensor.ndim == 1:
                tensor.normal_(0, 0.3)
            elif tensor.ndim > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    return model.eval()


def stage_outputs(model, clip):
    """Logits, and the mean of each channel behind each of the four stages."""
    means, names = [], getattr(model, "STAGE", "layer{}")
    hooks = [
        model.get_submodule(names.format(stage)).register_forward_hook(
            lambda _, __, out: means.append(out.mean((2, 3, 4)).numpy())
        )
        for stage in range(1, 5)
    ]
    with torch.no_grad():
        logits = model(torch.from_numpy(clip.transpose(0, 4, 1, 2, 3).copy())).numpy()
    for hook in hooks:
        hook.remove()
    return [*means, logits]


def clips(frames=16, size=64, channels=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((1, frames, size, size, channels)).astype(np.float32)


@dataclasses.dataclass
class Case:
    model: nn.Module
    clip: np.ndarray
    zipped: bool = True
    wrapped: bool = True
    parallel: bool = False
    rename: Callable[[dict], dict] = dict

    def write(self, path):
        model = moved(self.model)
        state = (nn.DataParallel(model) if self.parallel else model).state_dict()
        state = self.rename(state)
        content = {"state_dict": state, "arch": "resnet"} if self.wrapped else state
        torch.save(content, f"{path}.pth", _use_new_zipfile_serialization=self.zipped)
        *means, logits = stage_outputs(model, self.clip)
        means = {f"stage{i}": mean for i, mean in enumerate(means, start=2)}
        np.savez(f"{path}.npz", clip=self.clip, logits=logits, **means)


def authors(depth, shortcut, zipped):
    return Case(Authors(depth, shortcut, width=0.125), clips(), zipped, parallel=zipped)


def odd(frames, size):
    model = Authors(18, "B", width=0.25, channels=2, t_size=3, t_stride=2)
    return Case(model, clips(frames, size, 2), wrapped=False)


def of_torchvision(name, zipped):
    import torchvision

    model = torchvision.models.get_model(name, num_classes=9)
    return Case(model, clips(8, 48), zipped, wrapped=False)


def full(depth):
    return Case(Authors(depth, "A" if depth < 50 else "B", classes=400), clips(16, 112))


def family(name, size):
    """ "narrow", "full", or "dotted": narrow, with the names of the files of 2018."""
    full = size == "full"
    model = torch_families.build(name, 400 if full else 10, 1.0 if full else 0.25)
    rename = torch_families.dotted if size == "dotted" else dict
    return Case(model, clips(16, 112 if full else 64), full, parallel=True, rename=rename)


class TrainingState:
    """Optimiser with momentum and a schedule of the authors' code."""

    def __init__(self, schedule, zipped):
        self.schedule, self.zipped = schedule, zipped

    def write(self, path):
        model = Authors(18, "A", width=0.05)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
        model(torch.zeros(2, 3, 4, 16, 16)).sum().backward()
        optimizer.step()
        schedules = torch.optim.lr_scheduler
        scheduler = (
            schedules.MultiStepLR(optimizer, [50, 100])
            if self.schedule == "multistep"
            else schedules.ReduceLROnPlateau(optimizer, "min")
        )
        state = {
            "epoch": 1,
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        }
        torch.save(state, f"{path}.pth", _use_new_zipfile_serialization=self.zipped)
        np.savez(f"{path}.npz", **{k: v.numpy() for k, v in model.state_dict().items()})


class Steps:
    """Training of R3D-18 as the authors' code: losses and batch-norm statistics."""

    RATE = 0.002
    MOMENTUM, DAMPENING, DECAY = 0.9, 0.9, 1e-3
    STEPS, BATCHES, CLIPS, CLASSES = 20, 4, 8, 5

    def __init__(self, shortcut, schedule):
        self.shortcut, self.schedule = shortcut, schedule

    def rates(self):
        """The rate of each step; "drop": a tenth from the middle on."""
        half = self.STEPS // 2
        return [self.RATE] * half + [self.RATE / (10 if self.schedule == "drop" else 1)] * half

    def write(self, path):
        model = moved(Authors(18, self.shortcut, 0.25, self.CLASSES)).train()
        # With most values well above 0: where they lie around it, rounding moves some across the
        # corner of a ReLU, and PyTorch's own losses of float32 part from those of float64 by 1 %.
        with torch.no_grad():
            for layer in model.modules():
                if isinstance(layer, nn.BatchNorm3d):
                    layer.bias += 2
        torch.save(model.state_dict(), f"{path}.pth")
        rng = np.random.default_rng(0)
        # Stage 5 sees 1x2x2; batches come again, so that there is something to learn.
        shape = (self.BATCHES, self.CLIPS, 8, 40, 40, 3)
        clips = rng.standard_normal(shape).astype(np.float32)
        labels = rng.integers(self.CLASSES, size=shape[:2])
        counts = {}
        for name, layer in model.named_modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.register_forward_hook(
                    lambda _, __, out, name=name: counts.update({name: out[:, 0].numel()})
                )
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=self.RATE,
            momentum=self.MOMENTUM,
            dampening=self.DAMPENING,
            weight_decay=self.DECAY,
        )
        losses = []
        for step, rate in enumerate(self.rates()):
            optimizer.param_groups[0]["lr"] = rate
            batch = torch.from_numpy(clips[step % self.BATCHES].transpose(0, 4, 1, 2, 3).copy())
            target = torch.from_numpy(labels[step % self.BATCHES])
            loss = functional.cross_entropy(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        statistics = {
            f"after/{name}": tensor.numpy()
            for name, tensor in model.state_dict().items()
            if tensor.ndim > 0
        }
        np.savez(
            f"{path}.npz",
            clips=clips,
            labels=labels,
            rates=self.rates(),
            losses=losses,
            momentum=self.MOMENTUM,
            dampening=self.DAMPENING,
            weight_decay=self.DECAY,
            **{f"count/{name}": count for name, count in counts.items()},
            **statistics,
        )


class Types:
    """A tensor of a type, and views of it."""

    def __init__(self, dtype, zipped):
        self.dtype, self.zipped = dtype, zipped

    def write(self, path):
        whole = torch.arange(60).reshape(3, 4, 5).to(getattr(torch, self.dtype))
        tensors = {"whole": whole, "view": whole[1:, ::2].transpose(0, 2), "none": whole[:0]}
        torch.save(tensors, f"{path}.pth", _use_new_zipfile_serialization=self.zipped)
        if self.dtype == "bfloat16":
            tensors = {name: tensor.float() for name, tensor in tensors.items()}
        np.savez(f"{path}.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})


class WholeModule:
    def write(self, path):
        torch.save(Authors(18, "A", width=0.05), f"{path}.pth")


class Facts:
    """What torchvision says of its weights."""

    def write(self, path):
        import torchvision

        weights = {
            name: torchvision.models.get_model_weights(name).KINETICS400_V1
            for name in ("r3d_18", "mc3_18", "r2plus1d_18")
        }
        transform = weights["r3d_18"].transforms()
        np.savez(
            f"{path}.npz",
            labels=weights["r3d_18"].meta["categories"],
            mean=transform.mean,
            std=transform.std,
            urls=[one.url for one in weights.values()],
            parameters=[one.meta["num_params"] for one in weights.values()],
        )


MAKERS = {
    "authors": lambda depth, shortcut, zipped: authors(int(depth), shortcut, zipped == "zip"),
    "odd": lambda frames, size: odd(int(frames), int(size)),
    "torchvision": lambda name, zipped: of_torchvision(name, zipped == "zip"),
    "full": lambda depth: full(int(depth)),
    "family": family,
    "training": lambda schedule, zipped: TrainingState(schedule, zipped == "zip"),
    "steps": lambda shortcut, schedule: Steps(shortcut, schedule),
    "types": lambda dtype, zipped: Types(dtype, zipped == "zip"),
    "module": lambda: WholeModule(),
    "facts": lambda: Facts(),
}

if __name__ == "__main__":
    folder, *cases = sys.argv[1:]
    for case in cases:
        maker, *arguments = case.split("-")
        MAKERS[maker](*arguments).write(Path(folder) / case)
