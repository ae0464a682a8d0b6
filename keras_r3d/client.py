"""Names what videos show, asking a server: `python -m keras_r3d.client VIDEO… --url http://…`.

The server is TensorFlow Serving with a model that `python -m keras_r3d.export` wrote.
"""

import os
import sys

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

_SERVER = ("version", "signature", "jpeg_quality", "protocol", "concurrency", "deadline_seconds")


def _define_flags() -> None:
    flags.DEFINE_string(
        "url", None, "Server: http://HOST:8501 or https://… (REST), grpc://HOST:8500 (gRPC)."
    )
    flags.DEFINE_string(
        "model", None, "Name of the model on the server. Default: that of the --export folder."
    )
    flags.DEFINE_integer("version", None, "Of the model. Default: the newest.", lower_bound=0)
    flags.DEFINE_string(
        "workdir", None, "Folder of the run: it says the classes, and how clips are cut."
    )
    flags.DEFINE_string(
        "export", None, "Exported folder NAME/VERSION, or its model.json, which say the same."
    )
    flags.DEFINE_enum(
        "signature",
        "serving_default",
        ["serving_default", "jpeg"],
        "What is sent: the pixels of clips, or their frames as JPEGs, which are smaller.",
    )
    flags.DEFINE_integer(
        "jpeg_quality",
        95,
        "Of --signature jpeg.",
        lower_bound=1,
        upper_bound=100,
    )
    flags.DEFINE_string(
        "protocol", None, "How videos are scored, as `predict` takes it. Default: the recipe's."
    )
    flags.DEFINE_integer("concurrency", 4, "Requests at a time.", lower_bound=1, upper_bound=256)
    flags.DEFINE_float(
        "deadline_seconds", 60.0, "Of a request, with all its retries.", lower_bound=0.01
    )
    flags.DEFINE_integer(
        "retries", 4, "Most of a request, while the server is away or busy.", lower_bound=0
    )
    flags.DEFINE_float(
        "max_message_mib",
        None,
        "Of a request. Default: 4 by gRPC, what servers take that set no limit; 32 by REST.",
        lower_bound=0.001,
    )
    flags.DEFINE_float(
        "timeout",
        300.0,
        "Seconds after which a file that gives no more window is given up.",
        lower_bound=0.1,
    )
    flags.DEFINE_integer("top", 5, "Classes that are named.", lower_bound=1)
    flags.DEFINE_string("json", None, "Also writes a record for each video to this file.")
    flags.DEFINE_string("csv", None, "Also writes a row for each video to this file.")


def _main(*words: str) -> None:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines; one asks
    from keras_r3d.data.annotations import listing
    from keras_r3d.inference.prediction.predictions import Predictions

    if not words:
        raise R3DError("Name videos: files, folders, globs, or '-' for a list on stdin.")
    if live := [word for word in words if listing.is_live(word)]:
        raise R3DError(
            f"{listing.printable(live[0])}: the client sends files. `predict` watches cameras."
        )
    paths = listing.paths(words, sys.stdin)
    wanted = {name: command.value(name) for name in ("json", "csv")}
    Predictions(paths, (), **wanted)  # what cannot be written is an error before a server is asked
    url, workdir, export = map(command.value, ("url", "workdir", "export"))
    if url is None:
        raise R3DError("--url is missing: where the server listens, such as http://localhost:8501.")
    if bool(workdir) == bool(export):
        raise R3DError(
            "Name what the model was exported from, --workdir RUN, or what it was exported to, "
            "--export NAME/VERSION."
        )

    from keras_r3d.inference.prediction import result_table
    from keras_r3d.video_classifier import VideoClassifier

    classifier = VideoClassifier.served(
        url,
        command.value("model"),
        exported_from=workdir or export,
        **{name: command.value(name) for name in (*_SERVER, "retries", "max_message_mib")},
    )
    print(classifier, flush=True)
    top, timeout = command.value("top"), command.value("timeout")
    predictions = classifier.predict(paths, top=top, timeout=timeout, **wanted)
    sys.exit(result_table.show(predictions, classifier.classes, top))


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[VIDEO…]",))


if __name__ == "__main__":
    main()
