"""Training on few videos: they are embedded once, and a linear classifier is fitted to that.

The classifier is folded into the network as its last layer, so that what is kept is a model as any
other. Its accuracy is cross-validated: every video is predicted by a classifier that did not see
it, and the classifier that is kept is fitted to all of them.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d import run_folder
from keras_r3d.applications import embedding, metadata
from keras_r3d.data import sheet
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.evaluation import results
from keras_r3d.inference.evaluation.evaluation import Evaluation
from keras_r3d.inference.models import classifier
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.inference.prediction.scoring import score
from keras_r3d.recipe import Recipe, tables
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.devices import choose
from keras_r3d.system.errors import R3DError
from keras_r3d.training import resuming, troubles
from keras_r3d.training.few import embeddings, finetuning, setup
from keras_r3d.training.few.setup import Labelled, Prepared, scored_by
from keras_r3d.training.preparing import Options, create_run

Say = Callable[[str], None]

_FOLDS, _MOST_GROUPS = 5, 10
_CROSS_VALIDATION = "cross-validation"


def train(
    recipe: Recipe,
    data_dir: str | Path,
    workdir: Path,
    options: Options | None = None,
    *,
    say: Say = print,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Fits a classifier to the embeddings of a recipe's [few], and evaluates it.

    Args:
        data_dir: folder of videos, a CSV file, or a clip store (`keras_r3d.data.opening`).
        workdir: folder of the run. Embeddings of unchanged videos that runs in it or beside it hold
            are not computed again.
        options: how and where it runs.
        say: takes each line of the report.
        progress: takes the number of videos embedded so far, and of all.

    Returns:
        The run. Its folder holds the model, the embeddings, a sheet of clips, and evaluations: of
        the test split if there is one, and cross-validated.

    Raises:
        R3DError: anything in the recipe, the data or the folder that keeps it from being done.
    """
    options = options or Options()
    workdir = Path(os.path.abspath(workdir)) if options.fresh else workdir
    run = None if options.fresh else resuming.find(workdir, recipe, say)
    if run is None:
        resuming.check_workdir(workdir, fresh=options.fresh)
    hardware = choose(options.devices)
    if hardware.workers > 1:
        raise R3DError("A recipe with [few] is trained on one machine: unset TF_CONFIG.")
    with troubles.as_sentences(workdir):
        prepared = setup.prepare(recipe, data_dir, hardware, say)
        if run is not None:
            resuming.check_videos(run, prepared.opened)
            if resuming.finished(run):
                resuming.check_finished(run, data_dir)
                return run
        elif options.fresh:
            resuming.move_aside(workdir, say)
        with run_folder.held(workdir):
            if run is None:
                run = create_run(prepared.recipe, prepared.opened, hardware, workdir)
            for line in _headlines(prepared, run):
                say(line)
            _train(prepared, run, say, progress)
    return run


def _headlines(prepared: Prepared, run: Run) -> list[str]:
    found = prepared.annotations
    counts = ", ".join(f"{name} {len(split)}" for name, split in found.splits.items())
    return [
        *(f"Note: {note}" for note in found.notes),
        f"Data: {prepared.opened.path}: {len(found.classes)} classes; videos: {counts}",
        *setup.described(prepared),
        f"Run folder: {run.path} (clips as the network sees them: {run_folder.CLIPS})",
    ]


def _train(
    prepared: Prepared,
    run: Run,
    say: Say,
    progress: Callable[[int, int], None] | None,
) -> None:
    found, seconds = prepared.annotations, _Seconds(say)
    for name in ("evaluation", "cross_validation"):  # of an earlier model
        run.summary.pop(name, None)
    run.update_summary(status="training")
    split = prepared.test_split
    with seconds("embedded"):
        reader = prepared.opened.reader
        videos = [*found.split("train"), *(found.split(split) if split else [])]
        cache = embeddings.Cache(run.path, setup.request(prepared), reader)
        known = sum(cache.get(video) is not None for video in videos)
        if known:
            say(f"{known} of {len(videos)} videos were embedded before, and are as they were.")
        model = setup.embedder(prepared)
        rows = embeddings.embed(model, reader, videos, cache, progress)
    count = len(found.split("train"))
    setup.check_broken(prepared, videos[:count], rows[:count])
    training = setup.labelled(prepared, videos[:count], rows[:count], say)
    with seconds("fitted"):
        fitted = ridge.fit(training.labelled, prepared.names)
    say(f"Classifier: {fitted.described}.")
    with seconds("cross-validated"):
        crossed = _cross_validate(prepared, training, say)
    tuned = _finetuned(prepared, training, fitted, seconds, say)
    with seconds("kept"):
        clips = sheet.training_sheet(
            reader,
            found.split("train"),
            prepared.recipe.data,
            prepared.recipe.train.seed,
        )
        with files.atomic(run.path / run_folder.CLIPS) as temporary:
            clips.savefig(temporary, dpi=100)
        kept = tuned or _model(prepared, fitted)
        with files.atomic(run.path / run_folder.BEST_MODEL) as temporary:
            kept.save(temporary)
    if crossed is not None:
        how = {"protocol": "each video by a classifier that did not see it", "folds": crossed.folds}
        folder = run.path / run_folder.EVALUATIONS / _CROSS_VALIDATION if split else run.path
        with seconds("evaluated"):
            _write(run, crossed.evaluation, prepared, folder, _CROSS_VALIDATION, how, say)
    if split:
        with seconds("evaluated"):
            tested = zip(videos[count:], rows[count:], strict=True)
            if tuned is None:
                scored = [scored_by(prepared, video, one, fitted) for video, one in tested]
            else:
                scored = list(score(_classifier(prepared, tuned), reader, videos[count:]))
            evaluation = Evaluation(found.classes, scored)
            _write(run, evaluation, prepared, run.path, split, {}, say)
    run.update_summary(status="trained", seconds=seconds.stages)
    run.report_problems(prepared.opened.reader.problems, say)


class _Seconds:
    """Takes the time of each stage, and says it.

    Attributes:
        stages: seconds by name.
    """

    def __init__(self, say: Say):
        self._say = say
        self.stages: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        self.stages[name] = round(self.stages.get(name, 0.0) + took, 2)
        self._say(f"{name.capitalize()} in {took:.1f} s")


@dataclasses.dataclass(frozen=True)
class _CrossValidated:
    evaluation: Evaluation
    folds: int


def _cross_validate(prepared: Prepared, training: Labelled, say: Say) -> _CrossValidated | None:
    """Evaluates each video by a classifier that did not see it; None where that cannot be done."""
    labelled, few = training.labelled, prepared.recipe.few
    assert few is not None
    grouped = any(video.group for video in training.videos)
    units = len(np.unique(labelled.groups))
    count = few.folds or (min(units, _MOST_GROUPS) if grouped else _FOLDS)
    if max(Counter(labelled.labels.tolist()).values()) < 2 or units < 2:
        say(
            "Note: no accuracy can be cross-validated: it needs a class with two videos"
            + (" of different groups." if grouped else ".")
        )
        return None
    fold = ridge.folds(labelled, count)
    count = int(fold.max()) + 1
    fits = ridge.fit_without(labelled, fold, prepared.names)
    classes = prepared.annotations.classes
    for number in range(count):
        others = np.unique(labelled.labels[fold != number])
        lacking = [name for place, name in enumerate(classes) if place not in others]
        if lacking:
            say(
                f"Note: fold {number + 1} holds all videos of {some(lacking)}: they cannot be "
                "predicted by the others, and count as wrong."
            )
    if not grouped:
        say(
            "Note: without a column 'group' (scene, person, camera) in a CSV file, neighbouring "
            "clips of one recording may be on both sides of a fold, which inflates the figure."
        )
    numbers = iter(fold.tolist())
    by = [fits[next(numbers)] if good else fits[0] for good in training.readable]
    scored = [
        scored_by(prepared, *one) for one in zip(training.videos, training.rows, by, strict=True)
    ]
    say(f"Cross-validated in {count} folds" + (", by group." if grouped else "."))
    return _CrossValidated(Evaluation(classes, scored), count)


def _finetuned(
    prepared: Prepared,
    training: Labelled,
    fitted: ridge.Fitted,
    seconds: _Seconds,
    say: Say,
) -> keras.Model | None:
    """Trains the network from the classifier on, if that is asked for and pays; None if not.

    A fifth of the videos is held out: the classifier that is fitted to the others is trained on
    them, and if that lowers the loss of those held out, so many epochs are trained on all videos.

    Reference:
        Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
        Out-of-Distribution, ICLR 2022.
    """
    few = prepared.recipe.few
    assert few is not None
    if not few.finetune_epochs:
        return None
    labelled = training.labelled
    fold = ridge.folds(labelled, _FOLDS)
    known = [v for v, good in zip(training.videos, training.readable, strict=True) if good]
    rows = [one for one, good in zip(training.rows, training.readable, strict=True) if good]
    others = set(labelled.labels[fold != 0].tolist())
    held = [n for n in np.flatnonzero(fold == 0).tolist() if labelled.labels[n] in others]
    if not held:
        say("Note: nothing is trained further: no video can be held out to see whether it pays.")
        return None
    with seconds("fine-tuned"):
        first = ridge.fit(labelled.taken(fold != 0), prepared.names)
        linear = [scored_by(prepared, known[n], rows[n], first) for n in held]
        kept, out = [known[n] for n in np.flatnonzero(fold != 0)], [known[n] for n in held]
        model, epoch = finetuning.train(
            *(_model(prepared, first), prepared.recipe, prepared.opened, prepared.hardware),
            *(kept, out, few.finetune_epochs, say),
        )
        scored = list(score(_classifier(prepared, model), prepared.opened.reader, out))
        before, after = (_loss(prepared, ones) for ones in (linear, scored))
        pays = after < before
        say(
            f"Fine-tuning: loss of {len(held)} held-out videos {before:.3f} -> {after:.3f} after "
            f"{epoch} epochs: the "
            + ("network is trained on all videos." if pays else "linear classifier is kept.")
        )
        if not pays:
            return None
        say("Note: what was cross-validated is the linear classifier that it began with.")
        return finetuning.train(
            *(_model(prepared, fitted), prepared.recipe, prepared.opened, prepared.hardware),
            *(known, [], epoch, say),
        )[0]


def _loss(prepared: Prepared, scored: Sequence[Prediction]) -> float:
    """Returns the mean cross-entropy of videos; one without a score is as bad as a guess."""
    classes = prepared.annotations.classes
    right = [one.scores[classes.index(one.source.label)] for one in scored]
    return float(-np.log(np.maximum(np.nan_to_num(right, nan=1 / len(classes)), 1e-12)).mean())


def _classifier(prepared: Prepared, network: keras.Model) -> Classifier:
    """Returns what scores videos by a network as it is kept."""
    return classifier.of_network(network, prepared.recipe, hardware=prepared.hardware)


def _model(prepared: Prepared, fitted: ridge.Fitted) -> keras.Model:
    """Folds the classifier into the networks that it takes."""
    few = prepared.recipe.few
    assert few is not None
    found = zip(prepared.networks, fitted.kernels, strict=True)
    taken = [(network, kernel) for network, kernel in found if kernel is not None]
    kernel = np.concatenate([kernel for _, kernel in taken])
    embedders = embedding.join([network for network, _ in taken], few.stages)
    model = embedding.classifier(embedders, kernel, fitted.bias)
    metadata.record(model, labels=prepared.annotations.classes, recipe=tables(prepared.recipe))
    model.compile(
        optimizer="sgd",
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=prepared.hardware.jit_compile,
    )
    return model


def _write(
    run: Run,
    evaluation: Evaluation,
    prepared: Prepared,
    folder: Path,
    split: str,
    how: Mapping[str, Any],
    say: Say,
) -> None:
    say(f"\nEvaluation: {split}")
    say(str(evaluation))
    figures = {"split": split, **evaluation.figures()}
    run.summary["evaluation" if folder == run.path else "cross_validation"] = figures
    reader = prepared.opened.reader
    described = dataclasses.replace(evaluation, split=split, reader=reader, described=how)
    results.write(described, folder)
    run.update_summary()


def figures(run: Run) -> Sequence[tuple[str, str]]:
    """Returns what a finished run came to, as lines of a table."""
    rows = [(stage, f"{seconds:.1f} s") for stage, seconds in run.summary["seconds"].items()]
    for name in ("cross_validation", "evaluation"):
        if scores := run.summary.get(name):
            low, high = scores["video_top1_interval"]
            rows.append(
                (
                    f"{scores['split']}",
                    f"{scores['video_top1']:.1%} of {scores['videos']} videos "
                    f"({low * 100:.1f}-{high:.1%})",
                )
            )
    return rows
