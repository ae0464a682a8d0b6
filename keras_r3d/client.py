"""Names what videos show, asking a server: `python -m keras_r3d.client VIDEO… --url http://…`.

The server is TensorFlow Serving with a model that `python -m keras_r3d.export` wrote.
"""

import os
import sys

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

_SERVED = "keras_r3d.video_classifier:VideoClassifier.served"
_PREDICT = "keras_r3d.video_classifier:VideoClassifier.predict"


def _main(
    arguments: command.Arguments, *, timeout: float = 300.0, workdir: str | None = None
) -> int:
    """Predicts.

    Args:
        timeout: seconds after which a file that gives no more window is given up.
        workdir: the run the model was exported from, instead of --export.
    """
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one asks
    from keras_r3d.data.annotations import FRAME_RATE, listing
    from keras_r3d.inference.prediction.predictions import Predictions

    words = arguments["videos"]
    if live := [word for word in words if listing.is_live(word)]:
        raise R3DError(
            f"{listing.printable(live[0])}: the client sends files. `predict` watches cameras."
        )
    rate = arguments.get("frame_rate", FRAME_RATE)
    videos = listing.videos(words, sys.stdin, frame_rate=rate, say=print)
    options = arguments.of(_PREDICT) | {"videos": videos, "timeout": timeout}
    outputs = {name: options[name] for name in ("json", "csv") if name in options}
    names = [video.name for video in videos]
    Predictions(names, (), **outputs)  # what cannot be written is an error before a server is asked
    server = arguments.of(_SERVED)
    if "url" not in server:
        raise R3DError("`url` is missing: where the server listens, such as http://localhost:8501.")
    if bool(workdir) == ("exported_from" in server):
        raise R3DError(
            "Name what the model was exported from, --workdir RUN, or what it was exported to, "
            "--export NAME/VERSION."
        )

    from keras_r3d.inference.prediction import result_table
    from keras_r3d.video_classifier import VideoClassifier

    classifier = VideoClassifier.served(**{"exported_from": workdir} | server)
    print(classifier, flush=True)
    several = classifier.thresholds is not None
    predictions = classifier.predict(**options)
    return result_table.show(predictions, classifier.classes, options["top"], several)


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_SERVED, _PREDICT],
        words=["videos"],
        names={"exported_from": "export"},
        without=["timeline", "annotate", "html"],
        example="some.mp4 --url grpc://localhost:8500 --export demo/1",
    )


if __name__ == "__main__":
    main()
