"""Evaluations of the same videos beside each other: which differences are more than chance."""

import dataclasses
import itertools
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_r3d import run_folder
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.evaluation import metrics, report, results, table
from keras_r3d.reports import page as pages
from keras_r3d.system import files
from keras_r3d.system.errors import ArgumentError
from keras_r3d.system.objects import outputs

COMPARISON = "comparison.json"
_NEEDED = {"classes", "videos", "video_top1_interval"}
_EXPLAINED = (
    "Differences are of the videos that both scored, in points, the first minus the second; in "
    "brackets 95 % intervals by the bootstrap over videos. p: McNemar's exact test, two-sided, how "
    "often chance alone would divide the videos that only one gets right at least as unevenly. Of "
    "several pairs none is corrected for the others."
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two evaluations, on the videos that both scored.

    Attributes:
        first, second: their names.
        left_out: classes that only one of them has: videos of these are not compared.
        videos: number of the videos that are.
        only_first, only_second: how many of them only one gets right.
        difference: of the accuracies, the first minus the second.
        interval: of the difference, low and high, 95 %.
        p_value: of McNemar's exact test, two-sided.
    """

    first: str
    second: str
    left_out: list[str]
    videos: int
    only_first: int
    only_second: int
    difference: float
    interval: tuple[float, float]
    p_value: float

    def __str__(self) -> str:
        low, high = (f"{100 * value:+.1f}" for value in self.interval)
        return (
            f"{self.first} - {self.second}: {100 * self.difference:+.1f} ({low} to {high}), only "
            f"the first right {self.only_first}, only the second {self.only_second}, of "
            f"{self.videos} videos; p = {self.p_value:.3g}{self.note}"
        )

    @property
    def note(self) -> str:
        """What is compared of evaluations of different classes; "" of the same."""
        if not self.left_out:
            return ""
        return (
            f". Only videos of the classes that both have, not of {some(self.left_out)}; each "
            "still names one of all its own classes: the fewer these are, the easier it is"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Evaluations of the same videos. Printed, it is a table.

    Attributes:
        evaluations: what `evaluation.json` has of each, by folder; its records by video.
        pairs: all pairs of them.
    """

    evaluations: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[Pair]

    def __str__(self) -> str:
        width = max(map(len, self.evaluations)) + 2
        lines = [f"{'':{width}}{'video accuracy':22}videos"]
        for name, values in self.evaluations.items():
            share = table.share(values, "video_top1")
            lines.append(f"{name:{width}}{share:22}{values['videos']}")
        return "\n".join([*lines, "", *map(str, self.pairs), "", *textwrap.wrap(_EXPLAINED, 80)])

    def save(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Writes report.html and comparison.json into a folder, and returns it.

        Args:
            folder: must not exist, or s3://BUCKET/NAME, gs://BUCKET/NAME; None is a folder in that
                of the first evaluation, where the same comparison as before is replaced.

        Raises:
            ArgumentError: the folder exists already.
            WriteError: it cannot be written.
        """
        first, *others = self.evaluations
        name = f"compared-with-{'-'.join(results.short(other, Path(first)) for other in others)}"
        default = f"{first}/{run_folder.EVALUATIONS}/{files.file_name(name)}"
        place = outputs.local(default if folder is None else folder, "folder")
        if folder is not None:
            files.check_new(place, "folder")
        files.make_folder(place)
        with files.together(place) as new:
            values = {"compared": list(self.evaluations), "pairs": list(map(vars, self.pairs))}
            files.write_json(new / COMPARISON, values)
            files.write_text(new / run_folder.REPORT, self._page())
        outputs.publish([place])
        return place

    def _page(self) -> str:
        names = pages.shorter(list(self.evaluations))
        short = dict(zip(self.evaluations, names, strict=True))
        found = [values["records"] for values in self.evaluations.values()]
        videos = list(dict.fromkeys(itertools.chain(*found)))
        rows = [[records.get(video) for records in found] for video in videos]
        labels = [next(filter(None, row))["label"] for row in rows]
        judged = [_judged(row, names) for row in rows]
        columns = {
            "video": pages.shorter(videos),
            "true": labels,
            **{name: [_answer(row[n]) for row in rows] for n, name in enumerate(names)},
            "": judged,
        }
        shares = {
            title: [(short[n], v[key], v[f"{key}_interval"]) for n, v in self.evaluations.items()]
            for title, key in (("video top-1", "video_top1"), ("clip top-1", "clip_top1"))
        }
        return pages.render(
            "comparison.html",
            title=f"Comparison of {', '.join(short.values())}",
            folders=list(self.evaluations),
            shares=shares,
            pairs=[
                dataclasses.replace(p, first=short[p.first], second=short[p.second])
                for p in self.pairs
            ],
            explained=_EXPLAINED,
            data={
                "videos": [pages.column(title, values) for title, values in columns.items()],
                "marks": sorted(set(judged)),
                "curves": report.curves({short[name]: Path(name) for name in self.evaluations}),
            },
        )


def compare(runs: Sequence[str]) -> Comparison:
    """Compares evaluations of the same videos, video by video, without scoring anything anew.

    Args:
        runs: folders of two or more runs, or of other evaluations, with their `evaluation.json`.

    Raises:
        ArgumentError: there are not two different ones, one was not evaluated or is damaged, two
            have different labels for a video, or have scored no video in common.

    Reference:
        Dietterich, Approximate statistical tests for comparing supervised classification learning
        algorithms, Neural Computation 1998.
    """
    if isinstance(runs, str) or len(set(map(os.path.realpath, runs))) < max(2, len(runs)):
        raise ArgumentError(f"`runs` must be two or more different folders. Received: {runs}")
    names = [run if outputs.is_url(os.fspath(run)) else os.path.normpath(run) for run in runs]
    evaluations = {os.fspath(name): _read(os.fspath(name)) for name in names}
    return Comparison(
        evaluations,
        [
            _pair(first, second, evaluations)
            for first, second in itertools.combinations(evaluations, 2)
        ],
    )


def _read(folder: str) -> dict[str, Any]:
    path = Path(outputs.fetched(f"{folder}/{run_folder.EVALUATION}", "runs"))
    if not path.is_file():
        if not os.path.isdir(folder):
            raise ArgumentError(f"`runs`: {folder} does not exist.")
        raise ArgumentError(
            f"`runs`: {folder} has no {run_folder.EVALUATION}. Evaluate it first: "
            f"python -m keras_r3d.evaluate --model {folder}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["records"] = {
            r["video"]: r
            | {"label": r["label"], "correct": r["status"] != "error" and r["correct"]}
            for r in values["records"]
        }
        if not values["records"] or not values.keys() >= _NEEDED:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"`runs`: {path} is damaged, or of no evaluation of videos. Evaluate again."
        ) from error
    return values


def _pair(first: str, second: str, evaluations: Mapping[str, Mapping[str, Any]]) -> Pair:
    left, right = evaluations[first], evaluations[second]
    left_out = sorted(set(left["classes"]) ^ set(right["classes"]))
    shared = set(left["classes"]) & set(right["classes"])
    records = left["records"], right["records"]
    scored = [
        {
            video
            for video, record in found.items()
            if record["status"] != "error"
            and (not left_out or shared.issuperset(record.get("labels", [record["label"]])))
        }
        for found in records
    ]
    both = sorted(scored[0] & scored[1])
    if not both:
        raise ArgumentError(
            f"`runs`: {first} and {second} have scored no video in common"
            f"{' of the classes that both have' if left_out else ''}: evaluate both on the "
            f"same `data` and `split`. One has {next(iter(records[0]))}, the other "
            f"{next(iter(records[1]))}."
        )
    for video in both:
        labels = [found[video]["label"] for found in records]
        if labels[0] != labels[1]:
            raise ArgumentError(
                f"`runs`: {video} is '{labels[0]}' in {first} and '{labels[1]}' in {second}: "
                "evaluate both with the same labels."
            )
    one, other = (np.array([found[video]["correct"] for video in both]) for found in records)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    return Pair(
        first,
        second,
        left_out,
        len(both),
        only_first,
        only_second,
        (only_first - only_second) / len(both),
        metrics.difference_interval(only_first, only_second, len(both)),
        metrics.mcnemar(only_first, only_second),
    )


def _answer(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "not scored"
    return record["top"][0]["label"] if record.get("top") else "no score"


def _judged(row: Sequence[Mapping[str, Any] | None], names: Sequence[str]) -> str:
    """Returns who is right about a video."""
    if None in row:
        return "not in all"
    right = [n for n, record in zip(names, row, strict=True) if record and record["correct"]]
    if len(right) in (0, len(row)):
        return "all right" if right else "all wrong"
    return f"only {', '.join(right)}"
