"""Files inside a `.tflite` file: class names, and how clips are cut.

As TensorFlow Lite has it for its metadata, they are a ZIP archive behind the model, not compressed:
an interpreter does not look there, `unzip -p model.tflite labels.txt` does. Needs the standard
library only.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from keras_r3d.errors import R3DError

LABELS = "labels.txt"
MANIFEST = "model.json"

_MOST_BYTES = 2**24  # of all files together, unpacked


class MetadataError(R3DError):
    """Files inside a model that cannot be read."""


def attach(model: bytes, files: Mapping[str, str]) -> bytes:
    """Returns a model with text files behind it; the same ones always make the same bytes."""
    packed = io.BytesIO(model)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as written on Unix
            archive.writestr(entry, text.encode())
    return packed.getvalue()


def read(path: Path) -> dict[str, str] | None:
    """Returns the files inside a model by their names; None if it has none.

    Raises:
        MetadataError: they are damaged, no text, or too large.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > _MOST_BYTES:
                raise MetadataError(
                    f"{path} has files of {size:,} bytes inside: class names and the like were "
                    f"expected, {_MOST_BYTES:,} bytes at most."
                )
            return {name: archive.read(name).decode() for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise MetadataError(
            f"{path} is damaged, the files inside cannot be read: {error}"
        ) from error
