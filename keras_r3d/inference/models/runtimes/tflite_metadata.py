"""Files inside a `.tflite` file: class names, and how clips are cut.

As TensorFlow Lite has it for its metadata, they are a ZIP archive behind the model, not compressed:
an interpreter does not look there, `unzip -p model.tflite labels.txt` does. A hash of the model is
one of them: interpreters check nothing, and a damaged file may kill their process. Needs the
standard library only.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from keras_r3d.system.errors import ModelError

LABELS = "labels.txt"
HASH = "model.sha256"  # of what lies before the archive

_MOST_BYTES = 2**24  # of all files together, unpacked


def attach(model: bytes, files: Mapping[str, str]) -> bytes:
    """Returns a model with text files behind it; the same ones always make the same bytes."""
    packed = io.BytesIO(model)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for name, text in {**files, HASH: hashlib.sha256(model).hexdigest()}.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as written on Unix
            archive.writestr(entry, text.encode())
    return packed.getvalue()


def read(path: Path) -> dict[str, str] | None:
    """Returns the files inside a model by their names; None if it has none.

    Raises:
        ModelError: they are damaged, no text, or too large; or the model is another than when they
            were attached.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > _MOST_BYTES:
                raise ModelError(
                    f"{path} has files of {size:,} bytes inside: class names and the like were "
                    f"expected, {_MOST_BYTES:,} bytes at most."
                )
            texts = {name: archive.read(name).decode() for name in archive.namelist()}
            end = min((entry.header_offset for entry in archive.infolist()), default=0)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise ModelError(f"{path} is damaged, the files inside cannot be read: {error}") from error
    if HASH in texts:
        with path.open("rb") as file:
            actual = hashlib.sha256(file.read(end)).hexdigest()
        if actual != texts[HASH]:
            raise ModelError(
                f"{path} is damaged: the model inside is not the one that was exported."
            )
    return texts
