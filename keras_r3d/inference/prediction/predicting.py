"""Predicting many videos: a table on the screen, as they come, and files beside it."""

import sys
from collections.abc import Iterable, Sequence

from keras_r3d.inference.evaluation.scoring import Scored
from keras_r3d.inference.prediction import prediction, result_table
from keras_r3d.inference.prediction.output_files import PredictionFiles


def show(
    scored: Iterable[Scored],
    paths: Sequence[str],
    classes: Sequence[str],
    top: int,
    outputs: PredictionFiles,
) -> int:
    """Prints and writes the classes of videos.

    Args:
        scored: the videos of `paths`, in their order.
        top: classes that are named.

    Returns:
        The exit code: 1 if a video has no score, or something that was wanted could not be written.

    Raises:
        ArgumentError, WriteError: as `outputs`. Of this, and of whatever else ends it before its
            time, the videos that are done are kept, and it is said where.
    """
    outputs.begin()
    table = result_table.Table(paths, classes, result_table.terminal_columns())
    print(table.heading())
    complete = True
    try:
        for one in scored:
            found = prediction.of_scored(one, classes)
            print("\n".join(table.of_prediction(found, top)), flush=True)
            for lacking in outputs.add(found):
                print(f"  {lacking}")
                complete = False
    except BaseException:  # also Ctrl-C and SIGTERM, which are no `Exception`
        if outputs.statuses and (kept := outputs.save()):
            print(
                f"\nNot finished: {len(outputs.statuses)} of {len(paths)} videos are in "
                f"{', '.join(map(str, kept))}. The same command begins anew, and replaces them.",
                file=sys.stderr,
            )
        raise
    print(result_table.total(outputs.statuses))
    for path in outputs.finish():
        print(f"Written: {path}")
    return int(not complete or "error" in outputs.statuses)
