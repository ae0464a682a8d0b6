"""The scores of a split, and what they come to: figures, records, confusions."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from keras_r3d import run_folder
from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.labels import targets
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation import metrics, results, table
from keras_r3d.inference.prediction.prediction import Prediction, named
from keras_r3d.pictures import confusion, reliability
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError
from keras_r3d.system.objects import outputs

_TOP = 5
_SCORED = "scored videos"


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a split.

    Attributes:
        classes: class names in label order.
        predictions: of the labeled videos of the split, in their order.
        split: name of the split, if it has one.
        reader: of the videos, from which pictures of mistakes are drawn; None draws none.
        described: the model, protocol and data, for `evaluation.json`.
        run: of the (first) model; None if it comes from none.
        folder: where `save` writes by default; None if the model is of no run.
        parts: folder of what was kept meanwhile, which `save` removes.
    """

    several: ClassVar[bool] = False  # whether a video may have several labels

    classes: Sequence[str]
    predictions: Sequence[Prediction]
    split: str = ""
    reader: Reader | None = None
    described: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    run: run_folder.Run | None = None
    folder: Path | None = None
    parts: Path | None = None

    def __str__(self) -> str:
        text = table.table(self)
        if self.run is not None and self.split == "train":
            text += "\nThese videos were trained on: of others the accuracy is lower."
        return text

    def save(self, folder: str | Path | None = None) -> list[str]:
        """Writes a folder of results: figures, tables and pictures, as docs/evaluation.md says.

        Args:
            folder: must not exist; None is the attribute `folder`, in the run folder, where the
                same evaluation as before is replaced.

        Returns:
            Names of the files.

        Raises:
            ArgumentError: the folder exists already, or none is given and the model is of no run.
            WriteError: it cannot be written; files of an earlier evaluation then stay.
        """
        place = self.folder if folder is None else outputs.local(folder, "folder")
        if place is None:
            raise ArgumentError("`folder` is missing: this model is of no run.")
        if folder is not None:
            files.check_new(place, "folder")
        names = results.write(self, place)
        outputs.publish(place / name for name in names)
        if self.parts is not None:
            outputs.remove(self.parts)
        return names

    @functools.cached_property
    def videos(self) -> list[Video]:
        """The videos of the split; labels and scores are in this order."""
        return [prediction.source for prediction in self.predictions]

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Class numbers of the videos, int `(videos,)`; of several labels, see `SeveralLabels`."""
        return targets(self.videos, self.classes, several=False).astype(int)

    @functools.cached_property
    def video_scores(self) -> np.ndarray:
        """Probabilities, float64 `(videos, classes)`; NaN where a video has no score."""
        rows = [prediction.scores for prediction in self.predictions]
        return np.array(rows, float).reshape(-1, len(self.classes))

    @functools.cached_property
    def window_scores(self) -> np.ndarray:
        """Probabilities, float32 `(windows, classes)`."""
        nothing = np.empty((0, len(self.classes)), np.float32)
        return np.concatenate([nothing, *(video.window_scores for video in self.predictions)])

    @functools.cached_property
    def window_videos(self) -> np.ndarray:
        """The video of each window, int `(windows,)`."""
        counts = [len(prediction.window_scores) for prediction in self.predictions]
        return np.repeat(np.arange(len(counts)), counts)

    @property
    def errors(self) -> dict[int, str]:
        """Video number -> why it has no score."""
        return self.details("error")

    def details(self, status: str) -> dict[int, str]:
        """Returns what there is to say of the videos of a status, by their numbers.

        Of "error" why it has no score; of "partial" what was lacking, the score is of what decoded;
        of "ok" what else there is to say, such as that its frames were repeated.
        """
        return {
            number: prediction.detail
            for number, prediction in enumerate(self.predictions)
            if prediction.status == status and (prediction.detail or status != "ok")
        }

    @functools.cached_property
    def scored(self) -> np.ndarray:
        """Numbers of the videos that have a score, int64 `(scored,)`."""
        return np.flatnonzero(~np.isnan(self.video_scores).any(axis=1))

    def predicted(self) -> np.ndarray:
        """Returns the predicted class of the scored videos, int64 `(scored,)`."""
        return metrics.predicted(self.video_scores[self.scored], self.labels[self.scored])

    @property
    def one_window_each(self) -> bool:
        """Whether every video has one window, so that clip and video accuracy are the same."""
        return all(len(prediction.window_scores) <= 1 for prediction in self.predictions)

    def floor(self) -> str:
        """Returns a warning where the accuracy's interval reaches down to a simple guess, or ""."""
        figures = self.figures()
        interval = figures["video_top1_interval"]
        guesses = {
            "guessing": figures["chance"],  # the first of two that are as good
            f"always naming '{figures['largest_class']}'": figures["largest_class_share"],
        }
        best = max(guesses, key=lambda name: guesses[name])
        if interval is None or interval[0] > guesses[best]:
            return ""
        return (
            f"Warning: the interval of the video accuracy reaches down to {interval[0]:.1%}, and "
            f"{best} would be right in {guesses[best]:.1%}: this does not show that the model has "
            "learnt anything."
        )

    def confusion(self) -> np.ndarray:
        """Counts the scored videos by true and predicted class, int64 `(classes, classes)`."""
        return metrics.confusion(self.labels[self.scored], self.predicted(), len(self.classes))

    def by_class(self) -> metrics.ByClass:
        """Returns precision and recall of each class; a video without score counts as missed."""
        videos = np.bincount(self.labels, minlength=len(self.classes))
        return metrics.by_class(self.confusion(), videos)

    def calibration(self) -> metrics.Calibration:
        """Compares confidence and accuracy of the scored videos."""
        return metrics.calibration(self.video_scores[self.scored], self.labels[self.scored])

    def pictures(self) -> dict[str, Figure]:
        """Draws what there is to see, by names of files."""
        bins = self.calibration()
        values = bins.counts, bins.confidence, bins.accuracy, bins.error
        return {
            run_folder.CONFUSION: confusion.figure(self.confusion(), self.classes, _SCORED),
            run_folder.RELIABILITY: reliability.figure(*values, _SCORED),
        }

    def class_columns(self) -> dict[str, Iterable[Any]]:
        """Returns what a table has of each class, by column: shares 0-1, and NaN where none is."""
        matrix, figures = self.confusion(), self.by_class()
        wrong = matrix - np.diag(matrix.diagonal())
        confused = [self.classes[row.argmax()] if row.any() else "" for row in wrong]
        return figures.columns() | {"most_confused_with": confused}

    def rows(self) -> list[tuple[str, str]]:
        """Returns further figures for the table, each with its title."""
        return []

    def explained(self) -> str:
        """Returns what the table says below its figures, in sentences."""
        return ""

    def decided(self, scores: np.ndarray) -> np.ndarray:
        """Returns what scores `(n, classes)` come to, `(n, …)`: the best class."""
        return scores.argmax(axis=1)[:, np.newaxis]

    def figures(self) -> dict[str, Any]:
        """Returns counts, accuracies (0-1) and beside each, as `NAME_interval`, low and high.

        `clip_*` count windows, `video_*` videos; `readable_video_*` leave videos without score
        out, all others count them as wrong. `*_top5` is of `top5_places` classes. `*_mean` is the
        mean of `*_top1` and `*_top5`, by which the paper compares. `largest_class_share` is the
        accuracy of always naming the most frequent class, `chance` that of guessing. A figure
        that cannot be computed, such as an accuracy of no videos, is None.
        """
        return dict(self._figures)

    @functools.cached_property
    def _figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "videos": len(self.videos),
            "errors": len(self.errors),
            "partial": len(self.details("partial")),
            "windows": len(self.window_scores),
            "top5_places": min(_TOP, len(self.classes)),
        }
        shares = self._shares(figures["top5_places"])
        right, counted = (np.stack(part, axis=1) for part in zip(*shares.values(), strict=True))
        bounds = metrics.ratio_intervals(right, counted)
        for number, name in enumerate(shares):
            total = counted[:, number].sum()
            figures[name] = float(right[:, number].sum() / total) if total else None
            figures[f"{name}_interval"] = _json(bounds[number])
        figures |= self._class_figures()
        sizes = metrics.to_truth(self.labels, len(self.classes)).sum(axis=0)
        figures["largest_class"] = self.classes[int(sizes.argmax())]
        figures["largest_class_share"] = float(sizes.max() / max(1, len(self.labels)))
        figures["chance"] = float(sizes.sum() / max(1, len(self.labels))) / len(self.classes)
        return figures

    def _class_figures(self) -> dict[str, Any]:
        correct = metrics.topk_correct(self.video_scores, self.labels, 1)
        interval = metrics.class_mean_interval(correct, self.labels)
        return {
            "mean_class_accuracy": _json(metrics.mean_class_accuracy(correct, self.labels)),
            "mean_class_accuracy_interval": _json(interval),
            "ece": _json(self.calibration().error),
        }

    def _shares(self, top5_places: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns, by name, what each video adds to the right ones and to all, `(videos,)`."""
        count = len(self.videos)
        labeled = np.array([bool(video.labels) for video in self.videos], int)
        windows = np.bincount(self.window_videos, minlength=count) * labeled
        readable = np.isin(np.arange(count), self.scored) * labeled
        window_labels = self.labels[self.window_videos]
        shares: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for top, places in (("top1", 1), ("top5", top5_places)):
            clips = metrics.topk_correct(self.window_scores, window_labels, places)
            right = metrics.topk_correct(self.video_scores, self.labels, places).astype(int)
            clips_right = np.bincount(self.window_videos, weights=clips, minlength=count)
            shares[f"clip_{top}"] = clips_right, windows
            shares[f"video_{top}"] = right, labeled.astype(float)
            shares[f"readable_video_{top}"] = right, readable
        for kind in ("clip", "video", "readable_video"):
            (top1, counted), (top5, _) = (shares[f"{kind}_{top}"] for top in ("top1", "top5"))
            shares[f"{kind}_mean"] = top1 + top5, 2 * counted
        return shares

    def records(self) -> list[dict[str, Any]]:
        """Returns a record of each video: label, status, windows, best classes with scores."""
        correct = metrics.topk_correct(self.video_scores, self.labels, 1)
        records = []
        for prediction, right in zip(self.predictions, correct.tolist(), strict=True):
            video = prediction.source
            record: dict[str, Any] = {"video": printable(video.name), "label": video.label}
            record["status"] = prediction.status
            if prediction.detail:
                record["detail"] = printable(prediction.detail)
            record["windows"] = len(prediction.window_scores)
            if prediction.status != "error":
                record |= {"correct": right, "top": named(prediction.top(_TOP))}
            records.append(record)
        return records


def _json(value: float | np.ndarray) -> Any:
    """Returns a number or numbers as JSON has them; None of NaN."""
    return None if np.isnan(value).any() else np.asarray(value, float).tolist()
