"""Exporting a run and proving, on its own videos, that the export computes what Keras computes."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_r3d import run_folder
from keras_r3d.data import clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.export import card, destinations, formats, parity, record, source
from keras_r3d.export.formats import Format
from keras_r3d.export.parity import Parity
from keras_r3d.export.record import Record
from keras_r3d.inference.models import classifier, runtimes
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.errors import ExportError, VideoError


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of an export.

    Attributes:
        quantize: one of the format's.
        output: None is a place in the run folder.
        data_dir: where the videos are; None is where they were in training.
        videos: most videos of the evaluated split to compare on, evenly chosen; 0 is all.
        min_agreement: least share of windows in which the export must see the class that Keras
            sees; None is the format's own.
    """

    quantize: str = "none"
    output: Path | None = None
    data_dir: str | None = None
    videos: int = 100
    min_agreement: float | None = None


@dataclasses.dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        path: file or folder.
        parity: how it agrees with Keras.
        record: what `export.json` says.
        described: `export.json` and the model card.
        notes: what else there is to say.
    """

    path: Path
    parity: Parity
    record: Record
    described: tuple[Path, Path]
    notes: Sequence[str]


def export(
    run: Run,
    form: Format,
    request: Request | None = None,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Exported:
    """Exports the best model of a run, loads it again and compares it with Keras.

    Nothing is kept of an export that does not agree.

    Args:
        progress: as `parity.measure` takes it.

    Raises:
        ExportError: the place is taken, the format cannot hold the model, or the export differs
            from Keras by more than it may.
        R3DError: the run has no model, or its videos are gone.
        WriteError: it cannot be written.
    """
    request = request or Request()
    formats.check_quantize(form, request.quantize)
    place = destinations.choose(run, form, request.quantize, request.output)
    # What would be an error in the end is one before videos are looked for.
    run.model_path()
    run_folder.make(place.path.parent)
    files.check_writable(place.path.parent)
    split = run.compared_split if request.data_dir is None else run.recipe.eval.split
    videos, reader = run.open_split(split, request.data_dir)
    videos = parity.evenly(videos, request.videos)
    example = _example(run, videos, reader)
    of_run = source.of_run(run, example, request.data_dir)
    with files.atomic(place.path) as written:
        form.write(of_run, written, request.quantize)
        exported = classifier.of_run(run, form.loaded(written))
        measured = parity.measure(
            *(classifier.of_run(run), exported, reader, videos, split), progress=progress
        )
        _check(measured, form, request)
        signatures = runtimes.load_export(form.loaded(written)).signatures
        said = record.make(of_run, form.name, request.quantize, written, signatures, measured)
        described = place.record(written), place.card(written)
        files.write_json(described[0], said)
        files.write_text(described[1], card.text(of_run, said, place.name))
    described = place.record(place.path), place.card(place.path)
    return Exported(place.path, measured, said, described, form.beside(place.path))


def _example(run: Run, videos: Sequence[Video], reader: Reader) -> np.ndarray:
    """Returns a clip of the first video that can be read."""
    reasons = []
    for video in videos:
        try:
            return clips.middle_clip(reader, video, run.recipe.data).pixels
        except VideoError as error:
            reasons.append(error)
    raise ExportError(
        f"Not one of {len(videos)} videos can be read to compare the export with Keras: "
        f"{reasons[0]}"
    )


def _check(measured: Parity, form: Format, request: Request) -> None:
    """Raises ExportError if an export does not agree."""
    least = request.min_agreement
    if least is None:
        least = form.quantize[request.quantize]
    # Not written as `<` and `>`: a NaN must fail.
    if not measured.agreement >= least:
        raise ExportError(
            f"The export sees the same class as Keras in {measured.agreement:.1%} of the windows, "
            f"and must in {least:.1%} (--min_agreement): it is not kept.\n{measured}"
        )
    if request.quantize == "none" and not measured.largest_difference <= formats.TOLERANCE:
        raise ExportError(
            f"A probability differs from Keras's by more than {formats.TOLERANCE}: the export is "
            f"not kept.\n{measured}"
        )
