"""Loading what a model was saved as: Keras file, SavedModel, TFLite, ONNX or OpenVINO file.

All of them score the same: uint8 clips `(n, frames, size, size, channels)` in, probabilities
`(n, classes)` out, float32. On CPU the scores of a clip are the same to the bit whatever other
clips are scored with it.
"""

from pathlib import Path

from keras_r3d.inference.models.runtimes import onnx, openvino, saved_model, tflite
from keras_r3d.inference.models.runtimes.keras_file import load_network, of_network
from keras_r3d.inference.models.runtimes.loaded import Export, Score, in_steps
from keras_r3d.system.errors import ModelError

__all__ = [
    "KERAS",
    "Export",
    "ModelError",
    "Score",
    "in_steps",
    "kind",
    "load_export",
    "load_network",
    "of_network",
]

KERAS, SAVED_MODEL = "Keras", "SavedModel"
_SUFFIXES = {".keras": KERAS, ".tflite": "TFLite", ".onnx": "ONNX", ".xml": "OpenVINO"}
_LOADERS = {
    SAVED_MODEL: saved_model.load,
    "TFLite": tflite.load,
    "ONNX": onnx.load,
    "OpenVINO": openvino.load,
}


def kind(path: Path) -> str:
    """Returns which kind of model a path is: "Keras", "SavedModel", "TFLite", "ONNX", "OpenVINO".

    Args:
        path: a .keras, .tflite or .onnx file, an .xml file of OpenVINO (its .bin beside it), or the
            folder of a SavedModel.

    Raises:
        ModelError: there is no model at `path`, or one of another kind.
    """
    expected = "a .keras, .tflite or .onnx file, an .xml file of OpenVINO, or the folder of a "
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return SAVED_MODEL
        raise ModelError(
            f"{path} is a folder without saved_model.pb. Expected: {expected}SavedModel with its "
            "version, such as NAME/1."
        )
    if not path.is_file():
        raise ModelError(f"{path}: there is no such model.")
    if path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]
    raise ModelError(
        f"{path} must be {expected}SavedModel. PyTorch checkpoints: `python -m keras_r3d.convert` "
        "makes a .keras file of them."
    )


def load_export(path: Path) -> Export:
    """Loads a model that was exported from Keras.

    Raises:
        ModelError: it is damaged, does not take clips, or what it says of itself cannot be read.
    """
    return _LOADERS[kind(path)](path)
