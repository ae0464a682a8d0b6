"""Against PyTorch itself, where it is installed: `make test-torch`.

The authors' network is written out here as their code describes it; torchvision's come from
torchvision. Each is saved by `torch.save` and loaded by our builders.
"""

import keras
import numpy as np
import pytest

from keras_r3d import applications
from keras_r3d.applications import checkpoints

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
nn = torch.nn
functional = torch.nn.functional

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
    means = []
    hooks = [
        getattr(model, f"layer{stage}").register_forward_hook(
            lambda _, __, out: means.append(out.mean((2, 3, 4)).numpy())
        )
        for stage in range(1, 5)
    ]
    with torch.no_grad():
        logits = model(torch.from_numpy(clip.transpose(0, 4, 1, 2, 3).copy())).numpy()
    for hook in hooks:
        hook.remove()
    return [*means, logits]


def our_outputs(model, clip):
    names = [layer.name for layer in model.layers if layer.name.endswith("_out")]
    last = [[n for n in names if n.startswith(f"conv{stage}_")][-1] for stage in (2, 3, 4, 5)]
    parts = keras.Model(model.input, [*(model.get_layer(n).output for n in last), model.output])
    *maps, logits = (keras.ops.convert_to_numpy(out) for out in parts(clip))
    return [*(one.mean((1, 2, 3)) for one in maps), logits]


def assert_equal_to(model, name, path, clip, **options):
    ours = applications.get_model(
        name, weights=path, include_preprocessing=False, classifier_activation=None, **options
    )
    for received, expected in zip(our_outputs(ours, clip), stage_outputs(model, clip), strict=True):
        assert abs(received - expected).max() <= 1e-4 * abs(expected).max()


def clips(frames=16, size=64, channels=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((1, frames, size, size, channels)).astype(np.float32)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("depth", "shortcut"), [(18, "A"), (34, "B"), (50, "A"), (50, "B")])
def test_the_authors_networks(tmp_path, depth, shortcut, zipped):
    model = moved(Authors(depth, shortcut, width=0.125))
    wrapped = {"state_dict": nn.DataParallel(model).state_dict(), "arch": f"resnet-{depth}"}
    torch.save(wrapped, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert_equal_to(model, f"r3d{depth}", tmp_path / "w.pth", clips())


@pytest.mark.parametrize("size", [(5, 33), (9, 50), (17, 31)])
def test_odd_sizes_and_options(tmp_path, size):
    model = moved(Authors(18, "B", width=0.25, channels=2, t_size=3, t_stride=2))
    torch.save(model.state_dict(), tmp_path / "w.pth")
    assert_equal_to(model, "r3d18", tmp_path / "w.pth", clips(*size, channels=2), conv1_t_stride=2)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_torchvision_s_networks(tmp_path, name, zipped):
    model = moved(torchvision.models.get_model(name, num_classes=9))
    torch.save(model.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert_equal_to(model, name, tmp_path / "w.pth", clips(8, 48))


@pytest.mark.slow
@pytest.mark.parametrize("depth", BLOCKS)
def test_full_width(tmp_path, depth):
    model = moved(Authors(depth, "A" if depth < 50 else "B", classes=400))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "w.pth")
    assert_equal_to(model, f"r3d{depth}", tmp_path / "w.pth", clips(16, 112))


def test_a_whole_training_state_is_read(tmp_path):
    """Optimiser with momentum and both of the authors' schedules."""
    model = Authors(18, "A", width=0.05)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    model(torch.zeros(2, 3, 4, 16, 16)).sum().backward()
    optimizer.step()
    for scheduler in (
        torch.optim.lr_scheduler.MultiStepLR(optimizer, [50, 100]),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min"),
    ):
        state = {
            "epoch": 1,
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        }
        for zipped in (True, False):
            torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
            read = checkpoints.read(tmp_path / "w.pth").tensors
            for name, tensor in model.state_dict().items():
                assert (read[name].numpy() == tensor.numpy()).all()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int64", "uint8", "bool"]
)
def test_types_and_views(tmp_path, dtype, zipped):
    whole = torch.arange(60).reshape(3, 4, 5).to(getattr(torch, dtype))
    tensors = {"whole": whole, "view": whole[1:, ::2].transpose(0, 2), "none": whole[:0]}
    torch.save(tensors, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    read = checkpoints.read(tmp_path / "w.pth").tensors
    for name, tensor in tensors.items():
        expected = tensor.float() if dtype == "bfloat16" else tensor
        assert (read[name].numpy() == expected.numpy()).all()


def test_a_whole_module_is_refused_by_name(tmp_path):
    torch.save(Authors(18, "A", width=0.05), tmp_path / "w.pth")
    with pytest.raises(applications.CheckpointError, match=r"asks for '.*Authors'"):
        checkpoints.read(tmp_path / "w.pth")


def test_torchvision_s_names_and_conventions_are_ours():
    from torchvision.models.video import R3D_18_Weights

    from keras_r3d.applications import conventions

    weights = R3D_18_Weights.KINETICS400_V1
    assert tuple(weights.meta["categories"]) == conventions.labels("kinetics400")
    transform = weights.transforms()
    assert tuple(transform.mean) == conventions.TORCHVISION.mean
    assert tuple(transform.std) == conventions.TORCHVISION.std


def test_torchvision_s_addresses_are_ours():
    from torchvision.models import get_model_weights

    from keras_r3d.applications import pretrained

    for name in ("r3d_18", "mc3_18", "r2plus1d_18"):
        row = pretrained.find(name, "DEFAULT")
        assert row.url == get_model_weights(name).KINETICS400_V1.url
        model = applications.get_model(name)
        trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        assert trainable == get_model_weights(name).KINETICS400_V1.meta["num_params"]
