"""Training on few videos: they are embedded once, and a linear classifier is fitted to that.

The classifier is folded into the network as its last layer, so that what is kept is a model as any
other. Its accuracy is cross-validated: every video is predicted by a classifier that did not see
it, and the classifier that is kept is fitted to all of them.
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d import recipe as recipes
from keras_r3d import run_folder
from keras_r3d.applications import metadata
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.annotations.labels import targets
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.embeddings import novelty, ridge
from keras_r3d.inference.embeddings.novelty import Distances
from keras_r3d.inference.evaluation import metrics, results
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.evaluation.several import evaluation_of
from keras_r3d.inference.models import classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.pictures import fonts
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.errors import DataError
from keras_r3d.system.work import Share, Spread
from keras_r3d.training import setup
from keras_r3d.training.few.setup import Examples, Few, label
from keras_r3d.training.finetune import Say
from keras_r3d.training.loop import Observer, Progress, Training

_FOLDS, _MOST_GROUPS = 5, 10
_HALVINGS, _FAR = 15, 100.0  # of the threshold's bounds; times the largest distance
_NONE_HELD_OUT = (
    "'few.open_set' needs a class with two videos, of different groups where there are groups: its "
    "threshold is chosen on held-out videos. Add some, or leave 'few.open_set' out."
)
_CROSS_VALIDATION = "cross-validation"


class Fitting:
    """The stages of a training on few videos, and the seconds that each takes."""

    def __init__(self, few: Few, run: Run, say: Say):
        self._few, self._run, self._say = few, run, say
        self._seconds: dict[str, float] = {}

    def run_all(
        self, progress: Callable[[int, int], None] | None, spread: Spread | None = None
    ) -> None:
        """Fits a classifier to embeddings, evaluates it and writes all into the run folder.

        Embeddings of unchanged videos that this run or runs beside it hold are not computed again.
        `progress` takes the number of videos embedded so far, and of all; `spread` says who embeds.
        """
        few, run, reader = self._few, self._run, self._few.source.reader
        for name in ("evaluation", "cross_validation"):  # of an earlier model
            run.summary.pop(name, None)
        run.update_summary(status="training")
        split, train = few.test_split, few.annotations.split("train")
        videos = few.videos
        test = videos[len(train) :]
        with self._stage("embedded"):
            cache = few.cache(run.path)
            if ready := sum(cache.get(video) is not None for video in videos):
                self._say(
                    f"{ready} of {len(videos)} videos were embedded before, and are as they were."
                )
            rows = cache.embed(few.embedder(), videos, progress, spread)
            assert not isinstance(rows, Share)
        examples = label(few, train, rows[: len(train)], self._say)
        with self._stage("fitted"):
            fitted = ridge.fit(examples.labeled, few.names)
        self._say(f"Classifier: {fitted.described}.")
        with self._stage("cross-validated"):
            evaluation, folds, distances = self._cross_validate(examples, fitted)
        thresholds = few.first_thresholds
        if thresholds is not None and evaluation is not None:
            thresholds = metrics.best_thresholds(evaluation.labels, evaluation.video_scores)
        if (tuned := self._finetune(examples, fitted)) is not None and thresholds is not None:
            about = metadata.read_metadata(tuned)
            thresholds = np.array(about and about.thresholds)
        if thresholds is not None:
            run.update_summary(thresholds=thresholds.tolist())
        with self._stage("kept"):
            fonts.save(few.draw_clips(), run.path / run_folder.CLIPS)
            with files.atomic(run.path / run_folder.BEST_MODEL) as temporary:
                (tuned or few.build_model(fitted, thresholds, distances)).save(temporary)
        if evaluation is not None:
            folder = run.path / run_folder.EVALUATIONS / _CROSS_VALIDATION if split else run.path
            how = {"protocol": "each video by a classifier that did not see it", "folds": folds}
            with self._stage("evaluated"):
                self._write(evaluation, folder, _CROSS_VALIDATION, how)
        if split:
            with self._stage("evaluated"):
                if tuned is None:
                    pairs = zip(test, rows[len(train) :], strict=True)
                    scored = [few.score(*pair, fitted, distances) for pair in pairs]
                else:
                    scored = self._score(tuned, test)
                scored = [dataclasses.replace(video, thresholds=thresholds) for video in scored]
                self._write(evaluation_of(few.classes, scored), run.path, split, {})
        run.update_summary(status="trained", seconds=self._seconds)
        run.report_problems(reader.problems, self._say)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        self._seconds[name] = round(self._seconds.get(name, 0.0) + took, 2)
        self._say(f"{name.capitalize()} in {took:.1f} s")

    def _cross_validate(
        self, examples: Examples, fitted: ridge.Fitted
    ) -> tuple[Evaluation | None, int, Distances | None]:
        """Evaluates each video by a classifier that did not see it; None if that cannot be done.

        Also returns the number of folds and, for an open set, the distances of the fit of all.
        """
        labeled, classes = examples.labeled, self._few.annotations.classes
        open_set = self._few.settings.open_set
        grouped = any(video.group for video in examples.videos)
        units = len(np.unique(labeled.groups))
        if labeled.truth.sum(axis=0).max() < 2 or units < 2:
            if open_set is not None:
                raise DataError(_NONE_HELD_OUT)
            self._say(
                "Note: no accuracy can be cross-validated: it needs a class with two videos"
                + (" of different groups." if grouped else ".")
            )
            return None, 0, None
        default = min(units, _MOST_GROUPS) if grouped else _FOLDS
        fold = ridge.folds(labeled, self._few.settings.folds or default)
        fits = ridge.fit_without(labeled, fold, self._few.names)
        for number in range(len(fits)):
            others = labeled.truth[fold != number].any(axis=0)
            if lacking := [name for name, there in zip(classes, others, strict=True) if not there]:
                self._say(
                    f"Note: fold {number + 1} holds all videos of {some(lacking)}: they cannot be "
                    "predicted by the others, and count as wrong."
                )
        if not grouped:
            self._say(
                "Note: without a column 'group' (scene, person, camera) in a CSV file, neighboring "
                "clips of one recording may be on both sides of a fold, which inflates the figure."
            )
        folds = np.zeros(len(examples.videos), int)
        folds[examples.readable] = fold
        distances: Distances | None = None
        of_folds: Sequence[Distances | None] = [None] * len(fits)
        if open_set is not None:
            *of_folds, distances = self._distances(examples, fitted, fits, fold, open_set)
        scored = [
            self._few.score(video, row, fits[number], of_folds[number])
            for video, row, number in zip(examples.videos, examples.rows, folds, strict=True)
        ]
        if self._few.annotations.several:
            scored = _with_thresholds_of_others(scored, classes, folds)
        self._say(f"Cross-validated in {len(fits)} folds" + (", by group." if grouped else "."))
        return evaluation_of(self._few.classes, scored), len(fits), distances

    def _distances(
        self,
        examples: Examples,
        fitted: ridge.Fitted,
        fits: Sequence[ridge.Fitted],
        fold: np.ndarray,
        open_set: float,
    ) -> list[Distances]:
        """Returns distances without each fold, and of all videos, over the threshold.

        It is the lowest at which at most the share `open_set` of the videos that were held out,
        of classes that were not, is none of these.
        """
        few, labeled = self._few, examples.labeled
        used = [kernel is not None for kernel in fitted.kernels]
        kept = [fold != number for number in range(len(fits))]
        distances = [novelty.fit(labeled.taken(chosen), used) for chosen in kept]
        held_out = [
            (*pair, number)
            for pair, number, label in zip(examples.pairs, fold, labeled.labels, strict=True)
            if (labeled.labels[kept[number]] == label).any()
        ]
        if not held_out:
            raise DataError(_NONE_HELD_OUT)

        def refused(threshold: float) -> int:
            over = [one.over(threshold) for one in distances]
            scored = [few.score(v, row, fits[n], over[n]) for v, row, n in held_out]
            return sum(int(video.scores.argmax()) == len(few.classes) - 1 for video in scored)

        whole = novelty.fit(labeled, used)
        high = _FAR * float(whole.squared(np.concatenate(labeled.features, axis=1)).max())
        low = high / _FAR**3
        for _ in range(_HALVINGS):
            middle = float(np.sqrt(low * high))
            if refused(middle) <= open_set * len(held_out):
                high = middle
            else:
                low = middle
        count = refused(high)
        self._say(
            f"None of these: from a squared distance of {high:.4g} on; {count} of {len(held_out)} "
            f"held-out videos are ({count / len(held_out):.1%}, few.open_set = {open_set:g})."
        )
        self._run.update_summary(open_set={"threshold": high, "refused": count / len(held_out)})
        return [one.over(high) for one in (*distances, whole)]

    def _finetune(self, examples: Examples, fitted: ridge.Fitted) -> keras.Model | None:
        """Trains the network from the classifier on, if that is asked for and pays; None if not.

        A fifth of the videos is held out: the classifier that is fitted to the others is trained on
        them, and if that lowers the loss of those held out, all videos are trained on for as many
        epochs as were best.

        Reference:
            Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
            Out-of-Distribution, ICLR 2022.
        """
        few, labeled, epochs = self._few, examples.labeled, self._few.settings.finetune_epochs
        if not epochs:
            return None
        pairs = examples.pairs
        videos = [video for video, _ in pairs]
        kept = ridge.folds(labeled, _FOLDS) != 0
        # Of a class that is held out as a whole nothing can be learned.
        judged = ~kept & labeled.truth[:, labeled.truth[kept].any(axis=0)].any(axis=1)
        if not judged.any():
            self._say(
                "Note: nothing is trained further: no video can be held out to see whether it pays."
            )
            return None
        with self._stage("fine-tuned"):
            first = ridge.fit(labeled.taken(kept), few.names)
            linear = [few.score(*pair, first) for pair in itertools.compress(pairs, judged)]
            trained_on, held_out = (
                list(itertools.compress(videos, chosen)) for chosen in (kept, judged)
            )
            start = few.build_model(first)
            model, epoch = train_from(start, few, trained_on, held_out, epochs, self._say)
            trained = self._score(model, held_out)
            before, after = self._loss(linear), self._loss(trained)
            pays = after < before
            self._say(
                f"Fine-tuning: loss of {len(held_out)} held-out videos {before:.3f} -> "
                f"{after:.3f} after {epoch} epochs: the "
                + ("network is trained on all videos." if pays else "linear classifier is kept.")
            )
            if not pays:
                return None
            self._say("Note: what was cross-validated is the linear classifier it began with.")
            thresholds = None
            if few.annotations.several:  # of those that neither training saw
                judged_alone = evaluation_of(few.annotations.classes, trained)
                thresholds = metrics.best_thresholds(judged_alone.labels, judged_alone.video_scores)
            start = few.build_model(fitted, thresholds)
            return train_from(start, few, videos, [], epoch, self._say)[0]

    def _score(self, network: keras.Model, videos: Sequence[Video]) -> list[Prediction]:
        few = self._few
        model = classifier.of_network(network, few.recipe, hardware=few.devices)
        return list(score(model, few.source.reader, videos))

    def _loss(self, scored: Sequence[Prediction]) -> float:
        """Returns the mean cross-entropy of videos; one without scores is as bad as a guess."""
        videos = self._few.annotations
        shares = np.stack([video.scores for video in scored]).clip(1e-12, 1 - 1e-12)
        logits = np.nan_to_num(np.log(shares) - np.log1p(-shares) * videos.several)
        labels = targets([video.source for video in scored], videos.classes, videos.several)
        return float(-ridge.log_likelihoods(logits, labels)[0].mean())

    def _write(
        self, evaluation: Evaluation, folder: Path, split: str, how: Mapping[str, Any]
    ) -> None:
        run, reader = self._run, self._few.source.reader
        self._say(f"\nEvaluation: {split}\n{evaluation}")
        name = "evaluation" if folder == run.path else "cross_validation"
        run.summary[name] = {"split": split, **evaluation.figures()}
        described = dataclasses.replace(
            evaluation, split=split, reader=reader, described=how, run=run
        )
        results.write(described, folder)
        run.update_summary()


def _with_thresholds_of_others(
    scored: Sequence[Prediction], classes: Sequence[str], folds: np.ndarray
) -> list[Prediction]:
    """Gives the videos of each fold thresholds that those of the other folds chose."""
    evaluation = evaluation_of(classes, scored)
    truth, scores = evaluation.labels, evaluation.video_scores
    chosen = [
        metrics.best_thresholds(truth[folds != n], scores[folds != n])
        for n in range(folds.max() + 1)
    ]
    return [
        dataclasses.replace(video, thresholds=chosen[number])
        for video, number in zip(scored, folds, strict=True)
    ]


def train_from(
    kept: keras.Model,
    few: Few,
    videos: Sequence[Video],
    held_out: Sequence[Video],
    epochs: int,
    say: Say,
) -> tuple[keras.Model, int]:
    """Trains a network as the recipe's [train] says; nothing is saved if it is interrupted.

    Returns the network with the weights of the epoch with the lowest loss of the held-out videos,
    or of the last one if there are none, and that epoch.
    """
    train = _Train(**{**vars(few.recipe.train), "epochs": epochs, "patience": None})
    splits = {"train": list(videos), **({"validation": list(held_out)} if held_out else {})}
    annotations = Annotations(splits, few.annotations.classes, [])
    source = dataclasses.replace(few.source, annotations=annotations)
    recipe = dataclasses.replace(few.recipe, train=train)
    keras.utils.set_random_seed(train.seed)
    opened = setup.Opened(recipe, source, few.devices)
    ready = setup.assemble(opened, kept, chooses=bool(held_out))
    progress = Training(ready, observers=[_EpochLines(epochs, say)]).fit()
    return kept, progress.best_epoch


class _Train(recipes.Train):
    """The first epochs of a training, which may be fewer than those of its warm-up."""

    def _at_odds(self) -> Iterator[tuple[str, str]]:
        yield from ()


@dataclasses.dataclass
class _EpochLines(Observer):
    """Says a line an epoch."""

    epochs: int
    say: Say

    def epoch(self, progress: Progress, confusion: np.ndarray | None) -> None:
        row = progress.log[-1]
        held_out = f"; held out {row['val_loss']:.4f}" if "val_loss" in row else ""
        self.say(f"Epoch {progress.epoch}/{self.epochs}: loss {row['loss']:.4f}{held_out}")
