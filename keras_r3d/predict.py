"""Names what videos show: `python -m keras_r3d.predict --workdir RUN VIDEO…`."""

import datetime
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.scoring import Scored
    from keras_r3d.inference.models.classifier import Classifier
    from keras_r3d.inference.prediction.watching import Sighting

_FILES_ONLY = ("csv", "timeline", "annotate")
_LIVE_ONLY = ("every", "duration", "seconds", "smooth")
_TIMEOUT, _LIVE_TIMEOUT = 300.0, 10.0  # seconds


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
    unfit = _FILES_ONLY if live else _LIVE_ONLY
    if given := [name for name in unfit if command.value(name) is not None]:
        kind = "files, not for live sources" if live else "live sources, not for files"
        raise R3DError(f"--{given[0]} is for {kind}.")
    if not live:
        sys.exit(_predict_files(listing.paths(words, sys.stdin)))
    if len(words) > 1:
        raise R3DError(f"A live source is watched alone. Received: {' '.join(words)}")
    if command.value("fuse"):
        raise R3DError("--fuse is for files: a live source is scored by one model.")
    _predict_live(words[0])
    sys.exit(0)


def _open() -> "list[Classifier]":
    """Opens the model that the flags name, or the models that are fused."""
    from keras_r3d.inference.models import opening

    named = opening.Named(*map(command.value, ("workdir", "model", "recipe", "fuse")))

    from keras_r3d.inference.models import protocol

    opened = opening.open_models(named, command.value("protocol"), command.value("devices"))
    models = [one.classifier for one in opened]
    for model in models:
        how = protocol.described(model.data, model.eval)
        print(f"{model.name} ({model.described}): {how}", flush=True)
    return models


def _predict_files(paths: Sequence[str]) -> int:
    """Predicts video files; returns the exit code."""
    from keras_r3d.inference.prediction import output_files, predicting

    top, timeout = command.value("top"), command.value("timeout") or _TIMEOUT
    wanted = {name: command.value(name) for name in output_files.KINDS}
    outputs = output_files.PredictionFiles(
        {name: Path(path) for name, path in wanted.items() if path}, paths, top, timeout
    )
    opened = _open()
    scored = _scored(opened, paths, timeout)
    return predicting.show(scored, paths, opened[0].classes, top, outputs)


def _scored(
    opened: "Sequence[Classifier]", paths: Sequence[str], timeout: float
) -> "Iterator[Scored]":
    """Returns the scores of videos, by one model or by several together."""
    from keras_r3d.data.annotations import Video
    from keras_r3d.data.opening import file_reader
    from keras_r3d.inference.evaluation import fusion, scoring

    videos = [Video(path, "") for path in paths]
    classes = [one.classes for one in opened]
    weights: list[float] = []
    if len(opened) > 1 or command.value("fuse"):
        runs = command.value("fuse")
        weights = fusion.parse_weights(command.value("weights"), len(runs))
        fusion.check(classes, runs, weights)
    elif command.value("weights"):
        raise R3DError("--weights is for --fuse.")
    streams = [
        scoring.score(one, file_reader(paths, one.data), videos, timeout=timeout) for one in opened
    ]
    return fusion.fuse(streams, classes, weights) if weights else streams[0]


def _predict_live(word: str) -> None:
    """Predicts a live source until it ends, the time is over, or a signal comes."""
    from keras_r3d.data.decoding import live
    from keras_r3d.inference.prediction import watching

    (opened,) = _open()
    shape = watching.shape(opened, command.value("seconds"))
    stopped = threading.Event()

    def stop(*_: Any) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second time at once

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    watching.warm_up(opened, shape)
    timeout = command.value("timeout") or _LIVE_TIMEOUT
    source = live.Source(word, shape, timeout)
    began, duration = time.monotonic(), command.value("duration")
    windows = dropped = 0
    print(f"{source.name}: Ctrl-C ends it.", flush=True)
    sightings = watching.watch(
        opened,
        source,
        shape,
        every=command.value("every"),
        smooth=command.value("smooth") or 1,
        stopped=lambda: (
            stopped.is_set() or (duration is not None and time.monotonic() - began >= duration)
        ),
        say=lambda text: print(text, flush=True),
    )
    try:
        for seen in sightings:
            _show(seen)
            windows, dropped = windows + 1, seen.dropped
    finally:
        source.stop()
    seconds = time.monotonic() - began
    if not windows and not stopped.is_set():
        raise R3DError(
            f"{source.name}: no window was scored: {source.frames} frames came in {seconds:.1f} s."
        )
    print(
        f"{windows} windows in {seconds:.1f} s; {source.frames} frames came, {dropped} of them "
        "in no window."
    )


def _show(seen: "Sighting") -> None:
    """Prints the classes of a window, and appends them to the JSON lines."""
    from keras_r3d.inference.prediction import result_table

    now = datetime.datetime.now().astimezone()
    record = seen.record(command.value("top"), now)
    print(result_table.of_record(record, now, result_table.terminal_columns()), flush=True)
    if path := command.value("json"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[VIDEO…]",), several=("fuse", "weights"))


if __name__ == "__main__":
    main()
