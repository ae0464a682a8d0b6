"""The wheel, an editable install and the bare checkout give the same modules, and only those."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROBE = (
    "import keras_r3d.export, keras_r3d.recipes, keras_r3d.recipe, pkgutil, keras_r3d\n"
    "assert 'demo' in keras_r3d.recipe.names()\n"
    "keras_r3d.recipe.load('kinetics34')\n"
    "print(keras_r3d.__file__, keras_r3d.export.__file__)\n"
)


def run(*command, **options) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=280, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Builds the wheel from the files git tracks or would track, away from this tree."""
    source = tmp_path_factory.mktemp("source")
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).split(
        "\n"
    )
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, source)
    (path,) = out.glob("*.whl")
    return path


def scratch_environment(folder: Path) -> Path:
    """Makes an environment that sees the installed dependencies but not this checkout."""
    run(sys.executable, "-m", "venv", folder)
    (purelib,) = folder.glob("lib/python*/site-packages")
    outer = run(sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # Not a .pth line: that would run the editable install of the outer environment, too.
    for entry in Path(outer.strip()).iterdir():
        left_out = ("keras_r3d", "__editable__", "pip", "setuptools", "_distutils", "distutils")
        if not entry.name.startswith(left_out) and not (purelib / entry.name).exists():
            (purelib / entry.name).symlink_to(entry)
    return purelib


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} <= {
        "keras_r3d",
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }
    for name in (
        "applications/weights/kinetics400.txt",
        "applications/weights/r3d10_motion.npz",
        "export/__main__.py",
        "export/web/litert.json",
        "export/web/page/index.html",
        "export/web/page/worker.js",
        "recipes/demo.toml",
        "recipes/kinetics34.toml",
        "reports/templates/page.js",
        "py.typed",
    ):
        assert f"keras_r3d/{name}" in names
    tracked = {
        f"keras_r3d/{p.relative_to(ROOT / 'keras_r3d')}" for p in ROOT.glob("keras_r3d/**/*.py")
    }
    assert tracked <= set(names), "a module is missing from `packages` in pyproject.toml"


def test_the_wheel_names_the_run_time_dependencies(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [n for n in archive.namelist() if n.endswith("METADATA")]
    text = archive.read(metadata).decode()
    for name in (
        "tensorflow",
        "keras",
        "tensorflow-io",
        "opencv-python",
        "numpy",
        "absl-py",
        "tensorboard",
    ):
        assert f"Requires-Dist: {name}" in text


@pytest.mark.parametrize("how", ["wheel", pytest.param("editable", marks=pytest.mark.slow)])
def test_an_install_has_export_and_recipes_inside(wheel, tmp_path, how):
    purelib = scratch_environment(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    before = {p.name for p in purelib.iterdir()}
    source = wheel if how == "wheel" else ["-e", ROOT, "--no-build-isolation"]
    if how == "editable":
        (purelib / "setuptools").exists() or run(python, "-m", "pip", "install", "-q", "setuptools")
        run(python, "-m", "pip", "install", "-q", "setuptools>=77", "wheel")
        before = {p.name for p in purelib.iterdir()}
    arguments = source if isinstance(source, list) else [source]
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", *arguments)
    new = {p.name for p in purelib.iterdir()} - before
    assert not new & {"export", "recipes", "tests"}
    package, export = run(python, "-c", PROBE, cwd=tmp_path).split()
    home = purelib if how == "wheel" else ROOT
    assert Path(package).is_relative_to(home)
    assert Path(export).is_relative_to(home)
    for name in ("export", "recipes", "tests"):
        done = subprocess.run([python, "-c", f"import {name}"], cwd=tmp_path, capture_output=True)
        assert done.returncode != 0, f"a top-level `{name}` can be imported"


def test_a_bare_checkout_finds_its_own_export():
    package, export = run(sys.executable, "-c", PROBE, cwd=ROOT).split()
    assert Path(package) == ROOT / "keras_r3d" / "__init__.py"
    assert Path(export) == ROOT / "export" / "__init__.py"


def test_importing_keras_r3d_is_quick_and_loads_no_tensorflow():
    script = (
        "import sys, keras_r3d, keras_r3d.train, keras_r3d.evaluate\n"
        "assert not {'tensorflow', 'keras', 'cv2'} & set(sys.modules)\n"
        "import keras_r3d\n"
        "assert keras_r3d.applications.R3D34.__name__ == 'R3D34'\n"
    )
    run(sys.executable, "-c", script, cwd=ROOT)


def test_a_gpu_that_tensorflow_cannot_use_is_said(tmp_path, monkeypatch):
    import tensorflow as tf

    from keras_r3d.system import devices

    driver = tmp_path / "version"
    assert devices.unused_gpu(driver) == ""
    driver.write_text("NVRM version: NVIDIA")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert "pip install 'tensorflow[and-cuda]==" in devices.unused_gpu(driver)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert devices.unused_gpu(driver) == ""


def test_all_commands_have_one_name(capsys, monkeypatch):
    import keras_r3d.__main__ as every

    monkeypatch.setattr(sys, "argv", ["keras-r3d"])
    every.main()
    printed = capsys.readouterr().out
    for name in every.COMMANDS:
        assert f"  {name}" in printed
        assert (ROOT / "keras_r3d" / f"{name}.py").is_file() or name == "export"
    done = subprocess.run(
        [sys.executable, "-m", "keras_r3d", "trian"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "Error: there is no command 'trian'. Did you mean 'train'?\n"
    done = run(sys.executable, "-m", "keras_r3d", "predict", "--help", cwd=ROOT)
    assert "--timeline" in done
