"""Pages that are made of others: `python tests/helpers/pages.py` writes them anew.

With `--run` the notebook is also run, on videos of the demo, and keeps what it prints; that takes
`pip install nbclient ipykernel` and two minutes.
"""

import inspect
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE, NOTEBOOK = ROOT / "docs" / "quickstart.md", ROOT / "docs" / "quickstart.ipynb"
API = ROOT / "docs" / "api.md"
KEYS = ROOT / "docs" / "recipe_keys.md"
_KEYS = """# The keys of a recipe

A recipe is one experiment, in TOML, format 2. Three rules:

- A choice is a table with a `kind`; its other keys are those of that kind.
- An extra is absent when it is not done. All other keys must be given.
- What does not change the result is a flag of the command, not a key.

A file of your own may begin with `base = "gestures"`, one of the
[recipes that come with keras_r3d](../recipes/README.md): then only what differs follows, and
`without = ["train.label_smoothing"]` leaves extras of the base out. Of a table with another `kind`
all keys are given. The `recipe.toml` of a run states everything. On the command line
`--set train.optimizer.learning_rate=0.05` changes a key, and `--set train.label_smoothing=` leaves
an extra out.

This page is made by `python tests/helpers/pages.py`.
"""
_API = """# What is public

All of it, by the first line of its docstring; `help(NAME)` has the rest. What is not listed may
change. A walk through it: [quickstart.md](quickstart.md). This page is made by
`python tests/helpers/pages.py`.
"""
_MODULES = {
    "data": "Labeled videos, and how clips are cut from them.",
    "applications": "Networks, as `keras.applications` has them, and their weights.",
    "training": "Trainings as recipes say.",
    "export": "Exports are written by `VideoClassifier.export`.",
    "inference": "What trained models say of videos, beyond the methods of `VideoClassifier`.",
    "errors": "What a caller can act on; all are `keras_r3d.R3DError`.",
}


def blocks(page: Path) -> list[str]:
    """Returns the Python blocks of a page, in their order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def notebook() -> str:
    """Returns the text of the notebook; cells that are as before keep what they printed."""
    before = json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if NOTEBOOK.exists() else []
    printed = {"".join(cell["source"]): cell.get("outputs", []) for cell in before}
    cells = []
    for number, part in enumerate(
        re.split(r"```python\n(.*?)```\n", PAGE.read_text("utf-8"), flags=re.DOTALL)
    ):
        lines = part.strip("\n").splitlines(keepends=True)
        if not lines:
            continue
        cell = {"cell_type": "code" if number % 2 else "markdown", "id": f"cell-{number}"}
        outputs = printed.get("".join(lines), [])
        more = {"execution_count": None, "outputs": outputs} if number % 2 else {}
        cells.append({**cell, "metadata": {}, "source": lines, **more})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    values = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def fill(folder: Path) -> None:
    """Puts MY_VIDEOS, four videos of each of three classes, and some.mp4 into a folder."""
    from keras_r3d.data import demo

    for source in sorted((demo.render() / "train").iterdir())[:3]:
        (folder / "MY_VIDEOS" / source.name).mkdir(parents=True)
        for video in sorted(source.iterdir())[:4]:
            shutil.copy(video, folder / "MY_VIDEOS" / source.name)
    shutil.copy(video, folder / "some.mp4")


def run(text: str) -> str:
    """Runs a notebook, and returns it with what it prints: lines as they are in the end."""
    import nbclient
    import nbformat

    values = nbformat.reads(text, 4)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        nbclient.NotebookClient(values, resources={"metadata": {"path": folder}}).execute()
    for cell in values["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": lines}
                for lines in [_lines(cell["outputs"], folder)]
                if lines
            ]
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _lines(outputs: list[dict], folder: str) -> list[str]:
    texts = [
        out["data"]["text/plain"] + "\n" if "data" in out else out["text"]
        for out in outputs
        if out.get("name") != "stderr"
    ]
    text = re.sub(r"\x1b\[[0-9;]*m|[^\n]*[\r\b]+(?!\n)", "", "".join(texts))
    text = re.sub(rf"{folder}/|(INFO|WARNING):tensorflow:.*\n", "", text)
    return text.splitlines(keepends=True)


def api() -> str:
    """Returns the text of the list of all that is public, by its docstrings."""
    import keras_r3d

    def row(name: str, value: object) -> str:
        value = value.fget if isinstance(value, property) else value
        first = inspect.getdoc(value).splitlines()[0].replace("|", "\\|")
        return f"| `{name}` | {first} |"

    classifier = keras_r3d.VideoClassifier
    methods = [
        row(f"VideoClassifier.{name}", value)
        for name, value in vars(classifier).items()
        if not name.startswith("_")
    ]
    lines = [_API, "| | |", "| --- | --- |", row("keras_r3d.VideoClassifier", classifier), *methods]
    for module, text in _MODULES.items():
        lines += ["", f"## keras_r3d.{module}", "", text, "", "| | |", "| --- | --- |"]
        parts = getattr(keras_r3d, module)
        lines += [row(f"keras_r3d.{module}.{name}", getattr(parts, name)) for name in parts.__all__]
    return "\n".join(lines) + "\n"


def keys() -> str:
    """Returns the text of the page of all recipe keys, by the docstrings of their tables."""
    from keras_r3d.recipe import schema, tables

    lines = [_KEYS]
    for path, table in tables.walk(schema.Recipe):
        if not path:
            continue
        kind = f", kind `{table.kind}`" if table.kind else ""
        first, _, rest = inspect.getdoc(table).partition("\n")
        lines += [f"## [{path[:-1]}]{kind}", "", first, ""]
        texts = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", rest, re.MULTILINE))
        rows = []
        for key, field in tables.keys(table).items():
            if not tables.subtables(field):
                text = " ".join(texts[key].split()).replace("|", "\\|")
                rows.append(f"| `{key}` | {'extra' if tables.is_extra(field) else ''} | {text} |")
        if rows:
            lines += ["| | | |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    KEYS.write_text(keys(), encoding="utf-8")
    if "--run" in sys.argv:
        NOTEBOOK.write_text(run(notebook()), encoding="utf-8")
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
    API.write_text(api(), encoding="utf-8")
