"""Imports point down only: this is the table, and nothing else imports anything of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BASE = {"errors"}
ALLOWED = {
    "errors": set(),
    "_checkout": set(),
    "_opencv": BASE,
    "_command": BASE,
    "files": BASE,
    "stderr": set(),
    "recipe": BASE,
    "run_folder": BASE | {"data.annotations", "data.reader", "data.source", "files", "recipe"},
    "applications": BASE | {"files"},
    "data.annotations": BASE | {"files"},
    "data.workers": set(),
    "data.duplicates": {"_opencv"},
    "data.doctor": {"data.annotations", "data.duplicates", "data.video", "data.workers"},
    "data.affine": BASE | {"_opencv"},
    "data.sampling": set(),
    "data.order": {"recipe"},
    "data.randaugment": {"_opencv", "data.affine"},
    "data.memory": set(),
    "data.calls": set(),
    "data.cropping": set(),
    "data.colour": set(),
    "data.landmarks": set(),
    "data.video": BASE | {"_opencv", "data.landmarks"},
    "data.flow": BASE | {"_opencv"},
    "data.flow_video": {"_opencv", "data.flow", "data.video", "files"},
    "data.flow_folder": BASE
    | {
        "_opencv",
        "files",
        "data.annotations",
        "data.flow",
        "data.flow_video",
        "data.video",
        "data.workers",
    },
    "data.jpeg": BASE | {"_opencv"},
    "data.storage.remote": BASE | {"files"},
    "data.storage.web": {"data.storage.remote"},
    "data.storage.plugin": {"data.storage.remote"},
    "data.storage.gfile": {"data.storage.plugin", "data.storage.remote"},
    "data.storage": set(),
    "data.reader": {"data.annotations", "data.cropping", "data.sampling", "data.video"},
    "data.video_reader": {
        "data.annotations",
        "data.flow",
        "data.flow_video",
        "data.landmarks",
        "data.cropping",
        "data.reader",
        "data.sampling",
        "data.video",
    },
    "data.store.format": BASE | {"data.store.levels"},
    "data.store.levels": {"data.cropping"},
    "data.store.encoding": BASE
    | {"files", "data.annotations", "data.jpeg", "data.memory", "data.video", "data.store.levels"},
    "data.store.opened": BASE
    | {"data.annotations", "data.storage", "data.store.format", "data.store.levels"},
    "data.store": BASE
    | {
        "_opencv",
        "files",
        "data.annotations",
        "data.cropping",
        "data.jpeg",
        "data.memory",
        "data.reader",
        "data.sampling",
        "data.video",
        "data.workers",
    },
    "data.source": {
        "recipe",
        "data.annotations",
        "data.flow",
        "data.flow_folder",
        "data.motion",
        "data.reader",
        "data.store",
        "data.video_reader",
    },
    "data.listing": BASE | {"data.annotations"},
    "data.shortening": set(),
    "data.motion.paths": set(),
    "data.motion.textures": {"_opencv"},
    "data.motion.figures": {"_opencv", "data.motion.paths"},
    "data.motion.rendering": {
        "_opencv",
        "data.motion.figures",
        "data.motion.paths",
        "data.motion.textures",
    },
    "data.motion": {"data.annotations", "data.cropping", "data.reader", "data.video"},
    "data.ring": {"data.cropping", "data.sampling", "data.video"},
    "data.live": BASE | {"_opencv", "data.listing", "data.ring", "data.video"},
    "data.clips": {
        "recipe",
        "data.affine",
        "data.annotations",
        "data.colour",
        "data.cropping",
        "data.randaugment",
        "data.reader",
        "data.sampling",
        "data.video",
    },
    "data.flow_key": {"data.flow", "data.video"},
    "data.sheet": BASE
    | {
        "recipe",
        "data.annotations",
        "data.clips",
        "data.cropping",
        "data.flow",
        "data.flow_key",
        "data.reader",
        "data.shortening",
        "data.video",
    },
    "data.pipeline": {
        "recipe",
        "data.calls",
        "data.annotations",
        "data.clips",
        "data.memory",
        "data.order",
        "data.reader",
        "data.video",
    },
    "data.mp4": BASE | {"_opencv", "data.video", "files"},
    "data.demo": BASE | {"_opencv", "data.mp4", "files"},
    "training.finetune": {"applications", "recipe"},
    "training": BASE
    | {
        "_command",
        "applications",
        "data",
        "devices",
        "files",
        "inference.confusion",
        "recipe",
        "run_folder",
    },
    "training.embeddings": {"data", "files", "inference"},
    "training.few_finetuning": {"data", "devices", "recipe", "training"},
    **dict.fromkeys(
        ("training.few", "training.few_preparing"),
        BASE
        | {
            "applications",
            "data",
            "devices",
            "files",
            "inference",
            "recipe",
            "run_folder",
            "training",
        },
    ),
    "devices": BASE,
    "inference": BASE
    | {"_opencv", "applications", "data", "devices", "files", "recipe", "run_folder", "stderr"},
    "inference.manifest": BASE | {"recipe"},
    "inference.intervals": set(),
    "inference.ridge": set(),
    "serving": BASE | {"_opencv", "data", "inference", "recipe"},
    "export": BASE
    | {
        "_command",
        "applications",
        "data",
        "files",
        "inference",
        "recipe",
        "run_folder",
        "serving.messages",
        "stderr",
    },
}
COMMANDS = {
    *("train", "evaluate", "predict", "explain", "features", "benchmark", "convert", "prepare"),
    *("flow", "scan", "view", "client"),
}
STDLIB_AND_NUMPY = {
    "recipe",
    "data.annotations",
    "data.sampling",
    "data.order",
    "data.cropping",
    "data.colour",
    "data.motion.paths",
    "inference.intervals",
    "inference.ridge",
}


def modules() -> dict[str, Path]:
    found = {}
    for path in [*ROOT.glob("keras_r3d/**/*.py"), *ROOT.glob("export/*.py")]:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[1:] if parts[0] == "keras_r3d" else parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(path: Path) -> set[str]:
    return {
        name.removeprefix("keras_r3d.") for name in imports(path) if name.startswith("keras_r3d.")
    }


def covers(allowed: set[str], name: str) -> bool:
    return any(name == one or name.startswith(one + ".") for one in allowed)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_down(name):
    path = modules()[name]
    found = ours(path)
    if covers(COMMANDS, name):
        return  # the top: commands may import all
    if name in ("", "__init__"):
        assert not {n for n in found if covers(COMMANDS, n)}
        return
    owner = max((o for o in ALLOWED if covers({o}, name)), key=len, default=None)
    if owner is None:
        assert path.name == "__init__.py", f"{name} is not in the table"
        assert not found
        return
    beyond = {n for n in found if not covers(ALLOWED[owner] | {owner}, n)}
    assert not beyond, f"{name} may not import {sorted(beyond)}"


def test_networks_import_keras_only():
    package = ROOT / "keras_r3d"
    for path in [*(package / "applications").glob("*.py"), package / "training" / "finetune.py"]:
        assert not {n for n in imports(path) if n.split(".")[0] == "tensorflow"}, path


@pytest.mark.parametrize("name", sorted(STDLIB_AND_NUMPY))
def test_pure_modules_stay_pure(name):
    heavy = {"tensorflow", "keras", "cv2", "matplotlib"}
    assert not {n for n in imports(modules()[name]) if n.split(".")[0] in heavy}


def test_only_two_modules_open_videos():
    users = {
        name
        for name, path in modules().items()
        if "VideoCapture" in path.read_text(encoding="utf-8")
    }
    assert users == {"data.video", "data.live"}  # files, and what is no file
