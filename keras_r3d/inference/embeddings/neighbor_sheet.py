"""A contact sheet of nearest neighbors: queries on the left, the most similar beside them."""

import itertools
import os
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data import opening
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.data.sampling.cropping import Views
from keras_r3d.data.store import Store, StoreReader
from keras_r3d.inference.embeddings.feature_file import Features
from keras_r3d.inference.embeddings.neighbors import Neighbors
from keras_r3d.pictures import contact_sheet
from keras_r3d.pictures.contact_sheet import Cell
from keras_r3d.system.errors import VideoError
from keras_r3d.system.text import shortened

_MOST_QUERIES = 8
_MOST_NEIGHBORS = 5
_MOST_LETTERS = 22  # of a line
_SIZE = 160  # pixels of a frame
# Told apart by the color-blind too; a mark says the same.
_RIGHT, _WRONG = "#0072b2", "#d55e00"

MiddleFrame = Callable[[int], Frame | None]


def sheet(neighbors: Neighbors) -> Figure:
    """Draws the middle frames of up to 8 queries and of their up to 5 nearest.

    Queries are of different labels where labels are known, else evenly chosen. The frame is the
    center square. A video that can no longer be read is a gray field.
    """
    queries, gallery = neighbors.queries, neighbors.gallery
    of_queries = middle_frames(queries)
    of_gallery = of_queries if gallery.source == queries.source else middle_frames(gallery)
    rows: list[list[Cell | None]] = []
    for query in _chosen(queries):
        title = "query\n" + _named(queries, query)
        rows.append([Cell(of_queries(query), title, "black")])
        similar = zip(neighbors.numbers[query].tolist(), neighbors.similarities[query], strict=True)
        for number, similarity in itertools.islice(similar, _MOST_NEIGHBORS):
            if number < 0:
                rows[-1].append(None)
                continue
            mark, color = _mark(neighbors, query, number)
            title = f"{similarity:.3f}{mark}\n{_named(gallery, number)}"
            rows[-1].append(Cell(of_gallery(number), title, color))
    heading = "Nearest by cosine similarity"
    if queries.label is not None and gallery.label is not None:
        heading += "\n✓ same label, ✗ another"
    return contact_sheet.figure(rows, (1.75, 2.25), heading, font_size=7)


def middle_frames(features: Features) -> MiddleFrame:
    """Returns what reads the middle frame of a row, uint8 `(160, 160, 3)`, RGB."""
    reader, videos = _opened(features)

    def middle_frame(row: int) -> Frame | None:
        video = videos(row)
        if video is None:
            return None
        middle = (features.start_seconds[row] + features.end_seconds[row]) / 2
        try:
            seconds = reader.seconds(video)
            number = max(0, int(np.searchsorted(seconds, middle, side="right")) - 1)
            numbers = np.array([min(number, len(seconds) - 1)])
            window = next(reader.chosen(video, lambda count: [numbers], Views(1), _SIZE))
        except VideoError:  # it was read once, and is broken or gone now: the picture shows it
            return None
        return window.pixels[0, 0]

    return middle_frame


def _opened(features: Features) -> tuple[Reader, Callable[[int], Video | None]]:
    """Opens what the videos of a file of embeddings lie in: a clip store, or files."""
    data_dir = features.metadata["data_dir"]
    if data_dir and opening.is_store(data_dir):
        store = Store(data_dir)
        known = {video.name: video for videos in store.splits.values() for video in videos}
        return StoreReader(store), lambda row: known.get(str(features.video[row]))
    return VideoReader(0, 0), lambda row: Video(str(features.path[row]), "")


def _chosen(queries: Features) -> list[int]:
    """Chooses the queries to show: one of each label, or evenly placed ones."""
    if queries.label is None:
        places = np.linspace(0, len(queries.video) - 1, min(_MOST_QUERIES, len(queries.video)))
        return places.round().astype(int).tolist()
    labels = np.unique(queries.label)
    places = np.linspace(0, len(labels) - 1, min(_MOST_QUERIES, len(labels))).round().astype(int)
    rows = [np.flatnonzero(queries.label == labels[place]) for place in places]
    # Not the first of each: they may be of one scene.
    return [int(one[number * len(one) // len(rows)]) for number, one in enumerate(rows)]


def _mark(neighbors: Neighbors, query: int, number: int) -> tuple[str, str]:
    if neighbors.queries.label is None or neighbors.gallery.label is None:
        return "", "black"
    right = neighbors.queries.label[query] == neighbors.gallery.label[number]
    return ("  ✓", _RIGHT) if right else ("  ✗", _WRONG)


def _named(features: Features, row: int) -> str:
    folder, file = os.path.split(str(features.path[row]))
    # Without a label the folder often is one.
    above = os.path.basename(folder) if features.label is None else str(features.label[row])
    lines = [shortened(text, _MOST_LETTERS) for text in (above, file) if text]
    if features.window[row] >= 0 or features.video[row] != features.path[row]:
        lines.append(f"{features.start_seconds[row]:.1f}-{features.end_seconds[row]:.1f} s")
    return "\n".join(lines)
