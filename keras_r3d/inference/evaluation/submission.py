"""Result files of the ActivityNet and Kinetics challenges.

References:
    http://activity-net.org/challenges/2017/trimmed.html (Kinetics),
    http://activity-net.org/challenges/2016/guidelines.html (ActivityNet, untrimmed
    classification), and the challenges' own evaluation,
    https://github.com/activitynet/ActivityNet/tree/master/Evaluation: that of Kinetics refuses a
    file without "version", "results" and "external_data", that of ActivityNet one without the
    first two. A video that is not in the file counts as wrong there.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from keras_r3d.data.annotations import Video
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.system import files
from keras_r3d.system.errors import R3DError

VERSIONS: Mapping[str, str] = {"activitynet": "VERSION 1.3", "kinetics": "KINETICS VERSION 1.0"}
# Kinetics counts the best and the best five; ActivityNet's mean average precision, every score.
_MOST_LABELS: Mapping[str, int | None] = {"activitynet": None, "kinetics": 5}
# Kinetics' videos are called ID_START_END, ActivityNet's v_ID; an ID may itself begin with v_.
_ID = re.compile(r"(?:v_)?([\w-]{11})(?:_\d{6}_\d{6})?", re.ASCII)


class SubmissionError(R3DError):
    """Results that cannot be said in the challenges' format."""


def video_id(path: str) -> str:
    """Returns YouTube's id where a file is named after it, else the name without suffix."""
    stem = PurePath(path).stem
    match = _ID.fullmatch(stem)
    return match[1] if match else stem


def write(
    evaluation: Evaluation, challenge: str, path: str | Path, external_data: str = ""
) -> list[str]:
    """Writes a result file.

    Args:
        challenge: of `VERSIONS`.
        external_data: which data beyond the challenge's were used, and what for; empty: none.

    Returns:
        Notes for the user: videos left out, segments averaged.

    Raises:
        SubmissionError: there is no such challenge, or several files have one id.
        WriteError: the file cannot be written.
    """
    content, notes = results(evaluation, challenge, external_data)
    files.write_json(path, content)
    return notes


def results(
    evaluation: Evaluation, challenge: str, external_data: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Returns what `write` writes, and the notes."""
    if challenge not in VERSIONS:
        raise SubmissionError(f"A challenge must be one of {list(VERSIONS)}. Received: {challenge}")
    by_id = numbers_by_id(evaluation.videos)
    scored = set(evaluation.scored.tolist())
    most = _MOST_LABELS[challenge] or len(evaluation.classes)
    listed, left_out, averaged = {}, [], []
    for name, numbers in by_id.items():
        with_score = [number for number in numbers if number in scored]
        if not with_score:
            left_out.append(name)
            continue
        if len(with_score) > 1:
            averaged.append(name)
        scores = evaluation.video_scores[with_score].mean(axis=0)
        best = np.argsort(-scores, kind="stable")[:most]
        listed[name] = [{"label": evaluation.classes[i], "score": float(scores[i])} for i in best]
    notes = []
    if left_out:
        notes.append(
            f"{len(left_out)} videos without a score are not in the file, and count as wrong: "
            f"{some(left_out)}"
        )
    if averaged:
        notes.append(
            f"{len(averaged)} videos have several segments, whose scores were averaged (the format "
            f"has one result a video): {some(averaged)}"
        )
    content = {
        "version": VERSIONS[challenge],
        "results": listed,
        "external_data": {"used": bool(external_data), "details": external_data},
    }
    return content, notes


def numbers_by_id(videos: Sequence[Video]) -> dict[str, list[int]]:
    """Groups the videos' numbers by id; several of one id are segments of one file.

    Raises:
        SubmissionError: two files have one id.
    """
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, video in enumerate(videos):
        numbers[video_id(video.path)].append(number)
    for name, same in numbers.items():
        paths = sorted({videos[number].path for number in same})
        if len(paths) > 1:
            raise SubmissionError(
                f"The result file has one result a video, but {len(paths)} files have the id "
                f"'{name}': {some(paths)}. Rename them, or evaluate one of them only."
            )
    return dict(numbers)
