"""Explains a video: what in its most telling window speaks for a class."""

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_r3d import run_folder
from keras_r3d.data import clips
from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding import flow
from keras_r3d.data.decoding.reader import Reader, Window
from keras_r3d.data.opening import file_reader
from keras_r3d.inference.explanation import feature_maps, gradcam, heat, overlay
from keras_r3d.inference.explanation.explanation_files import check_free, paths_of
from keras_r3d.inference.explanation.feature_maps import Stage
from keras_r3d.inference.explanation.heat import Heat
from keras_r3d.inference.explanation.occlusion import occlusion
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError


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
        windows: how many the video has.
        span: seconds, when the window starts and ends.
        clip: uint8 `(frames, size, size, channels)`, RGB, or flow x and y.
        seconds: float64 `(frames,)`, when each frame is shown.
        heats: by method float32 `(frames, size, size)`, 0 to 1: "Grad-CAM", perhaps "occlusion".
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
        return overlay.strip(
            self._drawn(), self.heats, self.seconds, self._title(), of_flow=self._of_flow
        )

    def paths(self, folder: str | Path, npz: bool = False) -> dict[str, Path]:
        """Returns the files that `save` writes, by kind."""
        return paths_of(self.video, folder, npz)

    def save(self, folder: str | Path, npz: bool = False) -> dict[str, Path]:
        """Writes VIDEO.explain.mp4 and .png into a folder.

        Args:
            npz: also writes the numbers, VIDEO.explain.npz.

        Returns:
            The files by kind.

        Raises:
            ArgumentError: one of them exists already.
            WriteError: one cannot be written.
        """
        paths = check_free(self.paths(folder, npz))
        run_folder.make(Path(folder))
        with files.atomic(paths["png"]) as temporary:
            self.figure().savefig(temporary, dpi=100)
        overlay.write_video(
            paths["mp4"],
            self._drawn(),
            self.heats["Grad-CAM"],
            self.seconds,
            self._title(),
            of_flow=self._of_flow,
        )
        if npz:
            values: dict[str, Any] = {
                **{"clip": self.clip, "seconds": self.seconds},
                **{"class": self.label, "score": self.score, "layer": self.stage.layer},
                **{name.lower().replace("-", "_"): one for name, one in self.heats.items()},
            }
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

    @property
    def _of_flow(self) -> bool:
        return self.clip.shape[-1] == 2

    def _drawn(self) -> np.ndarray:
        return flow.colors(self.clip) if self._of_flow else self.clip

    def _span(self) -> str:
        return f"{self.span[0]:.2f}-{self.span[1]:.2f} s"

    def _title(self) -> list[str]:
        return [Path(self.video).name, self.label, f"score {self.score:.1%} at {self._span()}"]


def check_explainable(model: Classifier) -> None:
    """Raises ArgumentError if a model is no Keras model."""
    if model.network is None:
        raise ArgumentError(
            f"{model.name} is a {model.kind}, which has scores but no gradients: pass the "
            ".keras file that it was exported from."
        )


def explain(
    model: Classifier,
    video: str,
    *,
    class_name: str | None = None,
    window: str | None = None,
    layer: str | None = None,
    method: str = "integrated",
    occlude: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explains what in a video speaks for a class.

    Args:
        class_name: None is the class that the video is taken for.
        window: its number, or a time in it ("2.5s"); None is the one with the class's highest
            score.
        layer, method: as `gradcam.grad_cam` takes them.
        occlude: also covers parts of the clip, to check (takes longer).
        progress: takes the number of parts covered, and of all.

    Raises:
        ArgumentError: the model is no Keras model, or there is no such class or window.
        VideoError: the video gives no frames.
        ArgumentError: the model has no map that could be drawn, or no such layer.
    """
    check_explainable(model)
    network = model.network
    stage = feature_maps.choose(
        network, (model.data.frames, model.data.size, model.data.size), layer
    )
    wanted = None if class_name is None else _class_index(class_name, model.classes)
    scores, times = [], []
    source = Video(video, label="")
    reader = file_reader([video], model.data)
    for one in _windows(model, reader, source):
        scores.append(average(model.score(one.pixels), model.eval.average))
        times.append((one.start_seconds, one.end_seconds))
    whole = average(np.array(scores), model.eval.average)
    predicted = int(whole.argmax())
    index = predicted if wanted is None else wanted
    number = _window_number(window, times, [float(score[index]) for score in scores])
    chosen = next(itertools.islice(_windows(model, reader, source), number, None))
    notes = []
    if (problem := reader.problem(source)) is not None:
        notes.append(problem.detail)
    if (own := len(np.unique(chosen.frame_numbers))) < len(chosen.frame_numbers):
        notes.append(
            f"the window has {own} frames of its own; they are looped to the "
            f"{len(chosen.frame_numbers)} that the model takes."
        )
    clip = chosen.pixels[clips.views_of(model.data, model.eval.views).middle]
    heats = {"Grad-CAM": gradcam.grad_cam(network, clip[None], index, stage.layer, method)[0]}
    if not heats["Grad-CAM"].any():
        notes.append(f"nothing in this window speaks for '{model.classes[index]}'.")
    if occlude:
        heats["occlusion"] = occlusion(model.score, clip[None], index, progress=progress)[0]
    return Explanation(
        video=video,
        label=model.classes[index],
        predicted=model.classes[predicted],
        score=float(scores[number][index]),
        video_score=float(whole[index]),
        window=number,
        windows=len(scores),
        span=times[number],
        clip=clip,
        seconds=reader.seconds(source)[chosen.frame_numbers],
        heats=heats,
        method=method,
        stage=stage,
        notes=notes,
    )


def _windows(model: Classifier, reader: Reader, video: Video) -> Iterator[Window]:
    return clips.windows(reader, video, model.data, model.eval.windows, model.eval.views)


def _class_index(name: str, classes) -> int:
    if name in classes:
        return list(classes).index(name)
    near = difflib.get_close_matches(name, classes, 1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Its classes: {', '.join(classes[:20])}"
    raise ArgumentError(f"--class: the model does not know '{name}'. {hint}")


def _window_number(text: str | None, times: list[tuple[float, float]], scores: list[float]) -> int:
    """Returns the number of the window that is meant.

    Raises:
        ArgumentError: there is none.
    """
    if text is None:
        return scores.index(max(scores))
    there = f"It has {len(times)}, the last ends at {times[-1][1]:.2f} s."
    try:
        if text.endswith("s"):
            second = float(text[:-1])
            found = [n for n, (start, end) in enumerate(times) if start <= second < end]
        else:
            found = [n for n in [int(text)] if 0 <= n < len(times)]
    except ValueError as error:
        raise ArgumentError(
            f"--window must be a number, such as 3, or a time, such as 2.5s. Received: {text}"
        ) from error
    if not found:
        raise ArgumentError(f"--window {text}: the video has no such window. {there}")
    return found[0]
