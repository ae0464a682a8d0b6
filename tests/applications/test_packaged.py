"""The weights that come with keras_r3d, and the compact files they lie in."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_r3d import applications
from keras_r3d.applications.weights import pretrained, weights_file
from keras_r3d.data import motion
from keras_r3d.system.errors import WeightsError

SHAPE = (16, 64, 64, 3)
# Name: SHA-256 of the file, parameters, the least of the clips below that it names.
PACKAGED = {
    "motion": ("0f64bf30a2274bf2c3d669017548589a670600a8cfd483d14eb87e3f9e0a43fa", 910_835, 60),
    "motion_wide": (
        "04bba493f8e1c73a29fb35decf4597bfdd09667524f559a783f133d53f9ab1ec",
        3_591_075,
        60,
    ),
}


@pytest.fixture(scope="module")
def rendered():
    """A clip of each motion that no training has seen, and their labels."""
    labels = np.arange(len(motion.CLASSES))
    clips = [
        motion.render(motion.CLASSES[label], np.random.default_rng([2**40, n]), 16, 64)
        for n, label in enumerate(labels)
    ]
    return np.stack(clips), labels


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights(name, rendered):
    digest, parameters, least = PACKAGED[name]
    path = pretrained.fetch(pretrained.find("r3d10", name))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    model = applications.R3D10(weights=name, input_shape=SHAPE)
    assert model.output_shape == (None, 67)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == parameters
    assert applications.read_metadata(model).labels == motion.CLASSES
    assert name in applications.list_weights("r3d10")
    clips, labels = rendered
    scores = np.concatenate(
        [np.asarray(model(clips[n : n + 16])) for n in range(0, len(clips), 16)]
    )
    assert (scores.argmax(axis=1) == labels).sum() >= least


def small(**options):
    return applications.R3D10(
        classes=3, width=1 / 16, input_shape=(4, 32, 32, 3), labels=["a", "b", "c"], **options
    )


def write_compact(model: keras.Model, path: Path) -> None:
    model.save(path.with_suffix(".keras"))
    applications.convert(path.with_suffix(".keras"), path)


def test_a_compact_file_brings_the_network_back(tmp_path):
    network = small(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), conv1_t_stride=2, max_pool=False)
    write_compact(network, tmp_path / "small.npz")
    loaded = applications.R3D10(weights=tmp_path / "small.npz", input_shape=(4, 32, 32, 3))
    assert applications.read_metadata(loaded).labels == ("a", "b", "c")
    assert applications.read_metadata(loaded).std == (4.0, 5.0, 6.0)
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3)).astype(np.float32)
    assert np.asarray(loaded(clips)) == pytest.approx(np.asarray(network(clips)), abs=2e-3)
    assert (tmp_path / "small.npz").stat().st_size < 0.7 * network.count_params() * 4


def test_all_but_kernels_is_exact(tmp_path):
    network = small()
    write_compact(network, tmp_path / "small.npz")
    compact = weights_file.open_file(tmp_path / "small.npz")
    assert compact.clip == (4, 32, 32)
    for layer in network.layers:
        for variable in layer.weights:
            if isinstance(layer, keras.layers.Normalization):
                continue
            kept = compact.values[f"{layer.name}/{variable.name}"].read()
            assert kept.dtype == (np.float16 if len(variable.shape) > 1 else np.float32)
            if kept.dtype == np.float32:
                assert (kept == np.asarray(variable)).all()


def test_what_is_no_compact_file_is_said(tmp_path):
    for content in (b"", b"no archive", b"PK\x03\x04 and nothing else"):
        (tmp_path / "odd.npz").write_bytes(content)
        with pytest.raises(WeightsError, match="damaged, or is no compact file"):
            applications.R3D10(weights=tmp_path / "odd.npz")
    np.savez(tmp_path / "foreign.npz", kernel=np.zeros(3))
    with pytest.raises(WeightsError, match="damaged, or is no compact file"):
        applications.R3D10(weights=tmp_path / "foreign.npz")
    np.savez(tmp_path / "code.npz", about=np.array([Path], dtype=object))
    with pytest.raises(WeightsError, match="damaged, or is no compact file"):
        applications.R3D10(weights=tmp_path / "code.npz")


def test_a_cut_file_is_said(tmp_path):
    write_compact(small(), tmp_path / "small.npz")
    data = (tmp_path / "small.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        applications.R3D10(weights=tmp_path / "cut.npz")
