"""Loading a `.tflite` file, and the text files inside it: class names, and how clips are cut.

As TensorFlow Lite has it for its metadata, they are a ZIP archive behind the model, not compressed:
an interpreter does not look there, `unzip -p model.tflite labels.txt` does. A hash of the model is
one of them: interpreters check nothing, and a damaged file may kill their process.
"""

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.inference.models.runtimes import stderr
from keras_r3d.inference.models.runtimes.loaders import Loaded, checked, loading
from keras_r3d.system.errors import ModelError

LABELS = "labels.txt"
_HASH = "model.sha256"  # of what lies before the archive
_MOST_BYTES = 2**24  # of all text files together, unpacked
_TRIAL = """
import importlib, sys

interpreter = importlib.import_module(sys.argv[2]).Interpreter(sys.argv[1])
interpreter.allocate_tensors()
interpreter.invoke()
"""


def load(path: Path) -> Loaded:
    """Loads a file that takes one clip at a time."""
    texts = read_texts(path)
    interpreter_class = find_interpreter()
    if _HASH not in texts:
        _try_elsewhere(path, interpreter_class.__module__)
    with loading(path, "TensorFlow Lite"), stderr.dropped():  # which delegate it takes
        interpreter = interpreter_class(str(path), num_threads=len(os.sched_getaffinity(0)))
        interpreter.allocate_tensors()
    clip, scores = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def step(clips: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(clip["index"], clips)
        interpreter.invoke()
        return interpreter.get_tensor(scores["index"])

    def described(tensor: dict[str, Any]) -> dict[str, Any]:
        shape = [int(size) for size in tensor["shape"]]
        return {"dtype": np.dtype(tensor["dtype"]).name, "shape": shape}

    # Files of others may have no signature.
    plain = {"": {"inputs": [clip["name"]], "outputs": [scores["name"]]}}
    name, named = next(iter((interpreter.get_signature_list() or plain).items()))
    names, text = (named["inputs"][0], named["outputs"][0]), texts.get(JSON_FILE)
    tensors = {"inputs": {names[0]: described(clip)}, "outputs": {names[1]: described(scores)}}
    return checked(
        path, step, {name: tensors}, text, signature=name, names=names, one_at_a_time=True
    )


def find_interpreter() -> Any:
    """Returns the class that runs `.tflite` files: TensorFlow's, or its successor, LiteRT's.

    TensorFlow 2.20 and newer announce that theirs will be removed.
    """
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if version >= (2, 20) and importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    try:
        return tf.lite.Interpreter
    except AttributeError as error:
        raise ModelError(
            f"TensorFlow {tf.__version__} cannot read .tflite files: pip install ai-edge-litert."
        ) from error


def _try_elsewhere(path: Path, module: str) -> None:
    """Runs a file that has no hash in a process of its own, which a damaged one may kill.

    `module` has the class `Interpreter`. Raises ModelError if the file cannot be run.
    """
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise ModelError(f"{path}: TensorFlow Lite cannot load it: it is no .tflite file.")
    command = [sys.executable, "-c", _TRIAL, str(path), module]
    trial = subprocess.run(command, capture_output=True, check=False)
    if trial.returncode:
        last_line = trial.stderr.decode(errors="replace").strip().splitlines()[-1:]
        reason = " ".join(last_line) if trial.returncode > 0 else f"signal {-trial.returncode}"
        raise ModelError(f"{path}: TensorFlow Lite cannot load it, or dies of it: {reason}")


def attach_texts(model: bytes, files: Mapping[str, str]) -> bytes:
    """Returns a model with text files behind it; the same ones always make the same bytes."""
    packed = io.BytesIO(model)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for name, text in {**files, _HASH: hashlib.sha256(model).hexdigest()}.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as written on Unix
            archive.writestr(entry, text.encode())
    return packed.getvalue()


def read_texts(path: Path) -> dict[str, str]:
    """Returns the texts inside a model by the names of their files, none if it has no archive.

    Raises ModelError if they are damaged, or the model is another than when they were attached.
    """
    if not zipfile.is_zipfile(path):
        return {}
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
    if _HASH in texts:
        with path.open("rb") as file:
            actual = hashlib.sha256(file.read(end)).hexdigest()
        if actual != texts[_HASH]:
            raise ModelError(
                f"{path} is damaged: the model inside is not the one that was exported."
            )
    return texts
