"""Finds `keras_r3d.export` and `keras_r3d.recipes`, which stand beside the package in a checkout.

In a wheel both folders lie inside the package and the ordinary import would do; in a checkout or an
editable install they lie beside it. A finder that answers for these two names only, and looks in
these two places only, never picks up the `export` of another clone.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent
_NAMES = ("export", "recipes")


class _Finder:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, folder = name.partition(".")
        if package != "keras_r3d" or folder not in _NAMES:
            return None
        for place in (_PACKAGE / folder, _PACKAGE.parent / folder):
            if (place / "__init__.py").is_file():
                return importlib.util.spec_from_file_location(
                    name, place / "__init__.py", submodule_search_locations=[str(place)]
                )
        return None


def install() -> None:
    """Puts the finder first, once."""
    if not any(getattr(finder, "__module__", "") == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
