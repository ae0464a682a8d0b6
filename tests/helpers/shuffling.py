"""Video accuracy of a run when the frames of every clip are put in random order."""

import dataclasses

import numpy as np

from keras_r3d.inference.evaluation.evaluating import evaluate_videos
from keras_r3d.inference.models import opening
from keras_r3d.run_folder import Run


def video_top1(run: Run, *, shuffle: bool) -> float:
    """Evaluates a run as `evaluate` does, with the frames of all clips in one random order."""
    model = opening.of_run(run).classifier
    if shuffle:
        order = np.random.default_rng(0).permutation(run.recipe.clips.frames)
        score = model.score
        model = dataclasses.replace(model, score=lambda clips: score(clips[:, order]))
    split = run.recipe.eval.split
    videos, reader = run.open_split(split)
    evaluation = evaluate_videos(model, reader, videos, split=split)
    return evaluation.figures()["video_top1"]
