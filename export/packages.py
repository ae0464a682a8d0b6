"""Packages that only some formats need."""

import importlib.util
from collections.abc import Sequence

from keras_r3d.system.errors import ExportError


def require(form: str, names: Sequence[str]) -> None:
    """Raises ExportError if packages that a format needs are not installed.

    Args:
        form: name of the format, and of the optional dependencies of keras_r3d that bring them.
        names: as they are imported.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"--format {form} needs {' and '.join(missing)}: pip install 'keras_r3d[{form}]' "
            f"(in a checkout: pip install -e '.[{form}]')."
        )
