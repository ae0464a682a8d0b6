"""Names what videos show: `python -m keras_r3d.predict --workdir RUN VIDEO…`."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.video_classifier import VideoClassifier

_FILES = ("json", "csv", "timeline", "annotate")
_LIVE_ONLY = ("every", "duration", "seconds", "smooth")


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run whose best model predicts.")
    flags.DEFINE_string(
        "model",
        None,
        "Model instead of the run's best: a .keras, .tflite or .onnx file, an .xml file of "
        "OpenVINO, or the folder of a SavedModel.",
    )
    flags.DEFINE_string(
        "recipe", None, "Recipe that says how clips are cut for a --model without a run."
    )
    flags.DEFINE_multi_string(
        "fuse", [], "VIDEO… --fuse RUN_A RUN_B: runs whose scores are averaged."
    )
    flags.DEFINE_multi_string("weights", [], "Weight of each: --weights 1 1.5. Default: 1 each.")
    flags.DEFINE_string(
        "protocol",
        None,
        "How videos are scored: 'paper', 'torch7', 'follow_up', or NxV: N evenly placed windows "
        "of V = 1, 2, 3 or 10 views. Default: the recipe's.",
    )
    flags.DEFINE_string("devices", "all", "'all', 'cpu', 'cpu:N' or 'gpu:0,2,…'.")
    flags.DEFINE_float(
        "timeout",
        None,
        "Seconds after which a file that gives no more window is given up (default 300), or that "
        "connecting to a live source, and a frame of it, may take (default 10).",
        lower_bound=0.1,
    )
    flags.DEFINE_integer("top", 5, "Classes that are named.", lower_bound=1)
    flags.DEFINE_string(
        "json", None, "Also writes a record for each video to this file; live, appends lines to it."
    )
    flags.DEFINE_string("csv", None, "Also writes a row for each video to this file.")
    flags.DEFINE_string(
        "timeline", None, "Also writes the scores over time, PNG and CSV, into this new folder."
    )
    flags.DEFINE_string(
        "annotate",
        None,
        "Also writes a copy with the label burnt in: a .mp4 or .avi file, of several videos a new "
        "folder.",
    )
    flags.DEFINE_bool("live", False, "Plays a file at its own speed, as if it came from a camera.")
    flags.DEFINE_float(
        "every",
        None,
        "Live: seconds from one window to the next. Default: windows do not overlap.",
        lower_bound=0,
    )
    flags.DEFINE_integer("smooth", None, "Live: windows that are averaged.", lower_bound=1)
    flags.DEFINE_float("duration", None, "Live: seconds after which it ends.", lower_bound=0)
    flags.DEFINE_float(
        "seconds",
        None,
        "Live: newest seconds that a clip is spread over, for recipes that spread clips.",
        lower_bound=0.1,
    )


def _main(*words: str) -> None:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one predicts
    from keras_r3d.data.annotations import listing

    if not words:
        raise R3DError(
            "Name videos: files, folders, globs, '-' for a list on stdin, an address or the number "
            "of a camera. They come before --fuse and --weights, which take all words after them."
        )
    live = command.value("live") or any(listing.is_live(word) for word in words)
    unfit = _FILES[1:] if live else _LIVE_ONLY
    if given := [name for name in unfit if command.value(name) is not None]:
        kind = "files, not for live sources" if live else "live sources, not for files"
        raise R3DError(f"--{given[0]} is for {kind}.")
    if not live:
        sys.exit(_predict(listing.paths(words, sys.stdin)))
    if len(words) > 1:
        raise R3DError(f"A live source is watched alone. Received: {' '.join(words)}")
    if command.value("fuse"):
        raise R3DError("--fuse is for files: a live source is scored by one model.")
    _watch(words[0])
    sys.exit(0)


def _predict(paths: Sequence[str]) -> int:
    from keras_r3d.inference.prediction.predictions import Predictions

    wanted = {name: command.value(name) for name in _FILES}
    Predictions(paths, (), **wanted)  # what cannot be written is an error before the model is open
    classifier = _open()
    top = command.value("top")
    options = {"top": top, "timeout": command.value("timeout")}
    options = {name: value for name, value in options.items() if value is not None}

    from keras_r3d.inference.prediction import result_table

    return result_table.show(
        classifier.predict(paths, **wanted, **options), classifier.classes, top
    )


def _open() -> "VideoClassifier":
    from keras_r3d.inference.models.opening import Named

    named = Named(*map(command.value, ("workdir", "model", "recipe", "fuse", "weights")))

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.video_classifier import open_named

    classifier = open_named(named, command.value("protocol"), command.value("devices"))
    print(classifier, flush=True)
    return classifier


def _watch(source: str) -> None:
    """Prints the classes of a live source until it ends, the time is over, or a signal comes."""
    classifier = _open()

    from keras_r3d.inference.prediction import result_table

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = {name: command.value(name) for name in (*_LIVE_ONLY, "json", "timeout", "top")}
    options = {name: value for name, value in options.items() if value is not None}
    columns = result_table.terminal_columns()
    began, windows, sighting = time.monotonic(), 0, None
    print("Ctrl-C ends it.", flush=True)
    try:
        for sighting in classifier.watch(source, **options):
            print(result_table.sighting_line(sighting, command.value("top"), columns), flush=True)
            windows += 1
    except KeyboardInterrupt:
        print()
    frames, dropped = (sighting.frames, sighting.dropped) if sighting is not None else (0, 0)
    print(
        f"{windows} windows in {time.monotonic() - began:.1f} s; {frames} frames came, {dropped} "
        "of them in no window."
    )


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[VIDEO…]",), several=("fuse", "weights"))


if __name__ == "__main__":
    main()
