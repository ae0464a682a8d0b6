"""Training on few videos: they are embedded once, and a linear classifier is fitted to that.

The classifier is folded into the network as its last layer, so that what is kept is a model as any
other. Its accuracy is cross-validated: every video is predicted by a classifier that did not see
it, and the classifier that is kept is fitted to all of them.
"""

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d import recipe as recipes
from keras_r3d import run_folder
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.evaluation import results
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.models import classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.training import setup
from keras_r3d.training.few import embeddings
from keras_r3d.training.few.setup import Examples, Few, label
from keras_r3d.training.loop import Observer, Progress, Training

Say = Callable[[str], None]

_FOLDS, _MOST_GROUPS = 5, 10
_CROSS_VALIDATION = "cross-validation"


class Fitting:
    """The stages of a training on few videos, and the seconds that each takes."""

    def __init__(self, few: Few, run: Run, say: Say):
        self._few, self._run, self._say = few, run, say
        self._seconds: dict[str, float] = {}

    def run_all(self, progress: Callable[[int, int], None] | None) -> None:
        """Fits a classifier to embeddings, evaluates it and writes all into the run folder.

        Embeddings of unchanged videos that this run or runs beside it hold are not computed again.

        Args:
            progress: takes the number of videos embedded so far, and of all.
        """
        few, run, reader = self._few, self._run, self._few.source.reader
        for name in ("evaluation", "cross_validation"):  # of an earlier model
            run.summary.pop(name, None)
        run.update_summary(status="training")
        split, train = few.test_split, few.annotations.split("train")
        test = few.annotations.split(split) if split else []
        with self._stage("embedded"):
            cache = embeddings.Cache(run.path, few.request(), reader)
            known = sum(cache.get(video) is not None for video in [*train, *test])
            if known:
                count = len(train) + len(test)
                self._say(f"{known} of {count} videos were embedded before, and are as they were.")
            rows = embeddings.embed(few.embedder(), reader, [*train, *test], cache, progress)
        examples = label(few, train, rows[: len(train)], self._say)
        with self._stage("fitted"):
            fitted = ridge.fit(examples.labeled, few.names)
        self._say(f"Classifier: {fitted.described}.")
        with self._stage("cross-validated"):
            evaluation, folds = self._cross_validate(examples)
        tuned = self._finetune(examples, fitted)
        with self._stage("kept"):
            clips = few.draw_clips()
            with files.atomic(run.path / run_folder.CLIPS) as temporary:
                clips.savefig(temporary, dpi=100)
            kept = tuned or few.build_model(fitted)
            with files.atomic(run.path / run_folder.BEST_MODEL) as temporary:
                kept.save(temporary)
        if evaluation is not None:
            folder = run.path / run_folder.EVALUATIONS / _CROSS_VALIDATION if split else run.path
            how = {"protocol": "each video by a classifier that did not see it", "folds": folds}
            with self._stage("evaluated"):
                self._write(evaluation, folder, _CROSS_VALIDATION, how)
        if split:
            with self._stage("evaluated"):
                tested = zip(test, rows[len(train) :], strict=True)
                scored = (
                    [few.score(video, row, fitted) for video, row in tested]
                    if tuned is None
                    else self._score(tuned, test)
                )
                self._write(Evaluation(few.annotations.classes, scored), run.path, split, {})
        run.update_summary(status="trained", seconds=self._seconds)
        run.report_problems(reader.problems, self._say)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        self._seconds[name] = round(self._seconds.get(name, 0.0) + took, 2)
        self._say(f"{name.capitalize()} in {took:.1f} s")

    def _cross_validate(self, examples: Examples) -> tuple[Evaluation | None, int]:
        """Evaluates each video by a classifier that did not see it; None if that cannot be done."""
        labeled, classes = examples.labeled, self._few.annotations.classes
        grouped = any(video.group for video in examples.videos)
        units = len(np.unique(labeled.groups))
        default = min(units, _MOST_GROUPS) if grouped else _FOLDS
        if max(Counter(labeled.labels.tolist()).values()) < 2 or units < 2:
            self._say(
                "Note: no accuracy can be cross-validated: it needs a class with two videos"
                + (" of different groups." if grouped else ".")
            )
            return None, 0
        fold = ridge.folds(labeled, self._few.settings.folds or default)
        count = int(fold.max()) + 1
        fits = ridge.fit_without(labeled, fold, self._few.names)
        for number in range(count):
            others = np.unique(labeled.labels[fold != number])
            lacking = [name for place, name in enumerate(classes) if place not in others]
            if lacking:
                self._say(
                    f"Note: fold {number + 1} holds all videos of {some(lacking)}: they cannot be "
                    "predicted by the others, and count as wrong."
                )
        if not grouped:
            self._say(
                "Note: without a column 'group' (scene, person, camera) in a CSV file, neighboring "
                "clips of one recording may be on both sides of a fold, which inflates the figure."
            )
        numbers = iter(fold.tolist())
        by = [fits[next(numbers)] if good else fits[0] for good in examples.readable]
        triples = zip(examples.videos, examples.rows, by, strict=True)
        scored = [self._few.score(*triple) for triple in triples]
        self._say(f"Cross-validated in {count} folds" + (", by group." if grouped else "."))
        return Evaluation(classes, scored), count

    def _finetune(self, examples: Examples, fitted: ridge.Fitted) -> keras.Model | None:
        """Trains the network from the classifier on, if that is asked for and pays; None if not.

        A fifth of the videos is held out: the classifier that is fitted to the others is trained on
        them, and if that lowers the loss of those held out, all videos are trained on for as many
        epochs as were best.

        Reference:
            Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
            Out-of-Distribution, ICLR 2022.
        """
        few, labeled = self._few, examples.labeled
        if not few.settings.finetune_epochs:
            return None
        fold, good = ridge.folds(labeled, _FOLDS), np.flatnonzero(examples.readable).tolist()
        videos, rows = [examples.videos[n] for n in good], [examples.rows[n] for n in good]
        others = set(labeled.labels[fold != 0].tolist())
        held = [n for n in np.flatnonzero(fold == 0).tolist() if labeled.labels[n] in others]
        if not held:
            self._say(
                "Note: nothing is trained further: no video can be held out to see whether it pays."
            )
            return None
        with self._stage("fine-tuned"):
            first = ridge.fit(labeled.taken(fold != 0), few.names)
            linear = [few.score(videos[n], rows[n], first) for n in held]
            kept, out = [videos[n] for n in np.flatnonzero(fold != 0)], [videos[n] for n in held]
            model, epoch = train_from(
                few.build_model(first), few, kept, out, few.settings.finetune_epochs, self._say
            )
            before, after = self._loss(linear), self._loss(self._score(model, out))
            pays = after < before
            self._say(
                f"Fine-tuning: loss of {len(held)} held-out videos {before:.3f} -> {after:.3f} "
                f"after {epoch} epochs: the "
                + ("network is trained on all videos." if pays else "linear classifier is kept.")
            )
            if not pays:
                return None
            self._say("Note: what was cross-validated is the linear classifier it began with.")
            return train_from(few.build_model(fitted), few, videos, [], epoch, self._say)[0]

    def _score(self, network: keras.Model, videos: Sequence[Video]) -> list[Prediction]:
        few = self._few
        model = classifier.of_network(network, few.recipe, hardware=few.devices)
        return list(score(model, few.source.reader, videos))

    def _loss(self, scored: Sequence[Prediction]) -> float:
        """Returns the mean cross-entropy of videos; one without scores is as bad as a guess."""
        classes = self._few.annotations.classes
        right = [one.scores[classes.index(one.source.label)] for one in scored]
        shares = np.maximum(np.nan_to_num(right, nan=1 / len(classes)), 1e-12)
        return float(-np.log(shares).mean())

    def _write(
        self, evaluation: Evaluation, folder: Path, split: str, how: Mapping[str, Any]
    ) -> None:
        run = self._run
        self._say(f"\nEvaluation: {split}\n{evaluation}")
        name = "evaluation" if folder == run.path else "cross_validation"
        run.summary[name] = {"split": split, **evaluation.figures()}
        reader = self._few.source.reader
        described = dataclasses.replace(evaluation, split=split, reader=reader, described=how)
        results.write(described, folder)
        run.update_summary()


def train_from(
    kept: keras.Model,
    few: Few,
    videos: Sequence[Video],
    held_out: Sequence[Video],
    epochs: int,
    say: Say,
) -> tuple[keras.Model, int]:
    """Trains a network as the recipe's [train] says.

    Args:
        kept: gets the weights of the epoch with the lowest loss of the held-out videos, or of the
            last one.
        held_out: may be empty.
        say: takes a line an epoch.

    Returns:
        The network, and the number of epochs its weights had.

    Raises:
        InterruptedTraining: SIGTERM or SIGINT came; nothing of it is kept.
        TrainingError: the loss is not finite.
    """
    train = _Train(**{**vars(few.recipe.train), "epochs": epochs, "patience": None})
    splits = {"train": list(videos), **({"validation": list(held_out)} if held_out else {})}
    annotations = Annotations(splits, few.annotations.classes, [])
    opened = setup.Opened(
        dataclasses.replace(few.recipe, train=train),
        dataclasses.replace(few.source, annotations=annotations),
        few.devices,
    )
    keras.utils.set_random_seed(train.seed)
    ready = setup.assemble(opened, kept, chooses=bool(held_out))
    progress = Training(ready, observers=[_EpochLines(epochs, say)]).fit()
    return kept, progress.best_epoch


class _Train(recipes.Train):
    """The first epochs of a training, which may be fewer than those of its warm-up."""

    def _at_odds(self) -> Iterator[str]:
        yield from ()


class _EpochLines(Observer):
    """Says a line an epoch."""

    def __init__(self, epochs: int, say: Say):
        self._epochs, self._say = epochs, say

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        row = progress.log[-1]
        held_out = f"; held out {row['val_loss']:.4f}" if "val_loss" in row else ""
        self._say(f"Epoch {progress.epoch}/{self._epochs}: loss {row['loss']:.4f}{held_out}")
