"""The file of embeddings, `.npz` or Parquet: written in pieces, so that it may exceed the memory.

One row an embedding. Columns: `embedding` (float32), `video` (name), `path` (of its file), `status`
("ok" or "partial"), `window` (its number in the video; -1 of a whole video), `start_seconds`,
`end_seconds` and, where labels are known, `label`. `metadata` is a JSON text.
"""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError

Batch = dict[str, np.ndarray]
# Takes names of columns; yields them, some rows at a time.
Batches = Callable[[Sequence[str]], Iterable[Batch]]

TEXTS = ("video", "path", "status", "label")
COLUMNS = ("embedding", *TEXTS, "window", "start_seconds", "end_seconds")
_METADATA = "metadata"
_ROWS = 4096  # of a group in a Parquet file
_WHEN = (1980, 1, 1, 0, 0, 0)  # a zip file's first; equal embeddings make equal files


@dataclasses.dataclass(frozen=True)
class Features:
    """Embeddings read from a file.

    Attributes:
        embedding: float32 `(n, d)`.
        video: names `(n,)`.
        path: of the videos' files `(n,)`.
        status: "ok" or "partial" `(n,)`.
        window: int64 `(n,)`; -1 of a whole video.
        start_seconds: float64 `(n,)`.
        end_seconds: float64 `(n,)`.
        label: `(n,)`; None where labels are not known.
    """

    source: Path
    embedding: np.ndarray
    video: np.ndarray
    path: np.ndarray
    status: np.ndarray
    window: np.ndarray
    start_seconds: np.ndarray
    end_seconds: np.ndarray
    label: np.ndarray | None
    metadata: dict[str, Any]

    def __repr__(self) -> str:
        """Says how many there are: all of them would fill pages."""
        rows, numbers = self.embedding.shape
        return f"Features({rows} x {numbers} by {self.source})"


def row_dtype(dimension: int) -> np.dtype:
    """Returns the columns of numbers, as a row has them."""
    seconds = [("start_seconds", np.float64), ("end_seconds", np.float64)]
    return np.dtype([("embedding", np.float32, (dimension,)), ("window", np.int64), *seconds])


def check_suffix(path: Path) -> None:
    """Raises ArgumentError if a file of that name cannot be written or read here."""
    if path.suffix not in (".npz", ".parquet"):
        raise ArgumentError(f"`output` must end in .npz or .parquet. Received: {path}")
    if path.suffix == ".parquet":
        _pyarrow(path)


def check_new(path: Path) -> None:
    """Raises ArgumentError if a new file of that name cannot be written."""
    check_suffix(path)
    files.check_new(path, "output")
    if not path.parent.is_dir():
        raise ArgumentError(f"`output` {path}: there is no folder {path.parent}.")


def write(path: Path, batches: Batches, dimension: int, labeled: bool, metadata: Any) -> int:
    """Writes embeddings `(n, dimension)`, atomically, and returns n.

    `batches` is called more than once, and yields the same each time.
    """
    columns = [name for name in COLUMNS if labeled or name != "label"]
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    rows = sum(len(batch["window"]) for batch in batches(["window"]))
    with files.atomic(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, batches(columns), columns, dimension, text)
        else:
            _write_npz(temporary, batches, columns, rows, dimension, text)
    return rows


def read(path: Path) -> Features:
    """Reads a file that `write` wrote; ArgumentError if it is not there, damaged, or another."""
    if not path.is_file():
        raise ArgumentError(f"{path}: there is no such file of embeddings.")
    check_suffix(path)
    try:
        values, text = _read_parquet(path) if path.suffix == ".parquet" else _read_npz(path)
        metadata = json.loads(text)
        return Features(path, label=values.pop("label", None), metadata=metadata, **values)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(
            f"{path} is no file of embeddings that `python -m keras_r3d.features` wrote: {error}"
        ) from error


def _write_npz(
    path: Path, batches: Batches, columns: Sequence[str], rows: int, dimension: int, text: str
) -> None:
    dtypes = row_dtype(dimension)
    with zipfile.ZipFile(path, "w") as archive:
        for name in columns:
            if name in TEXTS:
                longest = max((batch[name].dtype.itemsize for batch in batches([name])), default=4)
                dtype = np.dtype(f"<U{max(1, longest // 4)}")
            else:
                dtype = dtypes[name]
            pieces = (batch[name].astype(dtype.base) for batch in batches([name]))
            _write_array(archive, name, dtype.base, (rows, *dtype.shape), pieces)
        metadata = np.array(text)
        _write_array(archive, _METADATA, metadata.dtype, (), [metadata])


def _write_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], pieces: Iterable
) -> None:
    entry = zipfile.ZipInfo(f"{name}.npy", _WHEN)
    # Texts are as wide as the longest, four bytes a letter; embeddings do not get any smaller.
    entry.compress_type = zipfile.ZIP_DEFLATED if dtype.kind == "U" else zipfile.ZIP_STORED
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(piece.tobytes())


def _read_npz(path: Path) -> tuple[Batch, str]:
    with np.load(path, allow_pickle=False) as archive:
        values = {name: archive[name] for name in archive.files if name != _METADATA}
        return values, str(archive[_METADATA])


def _write_parquet(
    path: Path, batches: Iterable[Batch], columns: Sequence[str], dimension: int, text: str
) -> None:
    arrow = _pyarrow(path)
    types = {name: arrow.string() for name in TEXTS}
    types |= {"embedding": arrow.list_(arrow.float32(), dimension), "window": arrow.int64()}
    fields = [(name, types.get(name, arrow.float64())) for name in columns]
    schema = arrow.schema(fields, {_METADATA: text})
    waiting = []
    with arrow.parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            arrays = [
                arrow.FixedSizeListArray.from_arrays(batch[name].ravel(), dimension)
                if name == "embedding"
                else arrow.array(batch[name], types.get(name))
                for name in columns
            ]
            waiting.append(arrow.Table.from_arrays(arrays, schema=schema))
            if sum(map(len, waiting)) >= _ROWS:
                writer.write_table(arrow.concat_tables(waiting), _ROWS)
                waiting = []
        if waiting:
            writer.write_table(arrow.concat_tables(waiting), _ROWS)


def _read_parquet(path: Path) -> tuple[Batch, str]:
    arrow = _pyarrow(path)
    table = arrow.parquet.read_table(path)
    values = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name == "embedding":
            flat = column.flatten().to_numpy(zero_copy_only=False)
            values[name] = flat.reshape(len(column), column.type.list_size)
        elif name in TEXTS:
            values[name] = np.array(column.to_pylist(), np.str_)
        else:
            values[name] = column.to_numpy()
    return values, table.schema.metadata[_METADATA.encode()].decode()


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ArgumentError(
            f"{path}: Parquet needs pyarrow ({error}). Install it (`pip install "
            "keras_r3d[parquet]`), or take .npz."
        ) from error
    return pyarrow
