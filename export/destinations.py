"""Where an export goes, and what lies beside it."""

import dataclasses
import os
from pathlib import Path

from keras_r3d import run_folder
from keras_r3d.export.formats import Format
from keras_r3d.export.saved_model import serving
from keras_r3d.inference.models.runtimes.saved_model import EXTRA
from keras_r3d.run_folder import Run
from keras_r3d.system.errors import ExportError

RECORD, CARD = "export.json", "README.md"


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where an export goes.

    Attributes:
        path: of the export, file or folder; does not exist yet.
        folder: of what `record` and `card` describe it with; None: beside the file, with its name.
    """

    path: Path
    folder: str | None

    @property
    def name(self) -> str:
        """The last of its path: file or folder, with its version `NAME/VERSION`."""
        last = self.path.parts[-2:] if self.folder == EXTRA else self.path.parts[-1:]
        return "/".join(last)

    def record(self, written: Path) -> Path:
        """Returns where `export.json` goes of an export that is written at `written` first."""
        if self.folder is None:
            return self.path.with_name(f"{self.path.name}.{RECORD}")
        return written / self.folder / RECORD

    def card(self, written: Path) -> Path:
        """Returns where the model card goes."""
        if self.folder is None:
            return self.path.with_name(f"{self.path.name}.md")
        return written / self.folder / CARD


def choose(run: Run, form: Format, quantize: str, output: Path | None) -> Destination:
    """Returns where an export goes.

    Args:
        output: as asked for; None is in the run folder.

    Raises:
        ExportError: it has the wrong suffix, something is there already, or a server could not
            serve it by this name.
    """
    variant = "" if quantize == "none" else f"-{quantize}"
    if form.suffix:
        path = output or run.path / run_folder.EXPORT / f"model{variant}{form.suffix}"
        if path.suffix != form.suffix:
            raise ExportError(f"--output must end in {form.suffix}. Received: {path}")
        destination = Destination(path, None)
        taken = [path, destination.record(path), destination.card(path)]
    elif form.versioned:
        folder = output or run.path / run_folder.EXPORT / f"{run.name}{variant}"
        if folder.name in ("", ".."):
            folder = Path(os.path.abspath(folder))
        serving.check_name(folder.name)
        return Destination(_next_version(folder), EXTRA)
    else:
        path = output or run.path / run_folder.EXPORT / f"{form.name}{variant}"
        destination, taken = Destination(path, ""), [path]
    for one in taken:
        if one.exists():
            raise ExportError(f"{one} exists and is left as it is: pass another --output.")
    return destination


def _next_version(folder: Path) -> Path:
    """Returns `folder/VERSION`, VERSION being the next free number, as TensorFlow Serving counts.

    Raises:
        ExportError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"--output {folder} is a file: choose a folder.")
    there = folder.iterdir() if folder.is_dir() else ()
    taken = [int(one.name) for one in there if one.name.isdecimal()]
    return folder / str(max(taken, default=0) + 1)
