"""Writes embeddings of videos: `python -m keras_r3d.features VIDEO… --model RUN`."""

import functools
import os

from keras_r3d.system import command
from keras_r3d.system.progress import Progress

_EXTRACT = "keras_r3d.inference.embeddings.extraction:extract_features"


def _main(arguments: command.Arguments) -> int:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines
    from keras_r3d.inference.embeddings.extraction import extract_features

    with command.resumable():
        extraction = extract_features(
            **arguments.of(_EXTRACT),
            **arguments.of(command.SPREAD),
            progress=Progress("videos"),
            say=functools.partial(print, flush=True),
        )
    print(extraction)
    return int(bool(getattr(extraction.stored, "errors", None)))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_EXTRACT, command.SPREAD],
        words=["videos"],
        aliases={"data": "data_dir", "neighbours": "neighbors"},
        example="VIDEOS --model runs/few --output features.npz --neighbors 5",
    )


if __name__ == "__main__":
    main()
