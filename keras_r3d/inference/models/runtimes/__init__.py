"""Loading what a model was saved as: Keras file, SavedModel, TFLite, ONNX or OpenVINO file.

All of them score the same: uint8 clips `(n, frames, height, width, channels)` in, probabilities
`(n, classes)` out, float32. On CPU the scores of a clip are the same to the bit whatever other
clips are scored with it.
"""

from pathlib import Path

from keras_r3d.inference.models.runtimes import loaders, tflite
from keras_r3d.inference.models.runtimes.loaders import Loaded as Loaded
from keras_r3d.inference.models.runtimes.loaders import Score as Score
from keras_r3d.inference.models.runtimes.loaders import in_steps as in_steps
from keras_r3d.inference.models.runtimes.loaders import load_network as load_network
from keras_r3d.inference.models.runtimes.loaders import of_network as of_network
from keras_r3d.inference.models.runtimes.loaders import take_network as take_network
from keras_r3d.system.errors import ModelError

KERAS = "Keras"
_SAVED_MODEL = "SavedModel"
_SUFFIXES = {
    ".keras": KERAS,
    ".zip": KERAS,
    ".tflite": "TFLite",
    ".onnx": "ONNX",
    ".xml": "OpenVINO",
}
_LOADERS = {
    _SAVED_MODEL: loaders.load_saved_model,
    "TFLite": tflite.load,
    "ONNX": loaders.load_onnx,
    "OpenVINO": loaders.load_openvino,
}


def kind(path: Path) -> str:
    """Returns "Keras", "SavedModel", "TFLite", "ONNX" or "OpenVINO"; ModelError if it is none."""
    expected = "a .keras, .tflite or .onnx file, an .xml file of OpenVINO, or the folder of a "
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return _SAVED_MODEL
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


def load_export(path: Path) -> Loaded:
    """Loads a model that was exported from Keras; raises ModelError if it cannot be of use."""
    return _LOADERS[kind(path)](path)
