"""Explains a video: what in its most telling window speaks for a class."""

import dataclasses
import difflib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_r3d.data import clips as cutting
from keras_r3d.data.annotations import FRAME_RATE, Video
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.explanation import feature_maps, gradcam, heat, overlay
from keras_r3d.inference.explanation.feature_maps import Stage
from keras_r3d.inference.explanation.heat import Heat
from keras_r3d.inference.explanation.occlusion import occlusion as cover
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.pictures import fonts
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, VideoError


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What in a window of a video speaks for a class.

    Attributes:
        video: path.
        label: the class that is explained.
        predicted: the class the video is taken for.
        score: probability of `label` in the window.
        video_score: likewise over all windows.
        window: number of the window, from 0.
        windows: number of windows of the video.
        span: seconds, when the window starts and ends.
        clip: uint8 `(frames, height, width, channels)`, RGB, or flow x and y.
        seconds: float64 `(frames,)`, when each frame is shown.
        heats: by method float32 `(frames, height, width)`, 0 to 1: "Grad-CAM", perhaps "occlusion".
        method: kind of Grad-CAM.
        stage: the layer whose map it is.
        notes: what else there is to say.
    """

    video: str
    label: str
    predicted: str
    score: float
    video_score: float
    window: int
    windows: int
    span: tuple[float, float]
    clip: np.ndarray
    seconds: np.ndarray
    heats: Mapping[str, Heat]
    method: str
    stage: Stage
    notes: Sequence[str]

    def figure(self) -> Figure:
        """Draws the frames in a strip, below them where they speak for the class."""
        return overlay.strip(self.clip, self.heats, self.seconds, self._title())

    def save(self, folder: str | os.PathLike[str], npz: bool = False) -> dict[str, Path]:
        """Writes VIDEO.explain.mp4, .png and .html into a folder.

        Args:
            npz: also writes the numbers, VIDEO.explain.npz.

        Returns:
            The files by kind.

        Raises:
            ArgumentError: one of them exists already.
            WriteError: one cannot be written.
        """
        paths = paths_of(self.video, folder, npz)
        files.make_folder(Path(folder))
        fonts.save(self.figure(), paths["png"])
        mp4 = overlay.video(self.clip, self.heats, self.seconds)
        with files.atomic(paths["mp4"]) as temporary:
            temporary.write_bytes(mp4)
        lines = [*self._title(), *self.notes]
        files.write_text(paths["html"], overlay.page(mp4, self.heats, self.seconds, lines))
        if npz:
            values: dict[str, Any] = {"clip": self.clip, "seconds": self.seconds}
            values |= {"class": self.label, "score": self.score, "layer": self.stage.layer}
            values |= {name.lower().replace("-", "_"): h for name, h in self.heats.items()}
            with files.atomic(paths["npz"]) as temporary:
                np.savez_compressed(temporary, **values)
        return paths

    def __str__(self) -> str:
        taken = "" if self.label == self.predicted else f" (it is taken for '{self.predicted}')"
        count = f"{self.windows} window{'s' * (self.windows > 1)}"
        lines = [
            *(f"Note: {note}" for note in self.notes),
            f"{self.video}: {self.label} {self.video_score:.1%} over {count}{taken}",
            f"Window {self.window}, {self._span()}: {self.score:.1%}. Map of layer "
            f"{self.stage.layer}: {'x'.join(map(str, self.stage.cells))} cells (frames x height x "
            f"width), method {self.method}",
        ]
        if "occlusion" in self.heats:
            both = self.heats["Grad-CAM"], self.heats["occlusion"]
            lines.append(
                f"Grad-CAM and occlusion: rank correlation {heat.rank_correlation(*both):.2f}; of "
                f"the hottest 10 % of each, {heat.overlap(*both):.0%} are the same (by chance 10 %)"
            )
        return "\n".join(lines)

    def _span(self) -> str:
        return f"{self.span[0]:.2f}-{self.span[1]:.2f} s"

    def _title(self) -> list[str]:
        return [Path(self.video).name, self.label, f"score {self.score:.1%} at {self._span()}"]


def paths_of(video: str, folder: str | os.PathLike[str], npz: bool) -> dict[str, Path]:
    """Returns the files that an explanation is written to, by kind; ArgumentError if one exists."""
    kinds = ("mp4", "png", "html", *(["npz"] if npz else []))
    paths = {
        kind: Path(folder) / files.file_name(Path(video).stem, f".explain.{kind}") for kind in kinds
    }
    for path in paths.values():
        files.check_new(path, "output")
    return paths


def explain(
    model: Classifier,
    video: str,
    *,
    class_name: str | None = None,
    window: str | None = None,
    layer: str | None = None,
    method: str = "integrated",
    occlusion: bool = False,
    frame_rate: float = FRAME_RATE,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explains what in a video speaks for a class: see `VideoClassifier.explain`."""
    network, clips = model.network, model.clips
    if network is None:
        raise ArgumentError(
            f"{model.name} is a {model.kind}, which has scores but no gradients: pass the .keras "
            "file of one model."
        )
    stage = feature_maps.choose(network, clips.shape[:3], layer)
    index = None if class_name is None else _class_index(class_name, model.classes)
    source = Video(video, label="", frame_rate=frame_rate)
    reader, protocol = file_reader([source], clips), model.eval
    (prediction,) = score(model, reader, [source])
    if prediction.status == "error":
        raise VideoError(prediction.detail)
    predicted = int(prediction.scores.argmax())
    index = predicted if index is None else index
    scores, seconds = prediction.window_scores[:, index], prediction.window_seconds
    number = _window_number(window, seconds, scores)
    windows = cutting.windows(reader, source, clips, protocol.window_count, protocol.views)
    part = next(itertools.islice(windows, number, None))
    notes = [prediction.detail] if prediction.status == "partial" else []
    if (different := len(np.unique(part.frame_numbers))) < len(part.frame_numbers):
        notes.append(
            f"the window has {different} frames of its own; they are looped to the "
            f"{len(part.frame_numbers)} that the model takes."
        )
    clip = part.pixels[cutting.views_of(clips, protocol.views).middle]
    heats = {"Grad-CAM": gradcam.grad_cam(network, clip[None], index, stage.layer, method)[0]}
    if not heats["Grad-CAM"].any():
        notes.append(f"nothing in this window speaks for '{model.classes[index]}'.")
    if occlusion:
        heats["occlusion"] = cover(model.score, clip, index, progress)
    return Explanation(
        video=video,
        label=model.classes[index],
        predicted=model.classes[predicted],
        score=float(scores[number]),
        video_score=float(prediction.scores[index]),
        window=number,
        windows=len(scores),
        span=(float(seconds[number, 0]), float(seconds[number, 1])),
        clip=clip,
        seconds=reader.seconds(source)[part.frame_numbers],
        heats=heats,
        method=method,
        stage=stage,
        notes=notes,
    )


def _class_index(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return list(classes).index(name)
    near = difflib.get_close_matches(name, classes, 1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Its classes: {', '.join(classes[:20])}"
    raise ArgumentError(f"`class_name`: the model does not know '{name}'. {hint}")


def _window_number(text: str | None, seconds: np.ndarray, scores: np.ndarray) -> int:
    """Returns the number of the window that is meant; ArgumentError if there is none."""
    if text is None:
        return int(np.argmax(scores))
    try:
        if text.endswith("s"):
            moment = float(text[:-1])
            numbers = [n for n, (start, end) in enumerate(seconds) if start <= moment < end]
        else:
            numbers = [int(text)] if int(text) in range(len(seconds)) else []
    except ValueError as error:
        raise ArgumentError(
            f"`window` must be a number, such as 3, or a time, such as 2.5s. Received: {text}"
        ) from error
    if not numbers:
        raise ArgumentError(
            f"`window` {text}: the video has no such window. It has {len(seconds)}, the last ends "
            f"at {seconds[-1, 1]:.2f} s."
        )
    return numbers[0]
