"""`export.json`: where an export is from, what is in it, and how it agrees with Keras."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_r3d._version import __version__
from keras_r3d.export.parity import Parity
from keras_r3d.export.source import Source
from keras_r3d.system import files

Record = dict[str, Any]


def make(
    source: Source,
    form: str,
    quantize: str,
    written: Path,
    signatures: Mapping[str, Any],
    parity: Parity,
) -> Record:
    """Returns what `export.json` says; no dates, so that the same export says the same.

    Args:
        form: name of the format.
        written: file or folder of the export.
        signatures: as the loaded export has them.
    """
    model = source.run.model_path()
    contents = _contents(written)
    return {
        "format": form,
        "quantize": quantize,
        "source": {
            "run": source.run.name,
            "model": model.name,
            "model_sha256": files.sha256(model),
            "model_bytes": model.stat().st_size,
        },
        "versions": {
            "keras_r3d": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "bytes": sum(one["bytes"] for one in contents.values()),
        "files": contents,
        "signatures": dict(signatures),
        "parity": parity.as_json(),
    }


def _contents(path: Path) -> dict[str, dict[str, Any]]:
    """Returns size and hash of a file, or of all files in a folder by their path in it."""
    found = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return {
        one.relative_to(path).as_posix() if path.is_dir() else "": {
            "bytes": one.stat().st_size,
            "sha256": files.sha256(one),
        }
        for one in found
    }
