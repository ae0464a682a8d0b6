"""Exports the best model of a run: `python -m keras_r3d.export --workdir RUN --format tflite`.

From a checkout `python -m export` is the same.
"""

from pathlib import Path

from absl import flags

from keras_r3d import _command
from keras_r3d.errors import R3DError

FORMATS = ("saved_model", "tflite")


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run.")
    flags.DEFINE_string(
        "data_dir", None, "Videos to compare the export on. Default: the training's."
    )
    flags.DEFINE_string("format", None, f"One of {', '.join(FORMATS)}.")
    flags.DEFINE_string(
        "output",
        None,
        "saved_model: folder that gets a new version number inside. tflite: file. "
        "Default: export/saved_model or export/model.tflite in the run folder.",
    )


def _main() -> None:
    if _command.value("workdir") is None:
        raise R3DError("--workdir is missing: the folder of a run, such as runs/demo.")
    form = _command.value("format")
    if form not in FORMATS:
        raise R3DError(f"--format must be one of {list(FORMATS)}. Received: {form}")
    from keras_r3d import run_folder

    from . import parity, saved_model, tflite

    run = run_folder.open_run(_command.value("workdir"))
    output = _command.value("output")
    module, default = {
        "saved_model": (saved_model, "saved_model"),
        "tflite": (tflite, "model.tflite"),
    }[form]
    path = Path(output) if output else run.path / run_folder.EXPORT / default
    options = {"quantize": "none", "clips": list, "manifest_text": "", "names": run.classes}
    written, scores = parity.export_and_compare(
        run, module, path, _command.value("data_dir"), options if module is tflite else {}
    )
    print(f"Written: {written}\n{scores}")


def main() -> None:
    """Entry point of the command."""
    _command.run(_define_flags, _main)


if __name__ == "__main__":
    main()
