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
    """What is exported.

    Attributes:
        network: gives probabilities, or logits.
        metadata: what the export is to say of itself, with class names and a recipe.
        example: a clip, uint8 `(frames, size, size, channels)`, to warm up a server with.
        calibration: gives the clips on which int8 chooses its scales; called for int8 only.
    """

    network: keras.Model
    metadata: Metadata
    example: np.ndarray
    calibration: Callable[[], Iterable[np.ndarray]]

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the scores."""
        return self.metadata.labels or ()


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: as `--format` takes it; also of the optional dependencies that bring `packages`.
        module: of `keras_r3d.export`; its `write(source, path, quantize)` writes a `Source` at a
            path that does not exist.
        quantize: what `--quantize` takes, the default first -> the least share of windows in which
            the export must see the class that Keras sees. "none" computes in float32.
        suffix: of its file; "" of a folder.
        versioned: the folder holds a numbered folder for each export.
        model: the file in the folder by which it is loaded; "" is the folder or file itself.
        packages: that it needs, as they are imported.
    """

    name: str
    module: str
    quantize: Mapping[str, float]
    suffix: str = ""
    versioned: bool = False
    model: str = ""
    packages: Sequence[str] = ()

    def write(self, source: Source, path: Path, quantize: str) -> None:
        """Writes a model; raises ExportError if the format cannot hold it."""
        module = importlib.import_module(f"keras_r3d.export.{self.module}")
        module.write(source, path, quantize)


FORMATS = {
    form.name: form
    for form in (
        Format(
            "saved_model",
            "saved_model.saved_model",
            {"none": 0.99, "bfloat16": 0.95, "float16": 0.98},
            versioned=True,
        ),
        Format(
            "tflite",
            "tflite.tflite",
            {"none": 0.99, "float16": 0.98, "dynamic": 0.95, "int8": 0.95},
            suffix=".tflite",
        ),
        Format(
            "onnx",
            "onnx",
            {"none": 0.99},
            suffix=".onnx",
            packages=("onnx", "tf2onnx", "onnxruntime"),  # the last to compare it with Keras
        ),
        Format("openvino", "openvino", {"none": 0.99}, model="model.xml", packages=("openvino",)),
    )
}


def get_format(name: str | None, quantize: str) -> Format:
    """Returns a format.

    Raises:
        ExportError: there is no such format, it cannot be quantized so, or packages that it needs
            are not installed.
    """
    if name not in FORMATS:
        raise ExportError(f"--format must be one of {list(FORMATS)}. Received: {name}")
    form = FORMATS[name]
    if quantize not in form.quantize:
        raise ExportError(
            f"--quantize must be one of {list(form.quantize)} with --format {name}. "
            f"Received: {quantize}"
        )
    missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ExportError(
            f"--format {name} needs {' and '.join(missing)}: pip install 'keras_r3d[{name}]' "
            f"(in a checkout: pip install -e '.[{name}]')."
        )
    return form
