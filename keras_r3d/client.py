"""Names what videos show, asking a server: `python -m keras_r3d.client VIDEO… --url http://…`.

The server is TensorFlow Serving with a model that `python -m keras_r3d.export` wrote.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.inference.models.classifier import Classifier


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

    if not words:
        raise R3DError("Name videos: files, folders, globs, or '-' for a list on stdin.")
    if live := [word for word in words if listing.is_live(word)]:
        raise R3DError(
            f"{listing.printable(live[0])}: the client sends files. `predict` watches cameras."
        )
    sys.exit(_ask(listing.paths(words, sys.stdin)))


def _ask(paths: Sequence[str]) -> int:
    """Asks a server for the classes of video files; returns the exit code."""
    from keras_r3d.data.annotations import Video
    from keras_r3d.data.opening import file_reader
    from keras_r3d.inference.evaluation import scoring
    from keras_r3d.inference.prediction import output_files, predicting

    top, timeout = command.value("top"), command.value("timeout")
    wanted = {name: command.value(name) for name in ("json", "csv")}
    outputs = output_files.PredictionFiles(
        {name: Path(path) for name, path in wanted.items() if path}, paths, top, timeout
    )
    if command.value("url") is None:
        raise R3DError("--url is missing: where the server listens, such as http://localhost:8501.")
    opened = _open()
    reader = file_reader(paths, opened.data)
    videos = [Video(path, "") for path in paths]
    scored = scoring.score(opened, reader, videos, timeout=timeout)
    return predicting.show(scored, paths, opened.classes, top, outputs)


def _open() -> "Classifier":
    """Asks the server for the model that the flags name."""
    from keras_r3d.inference.models import protocol
    from keras_r3d.serving import remote, server

    classes, experiment, said, name = _known()
    model = command.value("model") or name
    if not model:
        raise R3DError("--model is missing: the name of the model on the server.")
    experiment = recipe.override(experiment, protocol.overrides(command.value("protocol")))
    most_mib = command.value("max_message_mib")
    manner = remote.Manner(
        signature=command.value("signature"),
        quality=command.value("jpeg_quality"),
        concurrency=command.value("concurrency"),
        deadline_seconds=command.value("deadline_seconds"),
        retries=command.value("retries"),
        most_bytes=int(most_mib * 2**20) if most_mib else None,
    )
    connected = server.connect(command.value("url"), model, command.value("version"))
    opened = remote.classifier(connected, manner, classes, experiment.data, experiment.eval, said)
    how = protocol.described(opened.data, opened.eval)
    print(f"{opened.name} ({opened.described}): {how}", flush=True)
    return opened


def _known() -> tuple[Sequence[str], recipe.Recipe, str, str | None]:
    """Returns classes, recipe, where they are from in words, and the name of an exported model."""
    from keras_r3d.serving import remote

    workdir, export = command.value("workdir"), command.value("export")
    if bool(workdir) == bool(export):
        raise R3DError(
            "Name what the model was exported from, --workdir RUN, or what it was exported to, "
            "--export NAME/VERSION."
        )
    classes, experiment, said = remote.known_of(workdir or export)
    name = Path(export).absolute().parent.name if export and Path(export).is_dir() else None
    return classes, experiment, said, name


def main() -> None:
    """Entry point of the command."""
    command.run(_define_flags, _main, arguments=("[VIDEO…]",))


if __name__ == "__main__":
    main()
