"""What the pages show in Python runs, in their order, and links lead somewhere."""

import json
import re
from pathlib import Path

import pytest
from pages import API, KEYS, NOTEBOOK, PAGE, ROOT, api, blocks, fill, keys, notebook

import keras_r3d
from keras_r3d import recipe
from keras_r3d.recipe.tables import key_places

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*.md")])
# Blocks with these need downloads, or a server.
_ELSEWHERE = ('"kinetics400"', "downloads/", ".pth", "r3d34.keras", "VideoCapture", "grpc")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("docs")
    fill(root)
    return root


def run(page: Path, names: dict, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.chdir(place)
    for number, block in enumerate(blocks(page), 1):
        if not any(word in block for word in _ELSEWHERE):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.slow  # by .ci/run, too
def test_the_quickstart_runs(place, monkeypatch):
    names: dict = {}
    run(PAGE, names, monkeypatch, place)
    assert (place / "runs" / "few" / "confusion.png").is_file()
    assert (place / "explained" / "some.explain.png").is_file()
    assert (place / "network.keras").is_file()
    assert names["exported"].parity.agreement >= 0.95
    assert names["mine"].classes == names["videos"].classes


def test_the_notebook_is_the_page():
    assert NOTEBOOK.read_text("utf-8") == notebook(), "run: python tests/helpers/pages.py"
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.rstrip("\n") for block in blocks(PAGE)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["README.md", "docs/tour.md", "docs/gallery.md", "docs/predict.md", "docs/training.md"]
)
def test_python_of_other_pages_runs(page, place, monkeypatch):
    if not (place / "runs" / "few").exists():  # the model that these pages go on with
        run(PAGE, {}, monkeypatch, place)
    run(ROOT / page, {}, monkeypatch, place)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_api_lists_what_is_public():
    """docs/api.md names everything in `__all__`, and nothing else."""
    assert API.read_text("utf-8") == api(), "run: python tests/helpers/pages.py"
    listed = set(re.findall(r"^\| `([\w.]+)", api(), re.MULTILINE))
    assert {"VideoClassifier.fit", "keras_r3d.data.open_videos"} <= listed
    modules = {"applications", "data", "errors", "export", "inference", "training"}
    rest = {name.removeprefix("keras_r3d.") for name in listed if name.startswith("keras_r3d.")}
    assert {name.split(".")[0] for name in rest} == modules | {"VideoClassifier"}
    assert set(keras_r3d.__all__) - {"__version__", "recipe"} == (
        modules | {"VideoClassifier", "R3DError"}
    )


def test_the_page_of_keys_is_of_the_recipes_classes():
    assert KEYS.read_text("utf-8") == keys(), "run: python tests/helpers/pages.py"
    for place in key_places(recipe.schema.Recipe).values():
        key = place.rpartition(".")[2]
        assert f"| `{key}` |" in keys() or f"{key}]" in keys(), place


def test_every_public_name_is_documented():
    modules = "applications", "data", "errors", "inference", "training"
    for module in [getattr(keras_r3d, name) for name in modules]:
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert value.__doc__, name
    for name, value in vars(keras_r3d.VideoClassifier).items():
        if not name.startswith("_"):
            assert (value.fget if isinstance(value, property) else value).__doc__, name
