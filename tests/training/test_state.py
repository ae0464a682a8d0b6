"""Saved states: the last two, each whole or not there."""

import contextlib
import errno
import os

import numpy as np
import pytest

from keras_r3d.system import files
from keras_r3d.system.errors import RunError
from keras_r3d.training import state
from keras_r3d.training.state import State

ARRAYS = {"network/0000/a": np.arange(6.0).reshape(2, 3), "optimizer/0000/n": np.array(3, np.int64)}


def states(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def saved(tmp_path):
    """A folder of the states of steps 1, 2 and 10, of which the first has gone."""
    for step in (1, 2, 10):
        progress = {"epoch": step, "best": float("inf"), "log": [{"loss": 0.1}]}
        state.save(tmp_path / "state", step, State(ARRAYS, progress))
    return tmp_path / "state"


def test_the_newest_is_read_and_two_are_kept(saved):
    assert states(saved) == ["step_0000000002.npz", "step_0000000010.npz"]
    assert state.latest(saved) == saved / "step_0000000010.npz"
    loaded = state.load(saved)
    assert loaded.progress == {"epoch": 10, "best": float("inf"), "log": [{"loss": 0.1}]}
    assert set(loaded.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded.arrays[name], array)


def test_no_state_is_none(tmp_path):
    assert state.load(tmp_path / "state") is None
    assert state.latest(tmp_path / "state") is None


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failed_save_leaves_the_others(saved, monkeypatch, error):
    def fails(file, **arrays):
        file.write(b"half of it")
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(files.WriteError, match=f"step_0000000011.npz .{os.strerror(error)}"):
        state.save(saved, 11, State(ARRAYS, {}))
    assert states(saved) == ["step_0000000002.npz", "step_0000000010.npz"]


def test_a_half_written_one_is_not_taken(saved):
    (saved / ".partial-7-step_0000000011.npz").write_bytes(b"half")
    assert state.load(saved).progress["epoch"] == 10


def test_every_damage_is_said(saved):
    path = saved / "step_0000000010.npz"
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    damaged = [b"", b"no zip", whole[:-30], whole[: len(whole) // 2]]
    for place in rng.integers(len(whole), size=40):
        damaged.append(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    loaded = []
    for content in damaged:
        path.write_bytes(content)
        with contextlib.suppress(RunError):
            loaded.append(state.load(saved))
    assert len(loaded) < len(damaged) / 2
    for one in loaded:  # what was changed there says nothing, as a date
        assert set(one.arrays) == set(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(one.arrays[name], array)
    path.write_bytes(whole[:-30])
    with pytest.raises(RunError, match=r"remove it to resume from step_0000000002.npz\.$"):
        state.load(saved)
    (saved / "step_0000000002.npz").unlink()
    path.write_bytes(b"no zip")
    with pytest.raises(RunError, match=r"remove it to start over\.$"):
        state.load(saved)


def test_what_is_of_another_network_is_refused():
    class Variable:
        shape = (2, 3)

    with pytest.raises(RunError, match=r"another network or optimizer: only one of them has 'b'"):
        state.restore({"a": Variable(), "b": Variable()}, {"a": np.zeros((2, 3))})
    with pytest.raises(RunError, match=r"'a' has shape \(3, 2\), \(2, 3\) was expected"):
        state.restore({"a": Variable()}, {"a": np.zeros((3, 2))})
