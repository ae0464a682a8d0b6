"""Training on several devices; in processes of their own, as devices are set up once a process."""

import json

import pytest
from commands import process

from keras_r3d import recipe
from keras_r3d.system import devices


@pytest.fixture(autouse=True)
def one_machine(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


@pytest.mark.slow
def test_on_four_devices():
    process("pytest", "-p", "no:cacheprovider", "tests/helpers/four_devices.py")


@pytest.mark.slow
def test_training_from_the_command_line(class_folders, small, tmp_path):
    (tmp_path / "small.toml").write_text(recipe.dumps(small))
    run = tmp_path / "run"
    output = process(
        "keras_r3d.train",
        f"--recipe={tmp_path / 'small.toml'}",
        f"--data_dir={class_folders}",
        f"--workdir={run}",
        "--devices=cpu:4",
    )
    assert "as 4 virtual devices; 4 replicas; batch 4 clips, 1 each; float32" in output
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "trained"
    assert summary["replicas"] == 4
    assert summary["evaluation"]["videos"] > 0


@pytest.fixture
def choose(monkeypatch):
    """`devices.choose`, not cached, where TensorFlow sees two GPUs; whatever it sets is refused."""
    gpus = ["GPU 0", "GPU 1"]
    monkeypatch.setattr(
        devices.tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else ["CPU"]
    )
    for name in ("set_visible_devices", "set_logical_device_configuration"):
        monkeypatch.setattr(devices.tf.config, name, refuse)
    return devices.choose.__wrapped__


def refuse(*arguments):
    raise RuntimeError(f"received {arguments}")


@pytest.mark.parametrize(
    "flag",
    ["", "tpu", "all:1", "cpu:", "cpu:0", "cpu:x", "cpu:-1", "gpu", "gpu:", "gpu:0,", "gpu:²"],
)
def test_other_devices_are_refused(choose, flag):
    with pytest.raises(devices.DeviceError) as caught:
        choose(flag)
    assert str(caught.value) == (
        "`devices` must be one of 'all', 'cpu', 'cpu:N' (N virtual devices, for trying things "
        f"out), 'gpu:0,2,…'. Received: {flag}"
    )


def test_missing_gpus_are_said(choose):
    with pytest.raises(devices.DeviceError) as caught:
        choose("gpu:0,2")
    assert str(caught.value) == "`devices` gpu:0,2: GPU 2 is not there; TensorFlow sees 2."


@pytest.mark.parametrize(
    ("flag", "visible"),
    [
        ("all", ["GPU 0", "GPU 1"]),
        ("gpu:1", ["GPU 1"]),
        ("gpu:1,0,1", ["GPU 0", "GPU 1"]),
        ("cpu", []),
        ("cpu:2", []),
    ],
)
def test_chosen_devices_are_made_visible_and_a_refusal_is_said(choose, flag, visible):
    with pytest.raises(devices.DeviceError) as caught:
        choose(flag)
    assert str(caught.value) == (
        f"`devices` {flag}: TensorFlow is running already: received ({visible}, 'GPU')"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "must be like"),
        ("[]", "must be like"),
        ("{}", "must be like"),
        ('{"cluster": {"worker": ["a:1"]}}', "must be like"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', "must be like"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}', "must be"),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}', "must have"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "must have"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}', "must have"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "must have"),
        (
            '{"cluster": {"chief": ["b:1"], "worker": ["a:1"]}, "task": {"type": "worker", '
            '"index": 0}}',
            "must have",
        ),
    ],
)
def test_a_bad_tf_config_is_refused(choose, monkeypatch, text, message):
    monkeypatch.setattr(devices.tf.config, "set_visible_devices", lambda *_: None)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(devices.DeviceError) as caught:
        choose("all")
    assert f"TF_CONFIG {message}" in str(caught.value)
    assert str(caught.value).endswith(f"Received: {text}")
    assert "\n" not in str(caught.value)


def test_virtual_devices_are_for_one_machine(choose, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(devices.DeviceError, match=r"^`devices` cpu:4: .* TF_CONFIG is set"):
        choose("cpu:4")
