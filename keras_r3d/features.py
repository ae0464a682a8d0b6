"""Embeddings of videos, and their nearest neighbours: `python -m keras_r3d.features VIDEO…`."""

import functools
import os
import sys

from absl import flags

from keras_r3d.system import command


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Folder of the run whose best model is taken.")
    flags.DEFINE_string("model", None, "Another model: a .keras file.")
    flags.DEFINE_string(
        "recipe", None, "Recipe that says how clips are cut for a --model without a run."
    )
    flags.DEFINE_string("data_dir", None, "Labelled videos: a folder, CSV file or clip store.")
    flags.DEFINE_string("split", None, "Split of the labelled videos. Default: the recipe's.")
    flags.DEFINE_string("output", None, "File of embeddings: .npz or .parquet. Must not exist.")
    flags.DEFINE_enum("per", "video", ["window", "video"], "What has an embedding.")
    flags.DEFINE_string(
        "layer", None, "Layer whose output they are. Default: the one that feeds the classifier."
    )
    flags.DEFINE_string(
        "protocol", None, "How windows and views are placed, as of evaluate. Default: the recipe's."
    )
    flags.DEFINE_float(
        "timeout", 300.0, "Seconds after which a video that gives no more window is given up."
    )
    flags.DEFINE_string("devices", "all", "'all', 'cpu', 'cpu:N' or 'gpu:0,2,…'.")
    flags.DEFINE_integer(
        "neighbours",
        None,
        "Also reports as many nearest neighbours; without VIDEOs, of an --output that is there.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "gallery", None, "File of embeddings in which neighbours are searched. Default: --output."
    )
    flags.DEFINE_bool(
        "probe", False, "Fits a linear classifier to the --gallery and tries it on --output."
    )


def _main(*videos: str) -> None:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines
    from keras_r3d.inference.embeddings.extraction import extract_features

    names = ["output", "workdir", "model", "recipe", "data_dir", "split", "per", "layer"]
    names += ["protocol", "timeout", "devices", "neighbours", "gallery", "probe"]
    with command.going_on():
        extraction = extract_features(
            videos,
            progress=command.Progress("videos"),
            say=functools.partial(print, flush=True),
            **{name: command.value(name) for name in names},
        )
    print(extraction)
    if extraction.stored and extraction.stored.errors:
        sys.exit(1)


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("[VIDEO…]",))
