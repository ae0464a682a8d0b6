"""Reads what a public function takes from its source, without importing TensorFlow for it.

A command's flags are made of it, so that command line and Python cannot drift apart.
"""

import ast
import dataclasses
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

REQUIRED = object()  # the default of a parameter that has none


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a function.

    Attributes:
        type: as it is written: "str | None".
        default: `REQUIRED` if there is none; None also where it is no literal.
        text: what the docstring says of it.
    """

    name: str
    type: str
    default: Any
    text: str


def read_signature(place: str) -> list[Parameter]:
    """Reads the parameters of a function, in their order.

    Args:
        place: "keras_r3d.data.sheet:view_clips", or "module:Class.method"; of `__init__`, the
            docstring of the class counts. "module:Class" is a dataclass, whose fields are meant.
            The module may also be the path of a file.

    Raises:
        LookupError: there is no such function.
    """
    module, _, name = place.rpartition(":")
    path = Path(module) if module.endswith(".py") else _path_of(module)
    scope: Any = ast.parse(path.read_text(encoding="utf-8"))
    texts: dict[str, str] = {}
    for part in name.split("."):
        kinds = ast.FunctionDef | ast.ClassDef
        scope = next((n for n in scope.body if isinstance(n, kinds) and n.name == part), None)
        if scope is None:
            raise LookupError(f"There is no {place}.")
        texts |= read_arguments_text(ast.get_docstring(scope) or "")
    if isinstance(scope, ast.ClassDef):
        fields = [node for node in scope.body if isinstance(node, ast.AnnAssign)]
        return [
            Parameter(name, ast.unparse(node.annotation), _value(node.value), texts.get(name, ""))
            for node in fields
            if isinstance(node.target, ast.Name) and (name := node.target.id)
        ]
    positional, keyword_only = scope.args.args, scope.args.kwonlyargs
    defaults = [None] * (len(positional) - len(scope.args.defaults)) + list(scope.args.defaults)
    pairs = zip([*positional, *keyword_only], [*defaults, *scope.args.kw_defaults], strict=True)
    return [
        Parameter(node.arg, _written(node), _value(default), texts.get(node.arg, ""))
        for node, default in pairs
        if node.arg != "self"
    ]


def read_arguments_text(docstring: str) -> dict[str, str]:
    """Returns what the section `Args:` (or `Attributes:`) says of each parameter, in one line."""
    found = re.search(r"\n(?:Args|Attributes):\n", text := inspect.cleandoc(docstring))
    section = re.split(r"\n(?=\S)", text[found.end() :])[0] if found else ""
    texts = {}
    for name, text in re.findall(r"^    (\w+): (.*(?:\n(?: {8}.*)?)*)", section, re.MULTILINE):
        texts[name] = " ".join(text.split())
    return texts


def _path_of(module: str) -> Path:
    """Returns the file of a module; asking Python for it would import the packages above it."""
    package, *names = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent.joinpath(*names).with_suffix(".py")
        if path.is_file():
            return path
    raise LookupError(f"There is no module {module}.")


def _written(node: ast.arg) -> str:
    return ast.unparse(node.annotation).strip("'\"") if node.annotation is not None else ""


def _value(default: ast.expr | None) -> Any:
    if default is None:
        return REQUIRED
    try:
        return ast.literal_eval(default)
    except ValueError:
        return None
