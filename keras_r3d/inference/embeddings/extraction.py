"""Embeddings of videos from a model's name to a file, their neighbors and a probe.

Importing this loads neither Keras nor TensorFlow, so that wrong names are said at once.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from keras_r3d.data import annotations
from keras_r3d.data.annotations import FRAME_RATE, listing
from keras_r3d.inference.embeddings import feature_file
from keras_r3d.inference.models import opening
from keras_r3d.system import cluster, files
from keras_r3d.system.errors import ArgumentError, check_range
from keras_r3d.system.objects import outputs
from keras_r3d.system.text import shown
from keras_r3d.system.work import Share, Spread, Spreading

if TYPE_CHECKING:
    from keras_r3d.inference.embeddings.features import StoredFeatures
    from keras_r3d.inference.embeddings.neighbors import Neighbors
    from keras_r3d.inference.embeddings.probe import Probed


@dataclasses.dataclass(frozen=True)
class Extraction:
    """What was computed. Printed, it is a report.

    Attributes:
        stored: the embeddings that were written, or a share of them; None where they were there.
        neighbors: None where they were not asked for.
        reports: files of the neighbors.
        probed: None where no probe was asked for.
    """

    stored: "StoredFeatures | Share | None"
    neighbors: "Neighbors | None"
    reports: Sequence[Path]
    probed: "Probed | None"

    def __str__(self) -> str:
        lines = [] if self.stored is None else [str(self.stored)]
        if self.neighbors is not None:
            lines += [] if self.neighbors.figures is None else [str(self.neighbors.figures)]
            lines.append(f"Written: {', '.join(map(shown, self.reports))}")
        return "\n".join([*lines, *([] if self.probed is None else [str(self.probed)])])


@cluster.spread
def extract_features(
    videos: Sequence[str] = (),
    *,
    output: str | None = None,
    workdir: str | None = None,
    model: str | None = None,
    recipe: str | None = None,
    data_dir: str | None = None,
    split: str | None = None,
    per: Literal["window", "video"] = "video",
    layer: str | None = None,
    protocol: str | None = None,
    frame_rate: float = FRAME_RATE,
    timeout: float = 300.0,
    devices: str = "all",
    neighbors: int | None = None,
    gallery: str | None = None,
    probe: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda _: None,
    **spread: Unpack[Spreading],
) -> Extraction:
    """Writes embeddings of videos to a file, finds their nearest neighbors, and fits a probe.

    Args:
        videos: files, folders, lists and globs; "-" reads paths from stdin. Without any, labeled
            videos are meant (`data_dir`, `split`), or an `output` that is there.
        output: file of embeddings, .npz or .parquet. Must not exist if there are videos.
        workdir: the run that a model file is of; alone, as `model`.
        model: folder of a run, whose best model is taken, or a .keras file.
        recipe: says how clips are cut for a `model` without a run.
        data_dir: labeled videos: a folder, CSV file or clip store.
        split: of the labeled videos; None is the recipe's.
        per: what has an embedding.
        layer: whose output they are; None is the one that feeds the classifier.
        protocol: how windows and views are placed, as of evaluate; None is the recipe's.
        frame_rate: of `videos` that are folders of pictures, in frames a second.
        timeout: seconds after which a video that gives no more window is given up.
        devices: 'all', 'cpu', 'cpu:N' or 'gpu:0,2,…'.
        neighbors: also reports as many nearest neighbors.
        gallery: file of embeddings in which neighbors are searched; None is `output`.
        probe: fits a linear classifier to the gallery and tries it on `output`.
        progress: takes the number of videos done, and of all.
        say: takes what there is to say before the work begins.
        spread: as of `keras_r3d.data.prepare_store`, for the embeddings.

    Raises:
        R3DError: an argument is wrong, no video can be read, or a file cannot be written.
    """
    spreading = Spread(**spread)
    check_range(1, neighbors=neighbors)
    check_range(0.1, timeout=timeout)
    if not output:
        raise ArgumentError("`output` is missing: the file of embeddings, .npz or .parquet.")
    path, other = (
        outputs.local(output),
        Path(outputs.fetched(gallery, "gallery")) if gallery else None,
    )
    feature_file.check_suffix(path)
    if other and not (neighbors or probe):
        raise ArgumentError("`gallery` is for `neighbors` or `probe`: name what to do with it.")
    if probe and not other:
        raise ArgumentError("`probe` needs the embeddings to fit to: pass `gallery`, TRAIN.npz.")
    name = f"{path.stem}.neighbors" + (f"_in_{other.stem}" if other else "")
    reports = [path.with_name(f"{name}{suffix}") for suffix in (".csv", ".png") if neighbors]
    for report in reports:
        files.check_new(report, "output")
    labeled = bool(data_dir or split)
    if videos and labeled:
        raise ArgumentError("Name `videos`, or labeled ones by `data_dir` and `split`; not both.")
    if not (videos or labeled or neighbors or probe):
        raise ArgumentError("Name `videos` (files, folders, globs), or labeled ones by `data_dir`.")
    stored = None
    if videos or labeled:
        feature_file.check_new(path)
        listed = [
            dataclasses.replace(video, path=annotations.absolute(video.path))
            for video in listing.videos(videos, sys.stdin, frame_rate=frame_rate, say=say)
        ]
        named_videos = [video for video in listed if annotations.is_text(video.path)]
        nameless = [listing.printable(v.name) for v in listed if not annotations.is_text(v.path)]
        named = opening.Named(model=model, workdir=workdir, recipe=recipe)

        from keras_r3d.applications.weights import hub
        from keras_r3d.data.opening import file_reader
        from keras_r3d.inference.embeddings import features
        from keras_r3d.inference.evaluation.split import Split, open_split
        from keras_r3d.inference.models.protocol import described
        from keras_r3d.system.devices import choose

        place = named.model and hub.fetch(named.model, "model")
        opened = opening.open_model(place, named.workdir, named.recipe, protocol, devices)
        if labeled:
            side = open_split(opened, data_dir, split)
        else:
            reader = file_reader(named_videos, opened.classifier.clips)
            side = Split(named_videos, reader, "", "")
        embedder, layer = features.embedder(opened.classifier, layer, choose(devices))
        rows = {"window": "each window", "video": "the mean of its windows"}[per]
        placed = described(embedder.clips, embedder.eval).rpartition("; ")[0]
        dimension = len(embedder.classes)
        say(f"{shown(embedder.name)}: layer '{layer}', {dimension} numbers, {rows}; {placed}")
        unreadable = {name: f"{name}: its name is not UTF-8: rename it." for name in nameless}
        stored = features.store(
            *(embedder, layer, side, path),
            per=per,
            timeout=timeout,
            unreadable=unreadable,
            progress=progress,
            spread=spreading,
        )
    if not (neighbors or probe) or spreading.is_share:
        return Extraction(stored, None, (), None)

    from keras_r3d.inference.embeddings import neighbor_sheet
    from keras_r3d.inference.embeddings import neighbors as searching
    from keras_r3d.inference.embeddings import probe as probing
    from keras_r3d.pictures import fonts

    if stored is None:
        outputs.fetch(path)
    queries = feature_file.read(path)
    others = feature_file.read(other) if other else queries
    nearest = searching.find(queries, others, neighbors) if neighbors else None
    if nearest is not None:
        searching.write_csv(nearest, reports[0])
        fonts.save(neighbor_sheet.sheet(nearest), reports[1])
        outputs.publish(reports)
    probed = probing.probe(others, queries) if probe else None
    return Extraction(stored, nearest, reports, probed)
