"""Embeddings of videos, and their nearest neighbours: `python -m keras_r3d.features VIDEO…`."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from keras_r3d.system import command, files
from keras_r3d.system.errors import R3DError

if TYPE_CHECKING:
    from keras_r3d.inference.evaluation.split import Split
    from keras_r3d.inference.models.classifier import Classifier
    from keras_r3d.inference.models.opening import Opened

_MOST_NAMED = 10  # videos of a kind


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


def _main(*words: str) -> None:
    os.environ.pop("TF_CONFIG", None)  # of a training on several machines
    from keras_r3d.inference.embeddings import feature_file

    if not command.value("output"):
        raise R3DError("--output is missing: the file of embeddings, .npz or .parquet.")
    output = Path(command.value("output"))
    feature_file.check_suffix(output)
    gallery, neighbours = command.value("gallery"), command.value("neighbours")
    if gallery and not (neighbours or command.value("probe")):
        raise R3DError("--gallery is for --neighbours K or --probe: name what to do with it.")
    if command.value("probe") and not gallery:
        raise R3DError("--probe needs the embeddings to fit to: --gallery TRAIN.npz.")
    reports = _reports(output, gallery and Path(gallery))
    if neighbours:
        for path in reports:
            if path.exists():
                raise R3DError(f"{path} exists and is left as it is: move it away first.")
    failed = 0
    labelled = command.value("data_dir") or command.value("split")
    if words or labelled:
        if words and labelled:
            raise R3DError("Name VIDEOs, or labelled ones with --data_dir and --split; not both.")
        with command.going_on():
            failed = _extract(words, output)
    elif not (neighbours or command.value("probe")):
        raise R3DError("Name VIDEOs (files, folders, globs), or labelled ones with --data_dir.")
    if neighbours or command.value("probe"):
        _compare(output, gallery and Path(gallery), neighbours, reports)
    if failed:
        sys.exit(1)


def _extract(words: Sequence[str], output: Path) -> int:
    """Writes the embeddings; returns how many videos have none."""
    if output.exists():
        raise R3DError(f"--output {output} exists and is left as it is: choose another file.")
    if not output.parent.is_dir():
        raise R3DError(f"--output {output}: there is no folder {output.parent}.")
    from keras_r3d.data import annotations
    from keras_r3d.data.annotations import listing

    # A wrong name is said before TensorFlow is loaded.
    listed = listing.paths(words, sys.stdin)
    paths = list(dict.fromkeys(os.path.abspath(path) for path in listed))
    nameless = [path for path in paths if not annotations.is_text(path)]
    paths = [path for path in paths if annotations.is_text(path)]

    from keras_r3d.inference.models import opening

    named = opening.Named(*map(command.value, ("workdir", "model", "recipe")))

    from keras_r3d.inference.embeddings import feature_parts, features
    from keras_r3d.inference.models import protocol
    from keras_r3d.system.devices import choose

    devices = command.value("devices")
    (opened,) = opening.open_models(named, command.value("protocol"), devices)
    found = _videos(opened, paths if words else None)
    model, layer = features.embedder(opened.classifier, command.value("layer"), choose(devices))
    per = command.value("per")
    request = _request(model, layer, per)
    of_one = {"window": "each window", "video": "the mean of its windows"}[per]
    placed = protocol.described(model.data, model.eval).rpartition("; ")[0]
    print(
        f"{model.name}: layer '{layer}', {len(model.classes)} numbers, {of_one}; {placed}",
        flush=True,
    )
    folder = output.with_name(f"{output.name}.parts")
    try:
        with feature_parts.opened(folder, request) as parts:
            _say_known(parts, found.videos)
            errors = features.extract(
                *(model, found.reader, found.videos, parts),
                per=per,
                timeout=command.value("timeout"),
                progress=command.Progress("videos"),
            )
            for path in nameless:
                shown = os.fsencode(path).decode(errors="backslashreplace")
                errors[shown] = f"{shown}: its name is not UTF-8: rename it."
            where = {"data_dir": found.data or None, "split": found.name or None}
            rows = features.join(parts, found.videos, output, errors, not words, request | where)
            partial = parts.details(found.videos, "partial")
            parts.remove()
    except features.InterruptedExtraction as error:
        print(error, flush=True)
        sys.exit(command.INTERRUPTED)
    embedded = len(found.videos) + len(nameless) - len(errors)
    print(f"Written: {output}: {rows} embeddings of {embedded} videos")
    _name_some("partial, what decodes is used", partial)
    _name_some("without embedding", errors)
    return len(errors)


def _videos(opened: "Opened", paths: Sequence[str] | None) -> "Split":
    """Returns the videos that are named, or labelled ones."""
    from keras_r3d.data import opening
    from keras_r3d.data.annotations import Video
    from keras_r3d.inference.evaluation.split import Split, open_split

    data_dir, split = command.value("data_dir"), command.value("split")
    if paths is None:
        return open_split(opened, data_dir, split)
    reader = opening.file_reader(paths, opened.classifier.data)
    return Split([Video(path, "") for path in paths], reader, "", "")


def _request(model: "Classifier", layer: str, per: str) -> dict[str, Any]:
    """Returns what embeddings are of: those of another one are not mixed with them."""
    import keras
    import tensorflow as tf

    from keras_r3d._version import __version__

    return {
        "model": os.path.abspath(model.name),
        "model_sha256": files.sha256(model.name),
        "layer": layer,
        "dimension": len(model.classes),
        "per": per,
        "data": dataclasses.asdict(model.data),
        "windows": model.eval.windows,
        "views": model.eval.views,
        "versions": {
            "keras_r3d": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def _say_known(parts: Any, videos: Sequence[Any]) -> None:
    """Says what an earlier start finished, and what of it is no longer named."""
    if not len(parts):
        return
    names = {video.name for video in videos}
    known = sum(name in names for name in parts.names())
    print(f"{known} of {len(videos)} videos are finished already, in {parts.folder}.", flush=True)
    gone = {name: "" for name in parts.names() if name not in names}
    _name_some("finished by an earlier start, but no longer named: left out", gone)


def _name_some(what: str, details: dict[str, str]) -> None:
    if not details:
        return
    print(f"{len(details)} videos {what}:")
    for name, detail in list(details.items())[:_MOST_NAMED]:
        print(f"  {detail or name}")
    if len(details) > _MOST_NAMED:
        print(f"  … and {len(details) - _MOST_NAMED} more")


def _reports(output: Path, gallery: Path | None) -> tuple[Path, Path]:
    """Returns the paths of the CSV file and the picture of the neighbours."""
    name = f"{output.stem}.neighbours" + (f"_in_{gallery.stem}" if gallery else "")
    return output.with_name(f"{name}.csv"), output.with_name(f"{name}.png")


def _compare(
    output: Path, gallery: Path | None, neighbours: int | None, reports: tuple[Path, Path]
) -> None:
    """Writes the nearest neighbours, and says how many have the same label; fits the probe."""
    from keras_r3d.inference.embeddings import feature_file, neighbor_sheet, probe
    from keras_r3d.inference.embeddings import neighbors as nearest

    queries = feature_file.read(output)
    others = feature_file.read(gallery) if gallery else queries
    if neighbours:
        found = nearest.find(queries, others, neighbours)
        if found.figures is not None:
            print(nearest.table(found.figures))
        nearest.write_csv(found, reports[0])
        figure = neighbor_sheet.sheet(found)
        with files.atomic(reports[1]) as temporary:
            figure.savefig(temporary, dpi=100)
        print(f"Written: {reports[0]}, {reports[1]}")
    if command.value("probe"):
        print(probe.table(probe.probe(others, queries)))


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("[VIDEO…]",))
