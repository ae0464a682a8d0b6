"""Copies what the site is made of, and writes the pages of the reference.

Usage: python docs/site/stage.py FOLDER
"""

import ast
import shutil
import sys
from pathlib import Path

import yaml
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[2]
COPIED = ("*.md", "LICENSE", "docs/*.md", "docs/*.ipynb", "docs/images/*", "recipes/*")
MODULES = {  # whose `__all__` is public, by the title of their page
    "data": ROOT / "keras_r3d" / "data" / "__init__.py",
    "applications": ROOT / "keras_r3d" / "applications" / "__init__.py",
    "training": ROOT / "keras_r3d" / "training" / "__init__.py",
    "inference": ROOT / "keras_r3d" / "inference" / "__init__.py",
    "errors": ROOT / "keras_r3d" / "system" / "errors.py",
}


def public_names(path: Path) -> list[str]:
    """Returns what `__all__` of a module lists."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise LookupError(f"{path} has no __all__.")


def origins(path: Path) -> dict[str, str]:
    """Returns where the names of a module are defined, by its imports."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    module = package if path.name == "__init__.py" else f"{package}.{path.stem}"
    places = {name: f"{module}.{name}" for name in public_names(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in places:
                    places[alias.name] = f"{node.module}.{alias.name}"
    return places


def main(folder: Path) -> None:
    """Makes the folder anew, with `mkdocs.yml` and `source/` in it."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "source"
    for pattern in COPIED:
        for path in filter(Path.is_file, ROOT.glob(pattern)):
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for path in source.glob("docs/*.ipynb"):  # with what they printed
        text, resources = MarkdownExporter().from_filename(path)
        path.with_name(f"{path.stem}_notebook.md").write_text(text, encoding="utf-8")
        for name, contents in resources["outputs"].items():
            (path.parent / name).write_bytes(contents)
    reference = {"VideoClassifier": {"": "keras_r3d.video_classifier.VideoClassifier"}}
    reference |= {f"keras_r3d.{name}": origins(path) for name, path in MODULES.items()}
    pages: list[dict[str, str]] = []
    documented: set[str] = set()
    for title, names in reference.items():
        places = [place for place in names.values() if place not in documented]
        documented.update(places)
        page = Path("docs") / "reference" / f"{title.rpartition('.')[2]}.md"
        blocks = [f"# {title}", *(f"::: {place}" for place in places)]
        (source / page).parent.mkdir(exist_ok=True)
        (source / page).write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
        pages.append({title: str(page)})
    settings = (ROOT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    values = yaml.safe_load(settings)
    next(part for part in values["nav"] if "Reference" in part)["Reference"] += pages
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
