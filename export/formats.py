"""The formats that a model can be exported to, and how closely each must agree with Keras."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_r3d.applications import Metadata
from keras_r3d.system.errors import ExportError


@dataclasses.dataclass(frozen=True)
class Source:
    """What is exported."""

    network: keras.Model  # gives probabilities, or logits
    metadata: Metadata  # what the export is to say of itself, with class names and a recipe
    example: np.ndarray  # clip, uint8 (frames, height, width, channels), to warm up a server with
    calibration: Callable[[], Iterable[np.ndarray]]  # clips that int8 chooses its scales on
    litert: str | None = None  # of a page: the folder that LiteRT.js is taken from

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the scores."""
        return self.metadata.labels or ()


@dataclasses.dataclass(frozen=True)
class Format:
    """A format, which the module `module` of `keras_r3d.export` writes.

    Attributes:
        name: also of the optional dependencies that bring `packages`, which it imports.
        quantize: ways to quantize, the default first -> the least share of windows in which the
            export must see the class that Keras sees. "none" computes in float32.
        suffix: of its file; "" of a folder.
        versioned: the folder holds a numbered folder for each export.
        model: the file in the folder by which it is loaded; "" is the folder or file itself.
    """

    name: str
    module: str
    quantize: Mapping[str, float]
    suffix: str = ""
    versioned: bool = False
    model: str = ""
    packages: Sequence[str] = ()

    @property
    def default(self) -> str:
        """How it quantizes where nothing else is asked for."""
        return next(iter(self.quantize))

    def write(self, source: Source, path: Path, quantize: str) -> Sequence[str]:
        """Writes a model to a new path; raises ExportError if the format cannot hold it.

        Returns what else there is to say, in sentences.
        """
        module = importlib.import_module(f"keras_r3d.export.{self.module}")
        return module.write(source, path, quantize) or ()


_ONNX = ("onnx", "tf2onnx", "onnxruntime")  # the last to compare it with Keras
_HALF = {"none": 0.99, "bfloat16": 0.95, "float16": 0.98}
_LITE = {"none": 0.99, "float16": 0.98, "dynamic": 0.95, "int8": 0.95}
_WEB = {"int8": _LITE["int8"], **_LITE}  # small and fast
_NONE = {"none": 0.99}
FORMATS = {
    form.name: form
    for form in (
        Format("saved_model", "saved_model.saved_model", _HALF, versioned=True),
        Format("tflite", "tflite.tflite", _LITE, suffix=".tflite"),
        Format("onnx", "onnx", _NONE, suffix=".onnx", packages=_ONNX),
        Format("openvino", "openvino", _NONE, model="model.xml", packages=("openvino",)),
        Format("web", "web.web", _WEB, model="model.tflite"),
    )
}


def get_format(name: str | None, quantize: str | None) -> Format:
    """Returns a format; raises ExportError if it, its way to quantize or a package is not there."""
    if name not in FORMATS:
        raise ExportError(f"`form` must be one of {list(FORMATS)}. Received: {name}")
    form = FORMATS[name]
    if quantize is not None and quantize not in form.quantize:
        raise ExportError(
            f"`quantize` must be one of {list(form.quantize)} with `form` {name}. "
            f"Received: {quantize}"
        )
    missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ExportError(
            f"`form` {name} needs {' and '.join(missing)}: pip install 'keras_r3d[{name}]' "
            f"(in a checkout: pip install -e '.[{name}]')."
        )
    return form
