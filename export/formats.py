"""The formats a run can be exported to, and how closely each must agree with Keras."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_r3d.export.source import Source
from keras_r3d.inference.models import manifest
from keras_r3d.inference.models.runtimes.saved_model import EXTRA
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError

# Largest difference of a probability that counts as the same (float32, another order of sums).
TOLERANCE = 1e-4


def _saved_model(source: Source, path: Path, quantize: str) -> None:
    from keras_r3d.export.saved_model import saved_model, serving

    experiment = source.manifest.recipe
    saved_model.write(
        source.network,
        path,
        classes=source.manifest.classes,
        data=experiment.data,
        evaluation=experiment.eval,
        precision="float32" if quantize == "none" else quantize,
    )
    extra = path / EXTRA
    extra.mkdir(exist_ok=True)
    files.write_text(extra / manifest.NAME, source.manifest.to_json())
    serving.write_warm_up(path, path.parent.name, source.example)


def _for_serving(path: Path) -> list[str]:
    from keras_r3d.export.saved_model import serving

    return serving.write_beside(path.parent, path.parent.name)


def _nothing(path: Path) -> list[str]:
    return []


def _tflite(source: Source, path: Path, quantize: str) -> None:
    from keras_r3d.export.tflite import calibration, tflite

    tflite.write(
        source.network,
        path,
        quantize=quantize,
        clips=lambda: calibration.clips(source.run, source.data_dir),
        manifest_text=source.manifest.to_json(),
        names=source.manifest.classes,
    )


def _onnx(source: Source, path: Path, quantize: str) -> None:
    from keras_r3d.export import onnx

    said = source.manifest
    onnx.write(source.network, path, classes=said.classes, manifest_text=said.to_json())


def _openvino(source: Source, path: Path, quantize: str) -> None:
    from keras_r3d.export import openvino

    said = source.manifest
    openvino.write(source.network, path, classes=said.classes, manifest_text=said.to_json())


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: as `--format` takes it.
        suffix: of its file; "" of a folder.
        versioned: the folder holds a numbered folder for each export.
        model: the file in the folder by which it is loaded; "" is the folder or file itself.
        quantize: what `--quantize` takes, the default first -> the least share of windows in which
            the export must see the class that Keras sees. "none" computes in float32.
        write: writes a source at a path that does not exist, quantised as asked for.
        beside: writes what goes beside a finished export, and returns what there is to say of it.
    """

    name: str
    suffix: str
    versioned: bool
    model: str
    quantize: Mapping[str, float]
    write: Callable[[Source, Path, str], None]
    beside: Callable[[Path], list[str]] = _nothing

    def loaded(self, path: Path) -> Path:
        """Returns what to load of the export at `path`."""
        return path / self.model if self.model else path


FORMATS = {
    one.name: one
    for one in (
        Format(
            name="saved_model",
            suffix="",
            versioned=True,
            model="",
            quantize={"none": 0.99, "bfloat16": 0.95, "float16": 0.98},
            write=_saved_model,
            beside=_for_serving,
        ),
        Format(
            name="tflite",
            suffix=".tflite",
            versioned=False,
            model="",
            quantize={"none": 0.99, "float16": 0.98, "dynamic": 0.95, "int8": 0.95},
            write=_tflite,
        ),
        Format("onnx", ".onnx", False, "", {"none": 0.99}, _onnx),
        Format("openvino", "", False, "model.xml", {"none": 0.99}, _openvino),
    )
}


def named(name: str | None) -> Format:
    """Returns a format.

    Raises:
        ExportError: there is no such one.
    """
    if name not in FORMATS:
        raise ExportError(f"--format must be one of {list(FORMATS)}. Received: {name}")
    return FORMATS[name]


def check_quantize(form: Format, quantize: str) -> None:
    """Raises ExportError if a format cannot be quantised so."""
    if quantize not in form.quantize:
        raise ExportError(
            f"--quantize must be one of {list(form.quantize)} with --format {form.name}. "
            f"Received: {quantize}"
        )
