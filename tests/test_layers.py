"""Imports point down only: a room imports rooms above it in this list, and nothing else of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = [
    "_checkout",
    "_version",
    "system",
    "recipe",
    "applications",
    "data.annotations",
    "data.sampling",
    "data.decoding",
    "data.store",
    "data.motion",
    "pictures",
    "reports",
    "data",
    "run_folder",
    "inference.models",
    "inference.prediction",
    "inference.evaluation",
    "inference.segments",
    "inference.explanation",
    "inference.embeddings",
    "serving",
    "training",
    "export",
    "video_classifier",
]
COMMANDS = {
    *("train", "evaluate", "predict", "explain", "features", "convert", "prepare"),
    *("flow", "scan", "view", "client", "web"),
}
# Arithmetic, which other tests run without the rest.
STDLIB_AND_NUMPY = {
    "recipe",
    "data.annotations",
    "data.sampling.temporal",
    "data.sampling.order",
    "data.sampling.cropping",
    "data.motion.paths",
    "inference.evaluation.metrics",
    "inference.segments.finding",
    "inference.segments.precision",
    "inference.embeddings.ridge",
}


def modules() -> dict[str, Path]:
    paths = {}
    for path in [*ROOT.glob("keras_r3d/**/*.py"), *ROOT.glob("export/**/*.py")]:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[1:] if parts[0] == "keras_r3d" else parts)
        paths[name.removesuffix(".__init__")] = path
    return paths


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


def room_of(name: str) -> str | None:
    """Returns the room a module is in: the longest name in the list that begins its name."""
    rooms = [room for room in ROOMS if f"{name}.".startswith(f"{room}.")]
    return max(rooms, key=len, default=None)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_down(name):
    if name.split(".")[0] in COMMANDS or name == "export.__main__":
        return  # the top: commands may import all
    imported = ours(modules()[name])
    if name in ("", "__init__", "__main__"):
        assert not {other for other in imported if other.split(".")[0] in COMMANDS}
        return
    room = room_of(name)
    if room is None:
        assert name == "inference", f"{name} is in no room of the list"
        assert {other.split(".")[0] for other in imported} <= {"inference"}
        return
    below = {other for other in imported if room_of(other) not in ROOMS[: ROOMS.index(room) + 1]}
    assert not below, f"{name} may not import {sorted(below)}"


@pytest.mark.parametrize("folder", ["keras_r3d", "export", "benchmarks"])
def test_no_room_is_crowded(folder):
    for path in [ROOT / folder, *(ROOT / folder).rglob("*/")]:
        most = 18 if path == ROOT / "keras_r3d" else 14 if folder == "benchmarks" else 12
        files = [file.name for file in path.glob("*.py") if file.name != "__init__.py"]
        assert len(files) <= most, f"{path}: {len(files)} files: {sorted(files)}"


def test_networks_import_keras_only():
    package = ROOT / "keras_r3d"
    for path in [*(package / "applications").rglob("*.py"), package / "training" / "finetune.py"]:
        assert not {n for n in imports(path) if n.split(".")[0] == "tensorflow"}, path


@pytest.mark.parametrize("room", sorted(STDLIB_AND_NUMPY))
def test_pure_modules_stay_pure(room):
    heavy = {"tensorflow", "keras", "cv2", "matplotlib"}
    paths = [path for name, path in modules().items() if f"{name}.".startswith(f"{room}.")]
    assert paths
    for path in paths:
        assert not {n for n in imports(path) if n.split(".")[0] in heavy}, path


@pytest.mark.parametrize(
    ("word", "users"),
    [
        ("VideoCapture", {"data.decoding.live"}),  # cameras and streams; files are read by PyAV
        (".savefig(", {"pictures.fonts", "training.log"}),  # the second to memory
    ],
)
def test_some_things_are_done_in_one_place(word, users):
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    assert {name for name, text in texts.items() if word in text} == users
