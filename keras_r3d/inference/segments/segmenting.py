"""Segments of long videos by a classifier: found, chosen rules for, evaluated, written."""

import dataclasses
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d import run_folder
from keras_r3d.applications.embedding import NONE
from keras_r3d.data.annotations import Video, listing
from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation import metrics
from keras_r3d.inference.evaluation.split import check_classes, open_split
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.models.opening import Opened
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import Sliding, score
from keras_r3d.inference.segments import finding, precision, report
from keras_r3d.inference.segments.finding import Segment, SegmentRule
from keras_r3d.pictures import fonts
from keras_r3d.pictures.timeline import Part
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError, DataError, check_range
from keras_r3d.system.objects import outputs

_COLUMNS = ("video", *(field.name for field in dataclasses.fields(Segment)))
_LEAST = 0.1  # seconds of a window

# What a rule is chosen among.
_LENGTHS = (
    0.1,
    0.5,
    0.9,
)  # quantiles of the lengths of true segments; alone, and the first two or all
_SMOOTHING = (1, 3, 5)
_THRESHOLDS = tuple(n / 10 for n in range(1, 10))
_MARGINS = (0.0, 0.25, 0.5)
_MEAN_OF = tuple(n / 100 for n in range(50, 100, 5))  # overlaps, as ActivityNet's average


@dataclasses.dataclass(frozen=True, eq=False)
class VideoSegments(Prediction):
    """The segments of a video, and the scores of the windows they are found in.

    Attributes:
        segments: by time.
        true: those that are there, by time; None if they are not known.
    """

    segments: Sequence[Segment] = ()
    true: Sequence[Segment] | None = None

    def headline(self, k: int = 5) -> str:
        """Returns what a page says first of it: how many segments were found."""
        return f"{len(self.segments)} segments found"

    def lines(self, k: int = 5) -> list[tuple[str, float, bool]]:
        """Returns what is printed of it: all segments."""
        return [
            (f"{timed(s.start_seconds, s.end_seconds)} {s.label}", s.score, False)
            for s in self.segments
        ]

    def record(self, k: int = 5) -> dict[str, Any]:
        """Returns what is written to JSON: the segments."""
        kept = {k: v for k, v in super().record(k).items() if k not in ("top", "named")}
        rows = {"segments": self.segments} | ({} if self.true is None else {"true": self.true})
        return kept | {name: [dataclasses.asdict(s) for s in row] for name, row in rows.items()}

    def columns(self, k: int = 5) -> list[str]:
        """Returns the header of a CSV file, which has a row a segment."""
        return list(_COLUMNS)

    def rows(self, k: int = 5) -> list[list[Any]]:
        """Returns its rows in that file."""
        name, kept = printable(self.video), self.segments
        seconds = [(f"{s.start_seconds:.3f}", f"{s.end_seconds:.3f}") for s in kept]
        pairs = zip(seconds, kept, strict=True)
        return [[name, *times, s.label, f"{s.score:.4f}"] for times, s in pairs]

    def strips(self) -> dict[str, list[Part]]:
        """Returns what was found and what is true, to draw below the scores over time."""
        rows = {"found": self.segments} | ({} if self.true is None else {"true": self.true})
        return {
            name: [(s.start_seconds, s.end_seconds, s.label, s.score) for s in row]
            for name, row in rows.items()
        }


def timed(start: float, end: float) -> str:
    """Returns from when to when something is, in words."""
    return f"{start:6.1f} -{end:6.1f} s"


def segment(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    rule: SegmentRule,
    timeout: float,
) -> Iterator[VideoSegments]:
    """Finds the segments of videos; each comes once, in their order."""
    for predictions in slide(classifier, reader, videos, rule, timeout):
        segments = segments_of(predictions, rule, classifier.silent)
        yield VideoSegments(**vars(predictions[0]), segments=segments)


def slide(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    rule: SegmentRule,
    timeout: float,
) -> Iterator[tuple[Prediction, ...]]:
    """Scores the windows that a rule slides over videos: of each video by length of windows."""
    assert rule.step is not None
    slidings = [Sliding(rule.step, length) for length in rule.lengths]
    return zip(
        *(score(classifier, reader, videos, timeout=timeout, sliding=one) for one in slidings),
        strict=True,
    )


def segments_of(
    predictions: Sequence[Prediction], rule: SegmentRule, silent: Sequence[str]
) -> list[Segment]:
    """Returns the segments in the scores of a video's windows, of each length."""
    found = [
        finding.find(p.window_seconds, p.window_scores, p.labels, rule, silent) for p in predictions
    ]
    return finding.suppress(list(itertools.chain(*found)), finding.numbers(rule)[-1])


def untrimmed(videos: Iterable[Video], model: Classifier) -> dict[Video, list[Segment]]:
    """Returns whole videos, and the true segments of each, from labeled segments of them.

    Those of a label that the model lacks are `NONE`, which `check_classes` allows or not.
    """
    true: dict[str, list[Segment]] = defaultdict(list)
    whole: dict[str, Video] = {}
    for video in videos:
        if not np.isfinite(video.end_seconds):
            raise DataError(
                f"{video.name} has no end: segments can only be compared with those of a list that "
                "says when each starts and ends (start_seconds,end_seconds)."
            )
        whole[video.path] = dataclasses.replace(video, start_seconds=0.0, end_seconds=np.inf)
        true[video.path] += [
            Segment(
                *(video.start_seconds, video.end_seconds),
                *(label if label in model.classes else NONE, 1.0),
            )
            for label in video.labels
            if label not in model.silent
        ]
    return {whole[path]: true[path] for path in whole}


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentEvaluation:
    """Segments that were found in labeled videos, and those that are there.

    Attributes:
        classes: names of what segments are of.
        rule: by which they were found.
        found: of each video, with what is true.
        split: name of the split.
        run: of the model; None if it comes from none.
    """

    classes: Sequence[str]
    rule: SegmentRule
    found: Sequence[VideoSegments]
    split: str
    run: Run | None

    @property
    def errors(self) -> list[VideoSegments]:
        """The videos that have no score."""
        return [video for video in self.found if video.status == "error"]

    def mean_average_precision(self, overlap: float) -> float:
        """Returns the mean over classes of the average precision at a temporal overlap."""
        return float(self._precisions([overlap])[0, 0])

    def _precisions(self, overlaps: Sequence[float]) -> np.ndarray:
        return _mean_precisions(
            *self._segments, self.classes, overlaps, metrics.resamples(len(self.found))
        )

    @property
    def _segments(self) -> tuple[list[Sequence[Segment]], list[Sequence[Segment]]]:
        return [video.segments for video in self.found], [v.true or () for v in self.found]

    def class_columns(self) -> dict[str, Sequence[Any]]:
        """Returns what a table has of each class: segments, and average precision by overlap."""
        found, true = _by_class(*self._segments, self.classes)
        once = np.ones((1, len(self.found)), int)
        return {
            "class": list(true),
            "true": [sum(map(len, rows)) for rows in true.values()],
            "found": [sum(len(scores) for _, scores in rows) for rows in found.values()],
            **{
                f"AP at {overlap:g}": [
                    float(precision.average_precision(found[name], true[name], overlap, once)[0])
                    for name in true
                ]
                for overlap in precision.OVERLAPS
            },
        }

    def figures(self) -> dict[str, Any]:
        """Returns what is written to JSON: mAP by overlap, and their mean as ActivityNet's.

        Intervals are a bootstrap's over videos.
        """
        values = self._precisions(_MEAN_OF)
        by_overlap = dict(zip(map("{:g}".format, _MEAN_OF), values, strict=True))
        shown = {name: by_overlap[name] for name in map("{:g}".format, precision.OVERLAPS)}
        shown["0.5:0.95"] = values.mean(axis=0)
        return {
            "mean_average_precision": {name: float(row[0]) for name, row in shown.items()},
            "mean_average_precision_interval": {
                name: metrics.bootstrap_interval(row) for name, row in shown.items()
            },
            "videos": len(self.found),
            "errors": len(self.errors),
            "segments_true": sum(map(len, self._segments[1])),
            "segments_found": sum(len(video.segments) for video in self.found),
            "rule": dataclasses.asdict(self.rule),
        }

    def __str__(self) -> str:
        values = self.figures()
        lines = [
            f"{values['segments_found']} segments found in {values['videos']} videos, "
            f"{values['segments_true']} are there",
        ]
        for name, share in values["mean_average_precision"].items():
            low, high = values["mean_average_precision_interval"][name] or (np.nan, np.nan)
            lines.append(f"  mAP at overlap {name:<9} {share:6.1%} ({low * 100:.1f}-{high:.1%})")
        lines += [f"  error: {video.detail}" for video in self.errors[:5]]
        return "\n".join(lines)

    def save(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Writes segments.html, .json, .csv and a timeline a video; returns the folder.

        Args:
            folder: must not exist; None is evaluations/SPLIT-segments in the run folder, where the
                same evaluation as before is replaced. The run then keeps the rule, too.

        Raises:
            ArgumentError: the folder exists already, or none is given and the model is of no run.
            WriteError: it cannot be written.
        """
        if folder is not None:
            place = outputs.local(folder, "folder")
            files.check_new(place, "folder")
        elif self.run is None:
            raise ArgumentError("`folder` is missing: this model is of no run.")
        else:
            place = self.run.path / run_folder.EVALUATIONS / f"{self.split}-segments"
            rule = dataclasses.asdict(self.rule)
            files.write_json(self.run.path / run_folder.SEGMENT_RULE, rule)
            outputs.publish([self.run.path / run_folder.SEGMENT_RULE])
        files.make_folder(place)
        values = self.figures()
        with files.together(place, [path.name for path in place.glob("*.png")]) as new:
            records = [video.record() for video in self.found]
            files.write_json(new / "segments.json", values | {"records": records})
            files.write_text(new / "segments.html", report.page(self, values))
            rows = [row for video in self.found for row in video.rows()]
            text = files.csv_text(_COLUMNS, rows)
            files.write_text(new / "segments.csv", text)
            titles = listing.names([video.video for video in self.found])
            for name, video in zip(titles, self.found, strict=True):
                if len(video.window_scores):
                    fonts.save(video.timeline(10), new / files.file_name(name, ".png"))
        outputs.publish([place])
        return place


def _by_class(
    found: Sequence[Sequence[Segment]], true: Sequence[Sequence[Segment]], classes: Sequence[str]
) -> tuple[dict[str, list[tuple[np.ndarray, np.ndarray]]], dict[str, list[np.ndarray]]]:
    """Returns by class of each video: the intervals that were found with scores, and the true."""

    def intervals(segments: Sequence[Segment], label: str) -> tuple[np.ndarray, np.ndarray]:
        own = [s for s in segments if s.label == label]
        seconds = np.array([(s.start_seconds, s.end_seconds) for s in own]).reshape(-1, 2)
        return seconds, np.array([s.score for s in own])

    return (
        {label: [intervals(video, label) for video in found] for label in classes},
        {label: [intervals(video, label)[0] for video in true] for label in classes},
    )


def _mean_precisions(
    found: Sequence[Sequence[Segment]],
    true: Sequence[Sequence[Segment]],
    classes: Sequence[str],
    overlaps: Sequence[float],
    counts: np.ndarray,
) -> np.ndarray:
    """Returns the mean over classes of the average precision, `(overlaps, samples)`."""
    sides = _by_class(found, true, classes)
    return np.array(
        [precision.mean_average_precision(*sides, overlap, counts) for overlap in overlaps]
    )


def _told(model: Classifier) -> list[str]:
    return [label for label in model.classes if label not in model.silent]


def choose_rule(
    classifier: Classifier,
    reader: Reader,
    videos: Mapping[Video, Sequence[Segment]],
    timeout: float,
    say: Callable[[str], None],
) -> SegmentRule:
    """Chooses the rule by which a classifier finds the true segments of training videos best.

    The best has the highest mean of mAP at overlaps of 0.5 to 0.95.
    """
    lengths = [s.end_seconds - s.start_seconds for true in videos.values() for s in true]
    if not lengths:
        raise DataError("No segment is labeled: there is nothing to choose a rule by.")
    candidates: list[float | tuple[float, ...] | None] = [None]
    if classifier.clips.is_spread:
        quantiles = np.quantile(lengths, _LENGTHS)
        unlike = sorted({round(max(_LEAST, float(value)), 2) for value in quantiles})
        candidates = [*unlike, *(tuple(unlike[:count]) for count in range(2, len(unlike) + 1))]
    best, best_rule, true = -1.0, finding.DEFAULT, list(videos.values())
    once = np.ones((1, len(true)), int)
    scored: dict[float | None, list[Prediction]] = {}
    for value in candidates:
        start = dataclasses.replace(finding.DEFAULT, window_seconds=value)
        for length in set(start.lengths) - set(scored):
            alone = dataclasses.replace(start, window_seconds=length)
            scored[length] = [
                one for (one,) in slide(classifier, reader, list(videos), alone, timeout)
            ]
        windows = list(zip(*(scored[length] for length in start.lengths), strict=True))
        for smoothing, threshold, margin in itertools.product(_SMOOTHING, _THRESHOLDS, _MARGINS):
            rule = dataclasses.replace(
                start, smoothing=smoothing, threshold=threshold, margin=margin
            )
            found = [segments_of(predictions, rule, classifier.silent) for predictions in windows]
            mean = _mean_precisions(found, true, _told(classifier), _MEAN_OF, once).mean()
            if mean > best:
                best, best_rule = float(mean), rule
    say(
        f"Rule for segments, chosen on {len(videos)} training videos (mAP {best:.1%}): "
        + described(best_rule)
    )
    return best_rule


def described(rule: SegmentRule) -> str:
    """Returns a rule in words."""
    values = dataclasses.asdict(rule).items()
    shown = {k: v if isinstance(v, Sequence) else [v] for k, v in values if v is not None}
    return ", ".join(f"{key} {' and '.join(map('{:g}'.format, v))}" for key, v in shown.items())


def settle(opened: Opened, asked: SegmentRule | None) -> SegmentRule:
    """Returns the rule that is kept in a run (`evaluate` chooses it), changed as is asked for.

    ArgumentError: a number is out of range, or the length of windows is missing, or cannot be set.
    """
    rule = finding.DEFAULT
    if opened.run is not None and (path := opened.run.path / run_folder.SEGMENT_RULE).is_file():
        rule = rule.changed(SegmentRule(**json.loads(path.read_text(encoding="utf-8"))))
    rule, clips = rule.changed(asked), opened.classifier.clips
    if not clips.is_spread and rule.window_seconds is not None:
        raise ArgumentError(
            f"`window_seconds` is of no use: this model takes {clips.frames} consecutive frames. "
            "Leave it out."
        )
    if clips.is_spread and not rule.window_seconds:
        raise ArgumentError(
            "This model was trained on clips spread over whole videos: pass `window_seconds`, "
            "about as long as what is to be found; an evaluation of segments chooses it on "
            "training videos."
        )
    for length in rule.lengths:
        check_range(_LEAST, window_seconds=length)
    check_range(0.01, 1, step=rule.step)
    check_range(1, smoothing=rule.smoothing)
    check_range(0, 1, threshold=rule.threshold, overlap=rule.overlap)
    check_range(0, margin=rule.margin)
    return rule


def evaluate(
    opened: Opened,
    asked: SegmentRule | None,
    *,
    data: str | None,
    split: str | None,
    timeout: float,
    say: Callable[[str], None],
) -> SegmentEvaluation:
    """Finds the segments of a split, by a rule chosen on the training videos if there are any."""
    side = open_split(opened, data, split)
    model = opened.classifier
    check_classes(side, model.classes, model.thresholds is not None)
    true = untrimmed(side.videos, model)
    rule = None
    if side.name != "train" and asked is None:
        try:
            train = open_split(opened, data, "train")
            known = untrimmed(train.videos, model)
            rule = choose_rule(model, train.reader, known, timeout, say)
        except DataError as error:
            say(f"Note: No rule is chosen on training videos: {error}")
    if rule is None:
        rule = settle(opened, asked)
    videos = segment(model, side.reader, list(true), rule, timeout)
    found = [
        dataclasses.replace(video, true=own)
        for video, own in zip(videos, true.values(), strict=True)
    ]
    return SegmentEvaluation(_told(model), rule, found, side.name, opened.run)
