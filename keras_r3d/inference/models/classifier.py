"""A model with all that it takes to score a video: class names, and how its clips are cut."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_r3d import recipe
from keras_r3d.applications import Metadata
from keras_r3d.data.annotations.background import NAME as BACKGROUND
from keras_r3d.data.annotations.video import some
from keras_r3d.inference.models import runtimes
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.runtimes import Loaded, Score
from keras_r3d.recipe import Recipe
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.devices import Devices, choose
from keras_r3d.system.errors import ModelError

AS_THE_PAPER = "consecutive frames, as in the paper"  # `described`, where nothing says otherwise


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model that scores clips."""

    name: str  # path of the model
    kind: str  # as `runtimes.kind` names it
    classes: Sequence[str]  # names, in the order of the scores
    clips: recipe.Clips
    eval: recipe.Eval
    score: Score  # uint8 clips -> probabilities, as `runtimes` says
    network: keras.Model | None  # None of other kinds than Keras
    described: str  # what `clips` was taken from, in words
    # Of a model that names several labels: the scores from which on it names each class.
    thresholds: np.ndarray | None = None

    @property
    def silent(self) -> tuple[str, ...]:
        """Classes that segments never are of."""
        return BACKGROUND, *(self.eval.silent or ())

    def average(self, scores: np.ndarray) -> np.ndarray:
        """Averages scores of views or windows, `(n, classes)`, to float64 `(classes,)`."""
        return average(scores, self.eval.average, self.thresholds is not None)


def fingerprint(model: Classifier) -> str:
    """Returns the SHA-256 of a model's files, or of a network in memory."""
    path = Path(model.name)
    paths = path.rglob("*") if path.is_dir() else (path, path.with_suffix(".bin"))  # of OpenVINO
    if found := sorted(part for part in paths if part.is_file()):
        return files.sha256(*found)
    assert model.network is not None
    weights = (np.ascontiguousarray(weight).tobytes() for weight in model.network.get_weights())
    return files.sha256_of(itertools.chain([model.network.to_json().encode()], weights))


@dataclasses.dataclass(frozen=True)
class _Context:
    """What is known of a model beside what it says itself."""

    recipe: Recipe | None  # comes before the model's own
    described: str  # what `recipe` is, in words
    overrides: Iterable[str]  # of the recipe that counts
    classes: Sequence[str] | None = None  # of the model's run, if it is of one


def of_file(
    path: Path,
    experiment: str | Recipe | Run | None = None,
    *,
    overrides: Iterable[str] = (),
    hardware: Devices | None = None,
) -> Classifier:
    """Opens a model by its file.

    Args:
        path: as `runtimes.kind` takes it.
        experiment: says how clips are cut, a run also what its classes are. None: the recipe that
            the file carries; else consecutive frames, as the paper, as many and as large as the
            model takes.
        overrides: changes of the recipe, "section.key=value".
    """
    if isinstance(experiment, Run):
        described = f"recipe of the run {experiment.path}"
        context = _Context(experiment.recipe, described, overrides, experiment.classes)
    elif isinstance(experiment, str):
        context = _Context(recipe.load(experiment), f"recipe {experiment}", overrides)
    else:
        context = _Context(experiment, "as it was asked for", overrides)
    kind = runtimes.kind(path)
    if kind == runtimes.KERAS:
        loaded = runtimes.load_network(path, hardware or choose())
    else:
        loaded = runtimes.load_export(path)
    return _settle(str(path), kind, loaded, context)


def of_network(
    network: keras.Model,
    experiment: Recipe | None = None,
    *,
    overrides: Iterable[str] = (),
    hardware: Devices | None = None,
) -> Classifier:
    """Takes a model in memory that gives probabilities or logits; arguments as of `of_file`.

    Its class names are those kept in it, else numbers.
    """
    loaded = runtimes.take_network(network, network.name, hardware or choose())
    context = _Context(experiment, "recipe", overrides)
    return _settle(network.name, runtimes.KERAS, loaded, context)


def thresholds_of(metadata: Metadata, classes: int, name: str) -> np.ndarray | None:
    """Returns the thresholds of a model that names several labels; ModelError if they are none."""
    if metadata.thresholds is None:
        return None
    try:
        thresholds = np.array(metadata.thresholds, np.float64)
    except (TypeError, ValueError):
        thresholds = np.empty(0)
    if thresholds.shape != (classes,) or not np.isfinite(thresholds).all():
        shown = str(metadata.thresholds)[:100]
        raise ModelError(
            f"{name} must have a threshold, a number, for each of {classes} classes: it is "
            f"damaged. Received: {shown}"
        )
    return thresholds


def _settle(name: str, kind: str, loaded: Loaded, context: _Context) -> Classifier:
    """Settles what counts of a model: what it says itself, or what is known from outside.

    Raises ModelError if it has other classes or takes other clips than it should.
    """
    if loaded.metadata is None and loaded.network is None and context.classes is None:
        raise ModelError(
            f"{name} comes without class names: pass the run it was exported from, `workdir` (of a "
            "VideoClassifier `exported_from`)."
        )
    metadata, shape, count = loaded.metadata or Metadata(), loaded.shape, loaded.classes
    labels, run_labels = metadata.labels, context.classes
    if labels and run_labels and (others := sorted(set(labels) ^ set(run_labels))):
        raise ModelError(
            f"{name} has other classes than the run. Only one of them has: {some(others)}"
        )
    classes = list(labels or run_labels or map(str, range(count or 0)))
    if count not in (None, len(classes)):
        raise ModelError(f"{name} has {count} classes, but {len(classes)} are named.")
    frames, height, width, _ = shape
    if context.recipe is not None:
        experiment, described = context.recipe, context.described
    elif metadata.recipe is not None:
        experiment, described = metadata.read_recipe(name), "recipe in the model"
    else:
        experiment, described = recipe.load(recipe.PAPER), AS_THE_PAPER
    experiment = recipe.override(experiment, list(context.overrides))
    clips, evaluation = experiment.clips, experiment.eval
    if described == AS_THE_PAPER:
        rows, columns = clips.image_size
        size = height or rows, width or columns
        clips = dataclasses.replace(clips, frames=frames or clips.frames, size=size)
    if any(size not in (None, ours) for size, ours in zip(shape, clips.shape, strict=True)):
        raise ModelError(
            f"{name} takes clips of {tuple(shape)} (frames, height, width, channels), but its "
            f"recipe cuts {clips.shape}: pass the recipe it was trained with."
        )
    if loaded.network is not None and None in shape:
        try:
            loaded.network.compute_output_shape((1, *clips.shape))
        except ValueError as error:
            raise ModelError(
                f"{name} cannot take clips of {clips.shape} (frames, height, width, channels), "
                "which are too small for it: pass a recipe or `clips` of more frames or pixels."
            ) from error
    score = loaded.score(evaluation.batch_size)
    thresholds = thresholds_of(metadata, len(classes), name)
    return Classifier(
        *(name, kind, classes, clips, evaluation, score, loaded.network, described, thresholds)
    )
