"""The errors that a caller can act on; commands print them as a sentence instead of a traceback."""

import contextlib
import math
from collections.abc import Iterator, Sequence

from keras_r3d.system.text import shown

__all__ = [
    "ArgumentError",
    "DataError",
    "DeviceError",
    "ExportError",
    "InterruptedTraining",
    "ModelError",
    "R3DError",
    "RecipeError",
    "RunError",
    "ServingError",
    "StoreError",
    "TrainingError",
    "UnreachableError",
    "VideoError",
    "WeightsError",
    "WriteError",
]


class R3DError(Exception):
    """An error a user can cause and mend; its message says what came, where, and what to do."""

    def __str__(self) -> str:
        return shown(super().__str__())


class ArgumentError(R3DError, ValueError):
    """Something was asked for that cannot be, or does not exist."""


class DataError(R3DError, ValueError):
    """Labeled videos, or files of optical flow, that are not there or are not as expected."""


class DeviceError(R3DError):
    """Devices that are not there, or cannot share the work of a recipe."""


class ExportError(R3DError):
    """An export that could not be made, or that does not compute what Keras computes."""


class InterruptedTraining(R3DError):  # noqa: N818 (no error: it was asked for)
    """A training that was asked to stop; its state is saved."""


class ModelError(R3DError):
    """A model that cannot be loaded, or is of no use here."""


class RecipeError(R3DError, ValueError):
    """A recipe that cannot be found, read or accepted."""


class RunError(R3DError):
    """A run folder, or a state saved in it, that is not what was expected."""


class ServingError(R3DError):
    """A server that cannot be asked, or an answer that is of no use."""


class StoreError(R3DError):
    """A clip store that is missing, damaged, unfinished, or of another version."""


class TrainingError(R3DError):
    """A training that cannot go on."""


class UnreachableError(R3DError):
    """A clip store's server that does not answer, or refuses: its other files fare no better."""


class VideoError(R3DError):
    """A video or camera that cannot be opened, or has no frame where one was expected.

    Its `status` is "codec" where only a decoder is missing, "segment" where the file is sound but
    ends before the segment begins, else "unreadable".
    """

    def __init__(self, message: str, status: str = "unreadable"):
        super().__init__(message)
        self.status = status


class WeightsError(R3DError, ValueError):
    """Weights that cannot be found, fetched or read, or do not fit the network."""


class WriteError(R3DError, OSError):
    """A file that could not be written; an older one in its place is untouched."""


@contextlib.contextmanager
def noted(notes: Sequence[str]) -> Iterator[None]:
    """Adds notes, as far as there are some by then, to an error; commands print them before it."""
    try:
        yield
    except R3DError as error:
        error.__notes__ = [*notes, *getattr(error, "__notes__", ())]
        raise


def check_range(low: float, high: float = math.inf, **values: float | None) -> None:
    """Raises ArgumentError if one of some arguments, by name, is out of range; None is not."""
    wanted = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    for name, value in values.items():
        if value is not None and not low <= value <= high:
            raise ArgumentError(f"`{name}` must be {wanted}. Received: {value}")
