"""Exports the best model of a run: `python -m keras_r3d.export --workdir RUN --format tflite`.

From a checkout `python -m export` is the same.
"""

import sys

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run.")
    flags.DEFINE_string("format", None, "saved_model, tflite, onnx or openvino.")
    flags.DEFINE_string(
        "quantize",
        "none",
        "What weights and activations become. tflite: none, float16, dynamic (int8 weights), int8. "
        "saved_model: none, bfloat16, float16.",
    )
    flags.DEFINE_string(
        "output",
        None,
        "saved_model: folder that gets a new version number inside; openvino: folder; else file. "
        "Default: in the folder `export` of the run.",
    )
    flags.DEFINE_string(
        "data_dir", None, "Videos to calibrate and compare on. Default: the training's."
    )
    flags.DEFINE_integer(
        "videos",
        100,
        "Most videos of the evaluated split to compare on, evenly chosen; 0 is all.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "min_agreement",
        None,
        "Least share of the windows in which the export must see the class that Keras sees. "
        "Default: 0.99; float16 0.98; bfloat16, dynamic and int8 0.95.",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def _main() -> None:
    if command.value("workdir") is None:
        raise R3DError("--workdir is missing: the folder of a run, such as runs/demo.")
    from keras_r3d import run_folder
    from keras_r3d.export import exporting, formats
    from keras_r3d.inference.models import opening

    form, quantize = command.value("format"), command.value("quantize")
    formats.get_format(form, quantize)  # or it is an error, before a model is loaded
    exported = exporting.export(
        opening.of_run(run_folder.open_run(command.value("workdir"))),
        form,
        command.value("output"),
        quantize=quantize,
        data=command.value("data_dir"),
        videos=command.value("videos"),
        min_agreement=command.value("min_agreement"),
        progress=command.Progress("videos") if sys.stdout.isatty() else None,
    )
    print(exported)


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main)


if __name__ == "__main__":
    main()
