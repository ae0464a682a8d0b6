"""Exporting a model: written, loaded again, compared with Keras on videos, and described."""

import dataclasses
import itertools
import math
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_r3d import run_folder
from keras_r3d._version import __version__
from keras_r3d.applications import Metadata, read_metadata
from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.labels import rarest
from keras_r3d.data.clips import windows as cut_windows
from keras_r3d.export import card, formats, parity
from keras_r3d.export.formats import Format, Source
from keras_r3d.export.parity import Parity
from keras_r3d.export.saved_model import saved_model
from keras_r3d.inference.evaluation.split import Split, open_split
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.opening import Opened
from keras_r3d.inference.models.runtimes.loaders import EXTRA
from keras_r3d.recipe import Clips, to_dict
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError, VideoError
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown

_CALIBRATION_CLIPS = 100  # docs/export.md has what fewer and more of them do
# Largest difference of a probability that counts as the same (float32, another order of sums).
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Exported:
    """A finished export; printed, it is a report of a few lines."""

    path: Path  # file or folder
    parity: Parity
    record: dict[str, Any]  # what `export.json` says
    described: tuple[Path, Path]  # `export.json` and the model card
    notes: Sequence[str]  # what else there is to say, in sentences

    def __str__(self) -> str:
        size, keras_size = self.record["bytes"], self.record["source"]["model_bytes"]
        written = f"Written: {self.path} ({size / 1e6:.1f} MB; Keras {keras_size / 1e6:.1f} MB)"
        described = f"Described in {self.described[0]}, {self.described[1]}"
        return shown("\n".join([written, str(self.parity), described, *self.notes]))


def export(
    opened: Opened,
    form: str,
    output: str | os.PathLike[str] | None = None,
    *,
    quantize: str | None = None,
    data: str | os.PathLike[str] | None = None,
    split: str | None = None,
    videos: int = 100,
    min_agreement: float | None = None,
    litert: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Exports a Keras model, loads it again and keeps it only if it agrees with Keras on videos.

    Arguments and errors are those of `VideoClassifier.export`.
    """
    chosen = formats.get_format(form, quantize)
    quantize = quantize or chosen.default
    model, run = opened.classifier, opened.run
    if litert is not None and form != "web":
        raise ExportError(f"`litert` is for `form` web. Received: {form}")
    if run is None and (data is None or output is None):
        raise ExportError(
            f"{model.name} is of no run: pass `data`, labeled videos to compare the export with "
            "Keras on, and `output`, where it goes."
        )
    path = _place(opened, chosen, quantize, None if output is None else outputs.local(output))
    new = [path, *_descriptions(chosen, path, path)]
    if chosen.versioned:
        new += [path.parent / name for name in saved_model.BESIDE]
    with files.all_or_none(path.parent, new):
        # What would be an error in the end is one before videos are looked for.
        files.check_writable(path.parent)
        network, metadata = _network(opened)
        data_dir = None if data is None else os.fspath(data)
        if split is None and run is not None and data is None:
            split = run.compared_split
        side = open_split(opened, data_dir, split)
        side = dataclasses.replace(side, videos=parity.choose_evenly(side.videos, videos))

        def calibration() -> list[np.ndarray]:
            train = open_split(opened, data_dir, "train")
            return example_clips(train, model.clips, _CALIBRATION_CLIPS, print)

        example = example_clips(side, model.clips, 1, lambda _: None)[0]
        source = Source(network, metadata, example, calibration, litert)
        with files.atomic(path) as written:
            notes = list(chosen.write(source, written, quantize))
            loaded = runtimes.load_export(written / chosen.model)
            score = loaded.score(model.eval.batch_size)
            exported = dataclasses.replace(model, name=str(path), score=score, network=None)
            measured = parity.measure(model, exported, side, progress)
            _check(measured, chosen, quantize, min_agreement)
            record = {
                "format": form,
                "quantize": quantize,
                "source": _origin(opened, network),
                "versions": {
                    "keras_r3d": __version__,
                    **{module.__name__: module.__version__ for module in (tf, keras, np)},
                    "python": platform.python_version(),
                },
                **_contents(written),
                "signatures": dict(loaded.signatures),
                "parity": measured.as_json(),
            }
            name = "/".join(path.parts[-2:]) if chosen.versioned else path.name
            json_path, card_path = _descriptions(chosen, path, written)
            files.write_json(json_path, record)
            files.write_text(card_path, card.text(opened, source, record, side.name, name))
        if chosen.versioned:
            notes += saved_model.write_beside(path.parent, path.parent.name)
        outputs.publish(new)
        return Exported(path, measured, record, _descriptions(chosen, path, path), notes)


def _place(opened: Opened, form: Format, quantize: str, output: Path | None) -> Path:
    """Returns where an export goes; raises ExportError if it cannot be there, or is already."""
    if output is None:
        assert opened.run is not None  # `export` has seen to it
        variant = "" if quantize == form.default else f"-{quantize}"
        name = opened.run.name if form.versioned else "model" if form.suffix else form.name
        output = opened.run.path / run_folder.EXPORT / f"{name}{variant}{form.suffix}"
    if form.versioned:
        if output.name in ("", ".."):
            output = Path(os.path.abspath(output))
        saved_model.check_name(output.name)
        names = outputs.sizes(output)
        if "" in names:
            raise ExportError(f"`output` {output} is a file; choose a folder.")
        for name in saved_model.BESIDE:
            outputs.fetch(output / name)
        # The next free version, as TensorFlow Serving counts.
        return output / str(max((int(name) for name in names if name.isdecimal()), default=0) + 1)
    if output.suffix != form.suffix and form.suffix:
        raise ExportError(f"`output` must end in {form.suffix}. Received: {output}")
    for path in (output, *_descriptions(form, output, output)):
        files.check_new(path, "output", ExportError)
    return output


def _descriptions(form: Format, path: Path, written: Path) -> tuple[Path, Path]:
    """Returns where `export.json` and the model card of an export go.

    It is at `written` at the moment, and is put at `path` when it is complete.
    """
    if form.suffix:
        return path.with_name(f"{path.name}.export.json"), path.with_name(f"{path.name}.md")
    folder = written / EXTRA if form.versioned else written
    return folder / "export.json", folder / "README.md"


def _network(opened: Opened) -> tuple[keras.Model, Metadata]:
    """Returns the network, if it can be exported, and what its export is to say of itself."""
    model = opened.classifier
    metadata = read_metadata(model.network) if model.network is not None else None
    if model.network is None or metadata is None or not metadata.normalises:
        raise ExportError(
            f"{model.name} must be a network of keras_r3d that normalizes its input itself "
            "(include_preprocessing=True), as a training writes it."
        )
    tables = metadata.recipe if opened.run is None else to_dict(opened.run.recipe)
    clips = {"clips": as_dict(model.clips), "eval": as_dict(model.eval)}
    tables = {**(tables or {}), **clips}
    return model.network, dataclasses.replace(metadata, labels=tuple(model.classes), recipe=tables)


def _check(measured: Parity, form: Format, quantize: str, least: float | None) -> None:
    """Raises ExportError if an export does not agree."""
    if least is None:
        least = form.quantize[quantize]
    # Not written as `<` and `>`: a NaN must fail.
    if not measured.agreement >= least:
        raise ExportError(
            f"The export sees the same class as Keras in {measured.agreement:.1%} of the windows, "
            f"and must in {least:.1%} (`min_agreement`): it is not kept.\n{measured}"
        )
    if quantize == "none" and not measured.largest_difference <= _TOLERANCE:
        raise ExportError(
            f"A probability differs from Keras's by more than {_TOLERANCE}: the export is not "
            f"kept.\n{measured}"
        )


def _origin(opened: Opened, network: keras.Model) -> dict[str, Any]:
    """Returns where a model is from, for `export.json`; no hash of one that is in no file."""
    name, path = opened.classifier.name, Path(opened.classifier.name)
    in_file = path.is_file()
    return {
        "run": None if opened.run is None else opened.run.name,
        "model": path.name if in_file else name,
        "model_sha256": files.sha256(path) if in_file else None,
        "model_bytes": path.stat().st_size if in_file else 4 * network.count_params(),
    }


def _contents(path: Path) -> dict[str, Any]:
    """Returns size and hash of a file, or of all files in a folder by their path in it."""
    folder = path.is_dir()
    contents = {
        file.relative_to(path).as_posix() if folder else "": {
            "bytes": file.stat().st_size,
            "sha256": files.sha256(file),
        }
        for file in (sorted(filter(Path.is_file, path.rglob("*"))) if folder else [path])
    }
    return {"bytes": sum(file["bytes"] for file in contents.values()), "files": contents}


def example_clips(
    side: Split, clips: Clips, count: int, say: Callable[[str], None]
) -> list[np.ndarray]:
    """Cuts clips of videos, uint8 `(frames, height, width, channels)` each, as an evaluation does.

    At most `count`, of all classes alike, evenly; several of each video where there are fewer. The
    same videos give the same clips. A video that cannot be read is replaced by the next; `say`
    takes a line about these. ExportError if none can be read.
    """
    broken: list[str] = []

    def windows() -> Iterator[np.ndarray]:
        each = math.ceil(count / max(1, len(side.videos)))
        for video in spread(side.videos):
            try:
                for window in cut_windows(side.reader, video, clips, each):
                    yield window.pixels[0]
            except VideoError as error:
                broken.append(str(error))

    examples = list(itertools.islice(windows(), count))
    if not examples:
        raise ExportError(
            f"None of the {len(side.videos)} videos of split '{side.name}' can be read, "
            f"for clips to calibrate on or to try: {broken[:1]} Pass `data` with their place."
        )
    if broken:
        say(f"{len(broken)} videos cannot be read to calibrate on, and are left out: {broken[0]}")
    return examples


def spread(videos: Sequence[Video]) -> list[Video]:
    """Returns the videos so ordered that the first few are of all classes, far apart in each."""
    by_class: dict[str, list[Video]] = {}
    for label, video in zip(rarest(videos), videos, strict=True):
        by_class.setdefault(label, []).append(video)
    ranked = [
        (rank, label, members[place])
        for label, members in by_class.items()
        for rank, place in enumerate(_far_apart(len(members)))
    ]
    return [video for _, _, video in sorted(ranked, key=lambda row: row[:2])]


def _far_apart(count: int) -> list[int]:
    """Returns 0, …, count - 1 ordered by their binary digits read backwards: 0 4 2 6 1 5 3 7."""
    digits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda place: f"{place:0{digits}b}"[::-1])
