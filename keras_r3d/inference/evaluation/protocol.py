"""Evaluating labelled videos: where windows are placed, how views are cut, what is averaged."""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from keras_r3d import recipe
from keras_r3d.data.annotations import AnnotationError, Video
from keras_r3d.data.decoding.reader import Reader
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.scoring import TIMEOUT, Scored, score
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system.errors import R3DError

# Windows, views, what is averaged. The follow-up (CVPR 2018) evaluates as the paper does.
_NAMED = {
    "paper": (0, 1, "probabilities"),
    "torch7": (0, 1, "log_probabilities"),
    "follow_up": (0, 1, "probabilities"),
}
FORMS = "'paper', 'torch7', 'follow_up', or NxV: N evenly placed windows of V = 1, 2, 3 or 10 views"


class ProtocolError(R3DError, ValueError):
    """A protocol that there is not."""


def overrides(protocol: str | None) -> list[str]:
    """Returns a protocol as changes of a recipe; None changes nothing.

    Args:
        protocol: as `FORMS` says.

    Raises:
        ProtocolError: there is no such protocol.
    """
    if protocol is None:
        return []
    windows, views, average = _NAMED.get(protocol, (0, 0, "probabilities"))
    if found := re.fullmatch(r"([1-9]\d*)x(1|2|3|10)", protocol):
        windows, views = int(found[1]), int(found[2])
    if not views:
        raise ProtocolError(f"--protocol must be one of {FORMS}. Received: {protocol}")
    return [f"eval.windows={windows}", f"eval.views={views}", f'eval.average="{average}"']


def described(data: recipe.Data, of: recipe.Eval) -> str:
    """Returns in words how videos are scored."""
    if data.sampling == "consecutive":
        stride = f" at a stride of {data.frame_stride}" if data.frame_stride > 1 else ""
        what = f"windows of {data.frames} frames{stride}"
        placed = f"at most {of.windows} {what}, evenly placed" if of.windows else f"all {what}"
    elif data.spans and not of.windows:
        shares = ", ".join(f"{share:.0%}" for share in data.spans)
        placed = f"windows of {data.frames} frames, spread over {shares} of the video"
    elif of.windows > 1:
        placed = f"{of.windows} windows of {data.frames} frames, each spread over the video"
    else:
        placed = f"one window of {data.frames} frames, spread over the video"
    whole = data.crop == "whole"
    views = {1: "whole frame" if whole else "centre crop", 2: "whole frame and centre crop"}.get(
        of.views, f"{of.views} views of each"
    )
    return f"{placed}; {views} at {data.size}x{data.size}; mean of {of.average.replace('_', '-')}"


def evaluate(
    classifier: Classifier,
    reader: Reader,
    videos: Sequence[Video],
    *,
    split: str,
    timeout: float = TIMEOUT,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores every video exactly once.

    Args:
        split: name of the videos' split, for messages.
        timeout: seconds after which a video that gives no more window is given up.
        progress: takes the number of videos done, and of all.

    Raises:
        AnnotationError: a video has a class the model does not know, or no video can be read.
        ScoringError: the model gives something else than probabilities.
    """
    check_labels(videos, classifier.classes)
    reader.require_readable(videos, split)
    scored = score(classifier, reader, videos, timeout=timeout)
    return collected(counted(scored, len(videos), progress), classifier.classes)


def counted(
    scored: Iterable[Scored], of: int, progress: Callable[[int, int], None] | None
) -> list[Scored]:
    """Returns all of them, and tells how many there are as they come."""
    done = []
    for one in scored:
        done.append(one)
        if progress is not None:
            progress(len(done), of)
    return done


def check_labels(videos: Sequence[Video], classes: Sequence[str]) -> None:
    """Raises AnnotationError if a video has a class that is not among `classes`."""
    known = set(classes)
    for video in videos:
        if video.label not in known:
            raise AnnotationError(
                f"{video.name} has the class '{video.label}', which the model was not trained "
                f"on. Its classes: {list(classes)}"
            )


def collected(scored: Sequence[Scored], classes: Sequence[str]) -> Evaluation:
    """Puts the scores of labelled videos together."""
    numbers = {name: number for number, name in enumerate(classes)}
    counts = [len(one.window_scores) for one in scored]
    return Evaluation(
        classes=classes,
        videos=[one.video for one in scored],
        labels=np.array([numbers[one.video.label] for one in scored]),
        video_scores=np.stack([one.scores for one in scored]),
        window_scores=np.concatenate([one.window_scores for one in scored]),
        window_videos=np.repeat(np.arange(len(scored)), counts),
        window_seconds=np.concatenate([one.window_seconds for one in scored]),
        errors={n: one.detail for n, one in enumerate(scored) if one.status == "error"},
        partial={n: one.detail for n, one in enumerate(scored) if one.status == "partial"},
        notes={n: one.detail for n, one in enumerate(scored) if one.status == "ok" and one.detail},
    )
