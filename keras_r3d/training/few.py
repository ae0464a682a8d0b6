"""Training on few videos: they are embedded once, and a linear classifier is fitted to that.

The classifier is folded into the network as its last layer, so that what is kept is a model as any
other. Its accuracy is cross-validated: every video is predicted by a classifier that did not see
it, and the classifier that is kept is fitted to all of them.
"""

import dataclasses
import datetime
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_r3d
from keras_r3d import files, run_folder
from keras_r3d.applications import embedding, metadata
from keras_r3d.data import annotations, flow, sheet, source
from keras_r3d.data.annotations import AnnotationError, Annotations, Video
from keras_r3d.data.annotations.videos import some
from keras_r3d.data.source import Source
from keras_r3d.devices import Devices, choose
from keras_r3d.errors import R3DError
from keras_r3d.inference import (
    artefacts,
    classifier,
    evaluation_folder,
    protocol,
    report,
    ridge,
)
from keras_r3d.inference.averaging import average
from keras_r3d.inference.classifier import Classifier
from keras_r3d.inference.evaluation import Evaluation
from keras_r3d.inference.scoring import Scored, score
from keras_r3d.recipe import Recipe, RecipeError, listed, tables
from keras_r3d.run_folder import Run
from keras_r3d.training import embeddings, few_finetuning, finetune, resuming, troubles
from keras_r3d.training.embeddings import Embedded
from keras_r3d.training.preparing import Options

Say = Callable[[str], None]

_FOLDS, _MOST_GROUPS = 5, 20
_MOST_NUMBERS = 2**28  # of all embeddings, 1 GiB
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
        data_dir: folder of videos, a CSV file, or a clip store (`keras_r3d.data.source`).
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
        prepared = _prepare(recipe, data_dir, hardware, say)
        if run is not None:
            resuming.check_videos(run, prepared.opened)
            if resuming.finished(run):
                resuming.check_finished(run, data_dir)
                return run
        elif options.fresh:
            resuming.move_aside(workdir, say)
        with run_folder.held(workdir):
            if run is None:
                run = _create(prepared, workdir)
            for line in _headlines(prepared, run):
                say(line)
            _train(prepared, run, say, progress)
    return run


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """All that is needed: opened, built and checked; nothing is written.

    Attributes:
        names: of the weights.
        networks: one for each of the weights; their classifiers are of no use.
        embedders: what embeds clips by each network, all with the same input.
    """

    recipe: Recipe
    opened: Source
    hardware: Devices
    names: Sequence[str]
    networks: Sequence[keras.Model]
    embedders: Sequence[keras.Model]

    @property
    def annotations(self) -> Annotations:
        return self.opened.annotations

    @property
    def test_split(self) -> str | None:
        """The split that is evaluated, if there is one."""
        split = self.recipe.eval.split
        return split if split != "train" and self.annotations.splits.get(split) else None


def _prepare(recipe: Recipe, data_dir: str | Path, hardware: Devices, say: Say) -> _Prepared:
    errors: list[R3DError] = []
    names = [name.strip() for name in recipe.model.weights.split(",")]
    settled = []
    for name in names:
        model = dataclasses.replace(recipe.model, weights=name)
        try:
            settled.append(finetune.settle(model, say, in_channels=recipe.data.channels))
        except R3DError as error:
            errors.append(error)
    try:
        opened = source.open_source(data_dir, recipe.data, seed=recipe.train.seed)
    except R3DError as error:
        errors.append(error)
    if errors:
        raise (
            errors[0]
            if len(errors) == 1
            else RecipeError(listed("This training", [str(error) for error in errors]))
        )
    opened = dataclasses.replace(opened, annotations=_all_trained_on(opened.annotations, recipe))
    opened.reader.require_readable(opened.annotations.split("train"), "train")
    data = recipe.data
    shape = (data.frames, data.size, data.size, data.channels)
    classes = opened.annotations.classes
    networks = [finetune.build_model(model, shape, classes, _ignore) for model in settled]
    for name, model in zip(names, settled, strict=True):
        if note := finetune.clip_note(model, data):
            say(f"Note: {name}: {note}")
    assert recipe.few is not None
    try:
        embedders = embedding.join(networks, recipe.few.stages)
    except ValueError as error:
        raise RecipeError(f"Recipe key 'few.stages': {error}") from error
    if len(names) == 1:
        recipe = dataclasses.replace(recipe, model=settled[0])
    return _Prepared(recipe, opened, hardware, names, networks, embedders)


def _ignore(_: str) -> None:
    """Says nothing."""


def _all_trained_on(found: Annotations, recipe: Recipe) -> Annotations:
    """Lets videos of a validation split be trained on: cross-validation takes its place."""
    splits, notes = dict(found.splits), list(found.notes)
    if recipe.eval.split != "validation" and (videos := splits.pop("validation", [])):
        splits["train"] = [*splits["train"], *videos]
        notes.append(
            f"The {len(videos)} videos of the validation split are trained on, too: "
            "cross-validation takes its place."
        )
    return Annotations(splits, found.classes, notes)


def _create(prepared: _Prepared, workdir: Path) -> Run:
    found, opened = prepared.annotations, prepared.opened
    return run_folder.create(
        workdir,
        prepared.recipe,
        found.classes,
        annotations.to_csv(found),
        {
            "status": "training",
            "data_dir": opened.path,
            "video_root": opened.root,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "devices": prepared.hardware.description,
            "replicas": prepared.hardware.replicas,
            "keras_r3d": keras_r3d.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "videos": {name: len(split) for name, split in found.splits.items()},
        },
    )


def _headlines(prepared: _Prepared, run: Run) -> list[str]:
    found = prepared.annotations
    counts = ", ".join(f"{name} {len(split)}" for name, split in found.splits.items())
    sizes = ", ".join(str(one.output_shape[-1]) for one in prepared.embedders)
    return [
        *(f"Note: {note}" for note in found.notes),
        f"Data: {prepared.opened.path}: {len(found.classes)} classes; videos: {counts}",
        f"Devices: {prepared.hardware.description}; {prepared.opened.reader.threads} threads read "
        "clips",
        f"Embeddings: by {' and '.join(prepared.names)}, {sizes} numbers a clip; "
        + protocol.described(prepared.recipe.data, prepared.recipe.eval).rpartition("; ")[0],
        f"Run folder: {run.path} (clips as the network sees them: {run_folder.CLIPS})",
    ]


def _train(
    prepared: _Prepared, run: Run, say: Say, progress: Callable[[int, int], None] | None
) -> None:
    found, seconds = prepared.annotations, _Seconds(say)
    for name in ("evaluation", "cross_validation"):  # of an earlier model
        run.summary.pop(name, None)
    run.update_summary(status="training")
    split = prepared.test_split
    with seconds("embedded"):
        clips = sheet.training_sheet(
            prepared.opened.reader,
            found.split("train"),
            prepared.recipe.data,
            prepared.recipe.train.seed,
        )
        with files.atomic(run.path / run_folder.CLIPS) as temporary:
            clips.savefig(temporary, dpi=100)
        videos = [*found.split("train"), *(found.split(split) if split else [])]
        cache = embeddings.Cache(run.path, _request(prepared))
        known = sum(cache.get(video) is not None for video in videos)
        if known:
            say(f"{known} of {len(videos)} videos were embedded before, and are as they were.")
        rows = embeddings.embed(
            _embedder(prepared), prepared.opened.reader, videos, cache, progress
        )
    count = len(found.split("train"))
    _check_broken(prepared, videos[:count], rows[:count])
    training = _labelled(prepared, videos[:count], rows[:count], say)
    with seconds("fitted"):
        fitted = ridge.fit(training.labelled, prepared.names)
    say(f"Classifier: {fitted.described}.")
    with seconds("cross-validated"):
        crossed = _cross_validate(prepared, training, say)
    tuned = _finetuned(prepared, training, fitted, seconds, say)
    with seconds("kept"):
        model = tuned or _model(prepared, fitted)
        with files.atomic(run.path / run_folder.BEST_MODEL) as temporary:
            model.save(temporary)
    run.update_summary(status="trained", seconds=seconds.stages)
    if crossed is not None:
        how = {"protocol": "each video by a classifier that did not see it", "folds": crossed.folds}
        folder = run.path / run_folder.EVALUATIONS / _CROSS_VALIDATION if split else run.path
        with seconds("evaluated"):
            _write(run, crossed.evaluation, prepared, folder, _CROSS_VALIDATION, how, say)
    if split:
        with seconds("evaluated"):
            tested = zip(videos[count:], rows[count:], strict=True)
            if tuned is None:
                scored = [_scored(prepared, video, one, fitted) for video, one in tested]
            else:
                kept = _classifier(prepared, tuned)
                scored = list(score(kept, prepared.opened.reader, videos[count:]))
            evaluation = protocol.collected(scored, found.classes)
            _write(run, evaluation, prepared, run.path, split, {}, say)
    run.update_summary(seconds=seconds.stages)
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


def _embedder(prepared: _Prepared) -> Classifier:
    """Returns a model whose scores are the embeddings: of all networks, and of mirrored clips."""
    data, of = prepared.recipe.data, prepared.recipe.eval
    joined = [one.outputs[0] for one in prepared.embedders]
    outputs = keras.layers.Concatenate()(joined) if len(joined) > 1 else joined[0]
    network = keras.Model(prepared.embedders[0].inputs, outputs)
    score = artefacts.of_network(network, prepared.hardware, of.batch_size)
    size = network.output_shape[-1]

    def both(clips: np.ndarray) -> np.ndarray:
        mirrored = np.ascontiguousarray(clips[:, :, :, ::-1])
        if data.input != "rgb":
            flow.turn_back(mirrored)
        return np.concatenate([score(clips), score(mirrored)], axis=1)

    return Classifier(
        name=" and ".join(prepared.names),
        kind=artefacts.KERAS,
        classes=[str(number) for number in range((1 + data.flip) * size)],
        data=data,
        eval=dataclasses.replace(of, average="probabilities"),  # the plain mean
        score=both if data.flip else score,
        network=network,
        described="",
    )


def _request(prepared: _Prepared) -> Mapping[str, Any]:
    """Returns what embeddings depend on, beside the videos."""
    data, few = prepared.recipe.data, prepared.recipe.few
    assert few is not None
    ours = ("input", "frames", "sampling", "short_side", "size", "crop", "spans", "flip")
    return {
        "version": 1,
        "weights": [_digest(network) for network in prepared.networks],
        "stages": few.stages,
        "data": {key: getattr(data, key) for key in (*ours, "frame_stride")},
        "windows": prepared.recipe.eval.windows,
        "views": prepared.recipe.eval.views,
    }


def _digest(network: keras.Model) -> str:
    """Returns a hash of all weights but those of the classifier, and of the normalisation."""
    about = metadata.read(network)
    parts = [repr((about.mean, about.std) if about else "").encode()]
    for layer in network.layers:
        if layer.name != embedding.HEAD:
            parts += [array.tobytes() for array in layer.get_weights()]
    return files.sha256_of(parts)


def _check_broken(prepared: _Prepared, videos: Sequence[Video], rows: Sequence[Embedded]) -> None:
    """Raises AnnotationError if too many videos are broken, or all of a class."""
    broken = [n for n, one in enumerate(rows) if one.status == "error"]
    share = prepared.recipe.data.broken_share
    if len(broken) > max(1, int(share * len(videos))):
        raise AnnotationError(
            f"{len(broken)} of {len(videos)} training videos are broken, more than "
            f"data.broken_share = {share:g} allows; the first: {rows[broken[0]].detail} "
            "`python -m keras_r3d.scan` finds them all."
        )
    left = Counter(v.label for v, one in zip(videos, rows, strict=True) if one.status != "error")
    lost = [name for name in prepared.annotations.classes if not left[name]]
    if lost:
        example = next(rows[n].detail for n in broken if videos[n].label in lost)
        raise AnnotationError(
            f"None of the videos of {some(lost)} can be read: {example} Repair or replace them, or "
            "leave the class out."
        )


@dataclasses.dataclass(frozen=True)
class _Training:
    """The embeddings that are fitted to.

    Attributes:
        labelled: of the readable videos.
        videos, rows: all of them.
        readable: bool, which of them are in `labelled`.
    """

    labelled: ridge.Labelled
    videos: Sequence[Video]
    rows: Sequence[Embedded]
    readable: np.ndarray


def _labelled(
    prepared: _Prepared, videos: Sequence[Video], rows: Sequence[Embedded], say: Say
) -> _Training:
    """Puts labels, groups and embeddings together."""
    readable = np.array([one.status != "error" for one in rows])
    flat = [_flat(one) for one, good in zip(rows, readable, strict=True) if good]
    numbers = sum(one.size for one in flat)
    if prepared.recipe.data.flip:
        # The mirrored clips are further rows.
        flat = [one.reshape(len(one) * 2, -1) for one in flat]
    if numbers > _MOST_NUMBERS:
        flat = [one.mean(axis=0, keepdims=True) for one in flat]
        say(
            f"Note: {numbers:,} numbers are too many to fit to at a time: each video's mean is "
            "taken instead of its windows."
        )
    features = np.concatenate(flat)
    if features.std(axis=0).max() <= 1e-6 * max(1e-30, float(np.abs(features).max())):
        raise AnnotationError(
            f"All {len(flat)} training videos look the same to the network: are they copies of one "
            "file, or all black?"
        )
    classes = prepared.annotations.classes
    places = {name: number for number, name in enumerate(classes)}
    known = [video for video, good in zip(videos, readable, strict=True) if good]
    # Segments of one file are not independent, either.
    units = [f"group {video.group}" if video.group else video.path for video in known]
    labelled = ridge.Labelled(
        features=_split(prepared, features),
        videos=np.repeat(np.arange(len(flat)), [len(one) for one in flat]),
        labels=np.array([places[video.label] for video in known]),
        groups=np.unique(units, return_inverse=True)[1],
        classes=len(classes),
    )
    return _Training(labelled, videos, rows, readable)


def _flat(one: Embedded) -> np.ndarray:
    """Returns the embeddings of a video's windows and views, float32 `(rows, d)`."""
    return one.features.reshape(-1, one.features.shape[-1])


def _split(prepared: _Prepared, features: np.ndarray) -> list[np.ndarray]:
    """Returns the embeddings by each network, without those of mirrored clips, which follow."""
    ends = np.cumsum([one.output_shape[-1] for one in prepared.embedders])
    return np.split(features[:, : ends[-1]], ends[:-1], axis=1)


@dataclasses.dataclass(frozen=True)
class _CrossValidated:
    evaluation: Evaluation
    folds: int


def _cross_validate(prepared: _Prepared, training: _Training, say: Say) -> _CrossValidated | None:
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
        _scored(prepared, *one) for one in zip(training.videos, training.rows, by, strict=True)
    ]
    say(f"Cross-validated in {count} folds" + (", by group." if grouped else "."))
    return _CrossValidated(protocol.collected(scored, classes), count)


def _scored(prepared: _Prepared, video: Video, one: Embedded, fitted: ridge.Fitted) -> Scored:
    """Returns the scores of a video as a model with this classifier gives them."""
    of, classes = prepared.recipe.eval.average, len(prepared.annotations.classes)
    if one.status == "error":
        nothing, none = np.empty((0, classes), np.float32), np.full(classes, np.nan)
        return Scored(video, "error", one.detail, nothing, np.empty((0, 2)), none)
    logits = fitted.logits(_split(prepared, _flat(one)))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    views = shares.reshape(*one.features.shape[:2], classes)
    windows = np.stack([average(own, of) for own in views]).astype(np.float32)
    return Scored(video, one.status, one.detail, windows, one.seconds, average(windows, of))


def _finetuned(
    prepared: _Prepared, training: _Training, fitted: ridge.Fitted, seconds: _Seconds, say: Say
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
        linear = [_scored(prepared, known[n], rows[n], first) for n in held]
        kept, out = [known[n] for n in np.flatnonzero(fold != 0)], [known[n] for n in held]
        model, epoch = few_finetuning.train(
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
        return few_finetuning.train(
            *(_model(prepared, fitted), prepared.recipe, prepared.opened, prepared.hardware),
            *(known, [], epoch, say),
        )[0]


def _loss(prepared: _Prepared, scored: Sequence[Scored]) -> float:
    """Returns the mean cross-entropy of videos; one without a score is as bad as a guess."""
    classes = prepared.annotations.classes
    right = [one.scores[classes.index(one.video.label)] for one in scored]
    return float(-np.log(np.maximum(np.nan_to_num(right, nan=1 / len(classes)), 1e-12)).mean())


def _classifier(prepared: _Prepared, network: keras.Model) -> Classifier:
    """Returns what scores videos by a network as it is kept."""
    return classifier.of_network(network, prepared.recipe, hardware=prepared.hardware)


def _model(prepared: _Prepared, fitted: ridge.Fitted) -> keras.Model:
    """Folds the classifier into the networks that it takes."""
    found = zip(prepared.embedders, fitted.kernels, strict=True)
    taken = [(embedder, kernel) for embedder, kernel in found if kernel is not None]
    kernel = np.concatenate([kernel for _, kernel in taken])
    model = embedding.classifier([embedder for embedder, _ in taken], kernel, fitted.bias)
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
    prepared: _Prepared,
    folder: Path,
    split: str,
    how: Mapping[str, Any],
    say: Say,
) -> None:
    say(f"\nEvaluation: {split}")
    say(report.table(evaluation))
    figures = {"split": split, **evaluation.figures()}
    run.summary["evaluation" if folder == run.path else "cross_validation"] = figures
    reader = prepared.opened.reader
    evaluation_folder.write(evaluation, reader, folder, split, how)
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
