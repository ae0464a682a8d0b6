"""A contact sheet of nearest neighbors: queries on the left, the most similar beside them."""

import os
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data import opening
from keras_r3d.data.annotations import FRAME_RATE, Video
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


def sheet(neighbors: Neighbors) -> Figure:
    """Draws the middle frames of up to 8 queries and of their up to 5 nearest.

    Queries are of different labels where labels are known, else evenly chosen. The frame is the
    center square. A video that can no longer be read is a gray field.
    """
    queries, gallery = neighbors.queries, neighbors.gallery
    frame_of_query = frame_in_gallery = middle_frames(queries)
    if gallery.source != queries.source:
        frame_in_gallery = middle_frames(gallery)
    rows: list[list[Cell | None]] = []
    for query in _chosen(queries):
        rows.append([Cell(frame_of_query(query), f"query\n{_title(queries, query)}", "black")])
        for number, similarity in zip(
            neighbors.numbers[query, :_MOST_NEIGHBORS].tolist(),
            neighbors.similarities[query],
            strict=False,
        ):
            if number < 0:
                rows[-1].append(None)
                continue
            mark, color = "", "black"
            if queries.label is not None and gallery.label is not None:
                right = queries.labels_of(query) & gallery.labels_of(number)
                mark, color = ("  ✓", _RIGHT) if right else ("  ✗", _WRONG)
            title = f"{similarity:.3f}{mark}\n{_title(gallery, number)}"
            rows[-1].append(Cell(frame_in_gallery(number), title, color))
    heading = "Nearest by cosine similarity"
    if queries.label is not None and gallery.label is not None:
        heading += "\n✓ same label, ✗ another"
    return contact_sheet.figure(rows, (1.75, 2.25), heading, font_size=7)


def middle_frames(features: Features) -> Callable[[int], Frame | None]:
    """Returns what reads the middle frame of a row, uint8 `(160, 160, 3)`, RGB."""
    data_dir = features.metadata["data_dir"]
    rates = features.metadata.get("frame_rates", [])
    rate = rates[0] if len(rates) == 1 else FRAME_RATE
    reader: Reader = VideoReader(0, 0)
    stored: dict[str, Video] | None = None
    if data_dir and opening.is_store(data_dir):
        store = Store(data_dir)
        stored = {video.name: video for videos in store.splits.values() for video in videos}
        reader = StoreReader(store)

    def middle_frame(row: int) -> Frame | None:
        path, name = str(features.path[row]), str(features.video[row])
        video = Video(path, "", frame_rate=rate) if stored is None else stored.get(name)
        if video is None:
            return None
        middle = (features.start_seconds[row] + features.end_seconds[row]) / 2
        try:
            seconds = reader.seconds(video)
            number = max(0, int(np.searchsorted(seconds, middle, side="right")) - 1)
            numbers = np.array([min(number, len(seconds) - 1)])
            window = next(reader.chosen(video, lambda count: [numbers], Views(1, (_SIZE, _SIZE))))
        except VideoError:  # it was read once, and is broken or gone now: the picture shows it
            return None
        return window.pixels[0, 0]

    return middle_frame


def _chosen(queries: Features) -> list[int]:
    """Chooses the queries to show: one of each label, or evenly placed ones."""
    keys = np.arange(len(queries.video)) if queries.label is None else queries.label
    groups = np.unique(keys)
    places = np.linspace(0, len(groups) - 1, min(_MOST_QUERIES, len(groups))).round().astype(int)
    rows = [np.flatnonzero(keys == groups[place]) for place in places]
    # Not the first of each: they may be of one scene.
    return [int(same[place * len(same) // len(rows)]) for place, same in enumerate(rows)]


def _title(features: Features, row: int) -> str:
    folder, file = os.path.split(str(features.path[row]))
    # Without a label the folder often is one.
    above = os.path.basename(folder) if features.label is None else str(features.label[row])
    lines = [shortened(text, _MOST_LETTERS) for text in (above, file) if text]
    if features.window[row] >= 0 or features.video[row] != features.path[row]:
        lines.append(f"{features.start_seconds[row]:.1f}-{features.end_seconds[row]:.1f} s")
    return "\n".join(lines)
