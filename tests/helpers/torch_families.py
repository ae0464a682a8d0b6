"""The authors' later networks in plain PyTorch, written from their published structure.

Their modules are called as the authors' are, so that a state_dict has the names of their files.
"""

import torch
from torch import nn
from torch.nn import functional

DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    121: (6, 12, 24, 16),
    152: (3, 8, 36, 3),
    169: (6, 12, 32, 32),
    200: (3, 24, 36, 3),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}


def convolution(before, after, size, stride=1, groups=1):
    return nn.Conv3d(before, after, size, stride, size // 2, groups=groups, bias=False)


def projection(before, after, stride):
    """The shortcut of type B, None where the shape stays."""
    if stride == 1 and before == after:
        return None
    convolve = nn.Conv3d(before, after, 1, stride, bias=False)
    return nn.Sequential(convolve, nn.BatchNorm3d(after))


class PreBasic(nn.Module):
    def __init__(self, before, planes, stride):
        super().__init__()
        self.after = planes
        self.bn1, self.conv1 = nn.BatchNorm3d(before), convolution(before, planes, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm3d(planes), convolution(planes, planes, 3)
        self.downsample = projection(before, planes, stride)

    def forward(self, x):
        y = self.conv1(functional.relu(self.bn1(x)))
        y = self.conv2(functional.relu(self.bn2(y)))
        return y + (x if self.downsample is None else self.downsample(x))


class PreBottleneck(nn.Module):
    def __init__(self, before, planes, stride):
        super().__init__()
        self.after = 4 * planes
        self.bn1, self.conv1 = nn.BatchNorm3d(before), convolution(before, planes, 1)
        self.bn2, self.conv2 = nn.BatchNorm3d(planes), convolution(planes, planes, 3, stride)
        self.bn3, self.conv3 = nn.BatchNorm3d(planes), convolution(planes, 4 * planes, 1)
        self.downsample = projection(before, self.after, stride)

    def forward(self, x):
        y = self.conv1(functional.relu(self.bn1(x)))
        y = self.conv2(functional.relu(self.bn2(y)))
        y = self.conv3(functional.relu(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(x))


class Wide(nn.Module):
    """The bottleneck of wide networks, and of ResNeXt with groups."""

    def __init__(self, before, planes, stride, cardinality=1):
        super().__init__()
        inner, self.after = 2 * planes, 4 * planes
        self.conv1, self.bn1 = convolution(before, inner, 1), nn.BatchNorm3d(inner)
        self.conv2 = convolution(inner, inner, 3, stride, cardinality)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3, self.bn3 = convolution(inner, self.after, 1), nn.BatchNorm3d(self.after)
        self.downsample = projection(before, self.after, stride)

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class NeXt(Wide):
    def __init__(self, before, planes, stride):
        super().__init__(before, planes, stride, cardinality=32)


class Factorized(nn.Module):
    """A block of R(2+1)D: each 3x3x3 convolution is one in space and one in time."""

    def __init__(self, before, planes, stride, bottleneck=False):
        super().__init__()
        self.bottleneck, self.after = bottleneck, planes * (4 if bottleneck else 1)
        if bottleneck:
            self.conv1, self.bn1 = convolution(before, planes, 1), nn.BatchNorm3d(planes)
            self.add(2, planes, planes, stride)
            self.conv3, self.bn3 = convolution(planes, self.after, 1), nn.BatchNorm3d(self.after)
        else:
            self.add(1, before, planes, stride)
            self.add(2, planes, planes, 1)
        self.downsample = projection(before, self.after, stride)

    def add(self, i, before, after, stride):
        middle = 27 * before * after // (9 * before + 3 * after)
        steps = (1, stride, stride), (0, 1, 1)
        in_space = nn.Conv3d(before, middle, (1, 3, 3), *steps, bias=False)
        in_time = nn.Conv3d(middle, after, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)
        setattr(self, f"conv{i}_s", in_space)
        setattr(self, f"bn{i}_s", nn.BatchNorm3d(middle))
        setattr(self, f"conv{i}_t", in_time)
        setattr(self, f"bn{i}_t", nn.BatchNorm3d(after))

    def convolve(self, i, x):
        x = functional.relu(getattr(self, f"bn{i}_s")(getattr(self, f"conv{i}_s")(x)))
        return getattr(self, f"bn{i}_t")(getattr(self, f"conv{i}_t")(x))

    def forward(self, x):
        if self.bottleneck:
            y = functional.relu(self.bn1(self.conv1(x)))
            y = self.bn3(self.conv3(functional.relu(self.convolve(2, y))))
        else:
            y = self.convolve(2, functional.relu(self.convolve(1, x)))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class FactorizedBottleneck(Factorized):
    def __init__(self, before, planes, stride):
        super().__init__(before, planes, stride, bottleneck=True)


class Residual(nn.Module):
    def __init__(self, block, depth, classes, width):
        super().__init__()
        planes = [int(count * width) for count in (64, 128, 256, 512)]
        before, self.factorized = planes[0], block in (Factorized, FactorizedBottleneck)
        if self.factorized:
            middle = 3 * before * 7 * 7 * 7 // (3 * 7 * 7 + 7 * before)
            self.conv1_s = nn.Conv3d(3, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
            self.bn1_s = nn.BatchNorm3d(middle)
            self.conv1_t = nn.Conv3d(middle, before, (7, 1, 1), 1, (3, 0, 0), bias=False)
            self.bn1_t = nn.BatchNorm3d(before)
        else:
            self.conv1 = nn.Conv3d(3, before, 7, (1, 2, 2), 3, bias=False)
            self.bn1 = nn.BatchNorm3d(before)
        for stage, count in enumerate(DEPTHS[depth]):
            blocks = []
            for number in range(count):
                blocks.append(block(before, planes[stage], 2 if stage and not number else 1))
                before = blocks[-1].after
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        if self.factorized:
            x = functional.relu(self.bn1_s(self.conv1_s(x)))
            x = functional.relu(self.bn1_t(self.conv1_t(x)))
        else:
            x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool3d(x, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean((2, 3, 4)))


class DenseLayer(nn.Module):
    def __init__(self, before, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm3d(before), convolution(before, 4 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm3d(4 * growth), convolution(4 * growth, growth, 3)

    def forward(self, x):
        y = self.conv1(functional.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(y)))], 1)


class Transition(nn.Module):
    def __init__(self, before):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm3d(before), convolution(before, before // 2, 1)

    def forward(self, x):
        return functional.avg_pool3d(self.conv(functional.relu(self.norm(x))), 2, 2)


class DenseNet(nn.Module):
    STAGE = "features.denseblock{}"

    def __init__(self, depth, classes, width):
        super().__init__()
        growth = int(32 * width)
        before = 2 * growth
        parts = {"conv1": nn.Conv3d(3, before, 7, (1, 2, 2), 3, bias=False)}
        parts |= {"norm1": nn.BatchNorm3d(before), "relu1": nn.ReLU()}
        parts["pool1"] = nn.MaxPool3d(3, 2, 1)
        for stage, count in enumerate(DEPTHS[depth], start=1):
            block = parts[f"denseblock{stage}"] = nn.Sequential()
            for number in range(1, count + 1):
                block.add_module(f"denselayer{number}", DenseLayer(before, growth))
                before += growth
            if stage < 4:
                parts[f"transition{stage}"] = Transition(before)
                before //= 2
        parts["norm5"] = nn.BatchNorm3d(before)
        self.features = nn.Sequential()
        for name, part in parts.items():
            self.features.add_module(name, part)
        self.classifier = nn.Linear(before, classes)

    def forward(self, x):
        return self.classifier(functional.relu(self.features(x)).mean((2, 3, 4)))


def dotted(state):
    """The names of the files of 2018, which PyTorch does not let modules have any more."""
    renamed = {}
    for name, tensor in state.items():
        for kind in ("conv", "norm"):
            name = name.replace(f"features.{kind}1.", f"features.{kind}0.")
            for i in "12":
                name = name.replace(f".{kind}{i}.", f".{kind}.{i}.")
        renamed[name] = tensor
    return renamed


def build(name, classes, width):
    family = name.rstrip("0123456789")
    depth = int(name.removeprefix(family))
    if family == "densenet":
        return DenseNet(depth, classes, width)
    block = {
        "preresnet": PreBottleneck if depth >= 50 else PreBasic,
        "wideresnet": Wide,
        "resnext": NeXt,
        "r2p1d": FactorizedBottleneck if depth >= 50 else Factorized,
    }[family]
    return Residual(block, depth, classes, width)
