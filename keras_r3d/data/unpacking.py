"""Videos in a ZIP archive: unpacked into the cache, once."""

import zipfile
from pathlib import Path

from keras_r3d.system import files
from keras_r3d.system.errors import DataError

_MOST_TIMES = 100  # larger than the archive, beyond which it is no archive of videos
_LEAST_LIMIT = 2**30  # bytes that it may have in any case


def unpacked(data: str | Path) -> str | Path:
    """Returns the folder of what is in a `.zip`; anything else as it is.

    Raises DataError if the archive is damaged, encrypted, or huge inside.
    """
    path = Path(data)
    if path.suffix != ".zip" or not path.is_file():
        return data

    def extract(folder: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > max(_LEAST_LIMIT, _MOST_TIMES * path.stat().st_size):
                raise DataError(
                    f"{path} would be {size / 2**30:,.1f} GiB, {_MOST_TIMES} times its size: "
                    "unpack it yourself, and pass the folder."
                )
            archive.extractall(folder)  # which leaves nothing outside of it

    try:
        return files.made_once(files.cache() / f"zip-{files.sha256(path)[:16]}", extract)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{path} is damaged, encrypted or no ZIP archive ({error}): unpack it yourself, and "
            "pass the folder."
        ) from error
