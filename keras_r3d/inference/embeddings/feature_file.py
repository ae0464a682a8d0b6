"""The file of embeddings, `.npz` or Parquet: written in pieces, so that it may exceed the memory.

One row an embedding. Columns: `embedding` (float32), `video` (name), `path` (of its file), `status`
("ok" or "partial"), `window` (its number in the video; -1 of a whole video), `start_seconds`,
`end_seconds` and, where labels are known, `label`. `metadata` is a JSON text.
"""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d.data.annotations.labels import split_labels
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError

Batch = dict[str, np.ndarray]
# Takes names of columns; yields them, some rows at a time.
Batches = Callable[[Sequence[str]], Iterable[Batch]]

TEXTS = ("video", "path", "status", "label")
COLUMNS = ("embedding", *TEXTS, "window", "start_seconds", "end_seconds")
_METADATA = "metadata"
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
        label: `(n,)`; None where labels are not known. Of several labels it is their text.
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

    @property
    def several_labels(self) -> bool:
        """Whether `label` is the text of any number of labels."""
        return bool(self.metadata.get("several_labels"))

    def labels_of(self, row: int) -> set[str]:
        """Returns the labels of a row; there are some only where `label` is."""
        text = "" if self.label is None else str(self.label[row])
        return set(split_labels(text)) if self.several_labels else {text}

    def __repr__(self) -> str:
        """Says how many there are: all of them would fill pages."""
        rows, numbers = self.embedding.shape
        return f"Features({rows} x {numbers} by {self.source})"


def label_rows(*parts: Features) -> tuple[list[str], list[np.ndarray]]:
    """Returns the classes of labeled embeddings, and of each part whether they are its labels.

    These are bool `(n, classes)`.
    """
    sets = [list(map(part.labels_of, range(len(part.video)))) for part in parts]
    classes = sorted({label for part in sets for labels in part for label in labels})
    numbers = {name: number for number, name in enumerate(classes)}
    rows = [np.zeros((len(part), len(classes)), bool) for part in sets]
    for truth, part in zip(rows, sets, strict=True):
        for row, labels in zip(truth, part, strict=True):
            row[[numbers[label] for label in labels]] = True
    return classes, rows


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


def write(path: Path, batches: Batches, labeled: bool, metadata: Any) -> None:
    """Writes embeddings, atomically. `batches` is called more than once, for the same each time."""
    columns = [name for name in COLUMNS if labeled or name != "label"]
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    with files.atomic(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, batches(columns), text)
        else:
            _write_npz(temporary, batches, columns, text)


def read(path: Path) -> Features:
    """Reads a file that `write` wrote; ArgumentError if it is not there, damaged, or another."""
    if not path.is_file():
        raise ArgumentError(f"{path}: there is no such file of embeddings.")
    check_suffix(path)
    try:
        if path.suffix == ".parquet":
            values, text = _read_parquet(path)
        else:
            with np.load(path, allow_pickle=False) as archive:
                values = dict(archive)
            text = str(values.pop(_METADATA))
        metadata = json.loads(text)
        return Features(path, label=values.pop("label", None), metadata=metadata, **values)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(
            f"{path} is no file of embeddings that `python -m keras_r3d.features` wrote: {error}"
        ) from error


def _write_npz(path: Path, batches: Batches, columns: Sequence[str], text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in columns:
            heads = [(batch[name].dtype, *batch[name].shape) for batch in batches([name])]
            dtypes, rows, *other = zip(*heads, strict=True)
            dtype = np.result_type(*dtypes)  # of texts, the longest
            pieces = (batch[name].astype(dtype) for batch in batches([name]))
            _write_array(archive, name, dtype, (sum(rows), *(sizes[0] for sizes in other)), pieces)
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


def _write_parquet(path: Path, batches: Iterable[Batch], text: str) -> None:
    arrow, writer = _pyarrow(path), None
    with contextlib.ExitStack() as stack:
        for batch in batches:
            embedding = batch["embedding"]
            column = arrow.FixedSizeListArray.from_arrays(embedding.ravel(), embedding.shape[1])
            table = arrow.table({**batch, "embedding": column})
            table = table.replace_schema_metadata({_METADATA: text})
            if writer is None:
                writer = stack.enter_context(arrow.parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)


def _read_parquet(path: Path) -> tuple[Batch, str]:
    table = _pyarrow(path).parquet.read_table(path)
    embedding = table["embedding"].combine_chunks().flatten().to_numpy()
    values = {"embedding": embedding.reshape(len(table), -1)}
    for name in set(table.column_names) - {"embedding"}:
        column = table[name].to_numpy()
        values[name] = column.astype(str) if name in TEXTS else column
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
