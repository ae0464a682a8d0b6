"""Errors of TensorFlow and of the system, turned into ours."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d.data import pipeline
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError, TrainingError
from keras_r3d.training import state


@contextlib.contextmanager
def as_sentences(folder: Path | None) -> Iterator[None]:
    """Turns errors of TensorFlow and of the system into sentences that say what to do.

    Args:
        folder: of the run, whose last state is named; None: there is none.
    """
    place = folder or "files for TensorBoard"
    try:
        yield
    except R3DError:
        raise
    except tf.errors.OpError as error:
        if detail := pipeline.reason(error):
            raise TrainingError(f"The training stopped: {detail}") from error
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            if os.strerror(code) in error.message:  # of the files for TensorBoard
                cause = OSError(code, os.strerror(code))
                raise files.WriteError(files.explain(place, cause)) from error
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise TrainingError(_out_of_memory(folder)) from error
        if isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError):
            raise TrainingError(
                "Another worker has gone. Start all of them again with the same commands: the "
                f"training resumes from its last state.{_last_state(folder)}"
            ) from error
        line = next((line for line in error.message.splitlines() if line.strip()), str(error))
        raise TrainingError(
            f"TensorFlow stopped the training: {line}{_last_state(folder)}"
        ) from error
    except MemoryError as error:
        raise TrainingError(_out_of_memory(folder)) from error
    except OSError as error:
        if folder is None or (error.filename and not _inside(folder, error.filename)):
            raise
        raise files.WriteError(files.explain(place, error)) from error


def _inside(folder: Path, path: str | bytes | int) -> bool:
    return os.path.abspath(str(path)).startswith(os.path.abspath(folder))


def _out_of_memory(folder: Path | None) -> str:
    return (
        "The memory is used up: lower `train.batch_size`, or raise `train.accumulate`, and start "
        f"over with --fresh or in another --workdir.{_last_state(folder)}"
    )


def _last_state(folder: Path | None) -> str:
    if folder is None:
        return ""
    saved = state.latest(folder / run_folder.STATE)
    return f" The last good state is {saved}." if saved else " No state was saved yet."
