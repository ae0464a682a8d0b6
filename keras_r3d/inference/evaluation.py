"""What an evaluation found."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.inference import metrics

_TOP = 5


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of a split.

    Attributes:
        videos: that were scored; labels and scores are in this order.
        labels: int `(videos,)`.
        video_scores: float `(videos, classes)`, mean probabilities; NaN where a video is an error.
        window_scores: float `(windows, classes)`.
        window_videos: int `(windows,)`, the video of each window.
        window_seconds: float64 `(windows, 2)`, start and end of each window.
        errors: video number -> why it has no score.
        partial: video number -> what was lacking; the score is of what decodes.
    """

    classes: Sequence[str]
    videos: Sequence[Video]
    labels: np.ndarray
    video_scores: np.ndarray
    window_scores: np.ndarray
    window_videos: np.ndarray
    window_seconds: np.ndarray
    errors: dict[int, str]
    partial: dict[int, str]

    def confusion(self) -> np.ndarray:
        """Counts the scored videos by true and predicted class, int64 `(classes, classes)`."""
        scored = ~np.isnan(self.video_scores[:, 0])
        predicted = self.video_scores[scored].argmax(axis=1)
        return metrics.confusion(self.labels[scored], predicted, len(self.classes))

    def figures(self) -> dict[str, Any]:
        """Returns the accuracies (0-1) and counts.

        `video_*` count a video without score as wrong; `readable_video_*` leave it out.
        """
        k = min(_TOP, len(self.classes))
        window_labels = self.labels[self.window_videos]
        readable = len(self.videos) - len(self.errors)
        figures: dict[str, Any] = {
            "videos": len(self.videos),
            "errors": len(self.errors),
            "windows": len(self.window_scores),
        }
        for top, places in (("top1", 1), ("top5", k)):
            clips = metrics.topk_correct(self.window_scores, window_labels, places)
            videos = metrics.topk_correct(self.video_scores, self.labels, places)
            figures[f"clip_{top}"] = float(clips.mean())
            figures[f"video_{top}"] = float(videos.mean())
            figures[f"readable_video_{top}"] = float(videos.sum() / readable)
        return figures

    def records(self) -> list[dict[str, Any]]:
        """Returns one record a video: label, status, windows, best classes with scores."""
        windows = np.bincount(self.window_videos, minlength=len(self.videos))
        correct = metrics.topk_correct(self.video_scores, self.labels, 1)
        records = []
        for number, video in enumerate(self.videos):
            record: dict[str, Any] = {"video": video.name, "label": video.label}
            if number in self.errors:
                record |= {"status": "error", "detail": self.errors[number], "windows": 0}
            else:
                scores = self.video_scores[number]
                best = np.argsort(-scores, kind="stable")[:_TOP]
                record |= {"status": "ok", "windows": int(windows[number])}
                record["correct"] = bool(correct[number])
                record["top"] = [
                    {"label": self.classes[i], "score": float(scores[i])} for i in best
                ]
            records.append(record)
        return records
