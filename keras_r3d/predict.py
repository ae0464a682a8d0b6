"""Names what videos, or a camera, show: `python -m keras_r3d.predict VIDEO… --model RUN`."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.data.annotations import Video

_RULE = "keras_r3d.inference.segments.finding:SegmentRule"
_MODEL = "keras_r3d.inference.models.opening:Named"
_CLASSIFIER = "keras_r3d.video_classifier:VideoClassifier.__init__"
_WATCH = "keras_r3d.video_classifier:VideoClassifier.watch"
_WATCH_SEGMENTS = "keras_r3d.video_classifier:VideoClassifier.watch_segments"
_PREDICT = "keras_r3d.video_classifier:VideoClassifier.predict"
_SEGMENTS = "keras_r3d.video_classifier:VideoClassifier.segments"
_FILES_ONLY = ("csv", "timeline", "annotate", "html")
_LIVE_ONLY = ("every", "duration", "seconds", "smooth")
_UNSAID = {"smooth": 1}  # a default, which says nothing
_NOT_FOR_SEGMENTS = ("annotate", "every", "seconds", "smooth")
_SEGMENTS_ONLY = ("window_seconds", "step", "smoothing", "threshold", "margin", "overlap")


def _main(
    arguments: command.Arguments,
    *,
    segments: bool = False,
    timeout: float | None = None,
    live: bool = False,
) -> int | None:
    """Predicts.

    Args:
        segments: finds when classes happen in long videos, instead of what they are.
        timeout: seconds without a window after which a file is given up (default: 300), or that a
            camera, or a frame of it, may take (default: 10).
        live: plays a file at its own speed, as if it came from a camera.
    """
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one predicts
    from keras_r3d.data.annotations import FRAME_RATE, listing

    words: Sequence[str] = arguments["videos"]
    live = live or any(listing.is_live(word) for word in words)
    unfit = _FILES_ONLY if live else _LIVE_ONLY
    for name in unfit:
        if arguments.get(name) not in (None, _UNSAID.get(name)):
            kind = "files, not for live sources" if live else "live sources, not for files"
            raise R3DError(f"--{name} is for {kind}.")
    if segments:
        for name in _NOT_FOR_SEGMENTS:
            if arguments.get(name) not in (None, _UNSAID.get(name)):
                raise R3DError(f"--{name} is not for --segments.")
    elif given := [name for name in _SEGMENTS_ONLY if arguments.get(name) is not None]:
        raise R3DError(f"--{given[0]} is for --segments.")
    patience = {} if timeout is None else {"timeout": timeout}
    if not live:
        rate = arguments.get("frame_rate", FRAME_RATE)
        videos = listing.videos(words, sys.stdin, frame_rate=rate, say=print)
        return _predict(arguments, videos, patience, segments)
    if len(words) > 1:
        raise R3DError(f"A live source is watched alone. Received: {' '.join(words)}")
    if arguments.get("fuse"):
        raise R3DError("--fuse is for files: a live source is scored by one model.")
    watch = _watch_segments if segments else _watch
    watch(arguments, words[0], patience)
    return None


def _open(arguments: command.Arguments):
    from keras_r3d.inference.models.opening import Named

    named = Named(**{"fuse": ()} | arguments.of(_MODEL))

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.video_classifier import open_named

    classifier = open_named(named, arguments.get("protocol"), arguments["devices"])
    print(classifier, flush=True)
    return classifier


def _predict(
    arguments: command.Arguments,
    videos: "list[Video]",
    patience: dict[str, float],
    segments: bool,
) -> int:
    from keras_r3d.inference.prediction import result_table
    from keras_r3d.inference.prediction.predictions import Predictions

    options = arguments.of(_SEGMENTS if segments else _PREDICT) | patience | {"videos": videos}
    outputs = {name: options[name] for name in ("json", *_FILES_ONLY) if name in options}
    names = [video.name for video in videos]
    Predictions(names, (), **outputs)  # what cannot be written is an error before the model is open
    classifier = _open(arguments)
    several = classifier.thresholds is not None
    if segments:
        from keras_r3d.inference.segments.finding import SegmentRule
        from keras_r3d.inference.segments.segmenting import timed

        options["rule"] = SegmentRule(**arguments.of(_RULE))
        labels = [f"{timed(0, 0)} {label}" for label in classifier.classes]
        return result_table.show(classifier.segments(**options), labels, 0)
    predictions = classifier.predict(**options, **arguments.of(command.SPREAD))
    return result_table.show(predictions, classifier.classes, options["top"], several)


def _watch(arguments: command.Arguments, source: str, patience: dict[str, float]) -> None:
    """Prints the classes of a live source until it ends, the time is over, or a signal comes."""
    classifier = _open(arguments)

    from keras_r3d.inference.prediction import result_table

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments.of(_WATCH) | patience | {"source": source}
    columns = result_table.terminal_columns()
    began, windows, sighting = time.monotonic(), 0, None
    print("Ctrl-C ends it.", flush=True)
    try:
        for sighting in classifier.watch(**options):
            print(result_table.sighting_line(sighting, options["top"], columns), flush=True)
            windows += 1
    except KeyboardInterrupt:
        print()
    frames, dropped = (sighting.frames, sighting.dropped) if sighting is not None else (0, 0)
    print(
        f"{windows} windows in {time.monotonic() - began:.1f} s; {frames} frames came, {dropped} "
        "of them in no window."
    )


def _watch_segments(arguments: command.Arguments, source: str, patience: dict[str, float]) -> None:
    """Prints the segments of a live source as they end, until it ends, or a signal comes."""
    classifier = _open(arguments)

    from keras_r3d.inference.segments.finding import SegmentRule
    from keras_r3d.inference.segments.segmenting import timed

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments.of(_WATCH_SEGMENTS) | patience | {"source": source}
    print("Ctrl-C ends it.", flush=True)
    try:
        for found in classifier.watch_segments(rule=SegmentRule(**arguments.of(_RULE)), **options):
            seconds = timed(found.start_seconds, found.end_seconds)
            told = f"{found.score:6.1%}, {found.delay_seconds:.1f} s ago"
            print(f"{seconds}  {found.label} {told}", flush=True)
    except KeyboardInterrupt:
        print()


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_MODEL, _PREDICT, _SEGMENTS, _WATCH, _WATCH_SEGMENTS, _CLASSIFIER, _RULE, command.SPREAD],
        words=["videos"],
        several=["fuse", "weights"],
        without=["clips", "exported_from", "source", "rule"],
        example="some.mp4 --model runs/few",
    )


if __name__ == "__main__":
    main()
