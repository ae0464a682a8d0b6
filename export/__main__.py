"""Exports a model, and proves it equal: `python -m keras_r3d.export --model RUN --format tflite`.

From a checkout `python -m export` is the same.
"""

import sys

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError
from keras_r3d.system.progress import Progress

_CLASSIFIER = "keras_r3d.video_classifier:VideoClassifier.__init__"
_EXPORT = "keras_r3d.video_classifier:VideoClassifier.export"


def _main(arguments: command.Arguments) -> None:
    if "model" not in arguments:
        raise R3DError("--model is missing: a run, such as runs/demo, or a .keras file.")
    from keras_r3d.export import formats

    options = arguments.of(_EXPORT)
    formats.get_format(options.get("form"), options.get("quantize"))  # before a model is loaded

    from keras_r3d.video_classifier import VideoClassifier

    classifier = VideoClassifier(**arguments.of(_CLASSIFIER))
    progress = Progress("videos") if sys.stdout.isatty() else None
    print(classifier.export(**options, progress=progress))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_CLASSIFIER, _EXPORT],
        names={"form": "format"},
        aliases={"workdir": "model", "data_dir": "data"},
        without=["clips", "exported_from"],
        example="--model runs/demo --format tflite --quantize int8",
    )


if __name__ == "__main__":
    main()
