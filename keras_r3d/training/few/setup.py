"""What training on few videos needs: networks that embed, and what is made of their embeddings."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d import recipe as recipes
from keras_r3d.applications import embedding, metadata
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.annotations.labels import targets
from keras_r3d.data.annotations.video import some
from keras_r3d.data.decoding import flow
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.embeddings.novelty import Distances
from keras_r3d.inference.models import protocol, runtimes
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.recipe import Recipe
from keras_r3d.recipe.tables import as_dict
from keras_r3d.system import files
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import DataError, RecipeError
from keras_r3d.training import checks, finetune, setup
from keras_r3d.training.few.embeddings import Cache, Embedded
from keras_r3d.training.finetune import Say

_MOST_NUMBERS = 2**26  # of all embeddings; 2 GiB while it is fitted


@dataclasses.dataclass(frozen=True)
class Few(setup.Opened):
    """A training on few videos: everything is opened, built and checked, nothing is written.

    Each of the weights, by `names`, has a network, whose classifier is of no use, and an embedder
    of clips; all embedders have the same input.
    """

    names: Sequence[str]
    networks: Sequence[keras.Model]
    embedders: Sequence[keras.Model]

    @property
    def settings(self) -> recipes.Few:
        """The recipe's [few]."""
        assert self.recipe.few is not None
        return self.recipe.few

    @property
    def classes(self) -> Sequence[str]:
        """What the model answers with: the classes, and `NONE` where [few] has `open_set`."""
        open_set = self.settings.open_set is not None
        return [*self.annotations.classes, *[embedding.NONE] * open_set]

    @property
    def test_split(self) -> str | None:
        """The split that is evaluated, if there is one."""
        split = self.recipe.eval.split
        return split if split != "train" and self.annotations.splits.get(split) else None

    @property
    def videos(self) -> list[Video]:
        """All that are embedded: those that are trained on, then those of `test_split`."""
        splits = self.annotations.splits
        return [*splits["train"], *(splits[self.test_split] if self.test_split else [])]

    @property
    def sizes(self) -> list[int]:
        """How many numbers each network makes of a clip."""
        return [embedder.output_shape[-1] for embedder in self.embedders]

    def describe(self) -> list[str]:
        """Returns lines on devices and networks."""
        sizes = ", ".join(map(str, self.sizes))
        windows = protocol.described(self.recipe.clips, self.recipe.eval).rpartition("; ")[0]
        threads = self.source.reader.threads
        return [
            f"Devices: {self.devices.description}; {threads} threads read clips",
            f"Embeddings: by {' and '.join(self.names)}, {sizes} numbers a clip; {windows}",
        ]

    def embedder(self) -> Classifier:
        """Returns a model whose scores are the embeddings: of all networks, and mirrored clips."""
        cut = self.recipe.clips
        plain_mean = dataclasses.replace(self.recipe.eval, average="probabilities")
        outputs = [embedder.outputs[0] for embedder in self.embedders]
        joined = keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]
        network = keras.Model(self.embedders[0].inputs, joined)
        score = runtimes.of_network(network, self.devices, plain_mean.batch_size)

        def score_both(clips: np.ndarray) -> np.ndarray:
            mirrored = np.ascontiguousarray(clips[:, :, :, ::-1])
            if cut.input != "rgb":
                flow.turn_back(mirrored)
            return np.concatenate([score(clips), score(mirrored)], axis=1)

        name, scores = " and ".join(self.names), score_both if cut.flip else score
        numbers = [str(number) for number in range((1 + cut.flip) * sum(self.sizes))]
        return Classifier(name, runtimes.KERAS, numbers, cut, plain_mean, scores, network, "")

    def cache(self, folder: Path) -> Cache:
        """Returns the embeddings that are in the folder of a run, or beside it."""
        return Cache(folder, self.request(), self.source.reader)

    def request(self) -> Mapping[str, Any]:
        """Returns what embeddings depend on, beside the videos."""
        cut = self.recipe.clips
        return {
            "version": 2,
            "weights": [_digest(network) for network in self.networks],
            "stages": self.settings.stages,
            "clips": as_dict(cut) | {"crop": cut.crop.kind, "augment": None},
            "windows": self.recipe.eval.windows,
            "views": self.recipe.eval.views,
        }

    def score(
        self,
        video: Video,
        row: Embedded,
        fitted: ridge.Fitted,
        distances: Distances | None = None,
    ) -> Prediction:
        """Returns the scores of a video as a model with this classifier gives them."""
        average_kind, classes = self.recipe.eval.average, self.classes
        thresholds, several = self.first_thresholds, self.annotations.several
        if row.status == "error":
            return Prediction.error(video, classes, row.detail, thresholds)
        features = self.split(row.features.reshape(-1, row.features.shape[-1]))
        logits = fitted.logits(features)
        if distances is not None:
            logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
            squared = distances.squared(np.concatenate(features, axis=1))
            logits = np.pad(logits - embedding.STEEPNESS * (squared - 1), [(0, 0), (0, 1)])
        if several:
            shares = 1 / (1 + np.exp(-logits))
        else:
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
        views = shares.reshape(*row.features.shape[:2], len(classes))
        means = [average(view, average_kind, several) for view in views]
        windows = np.stack(means).astype(np.float32)
        scores = average(windows, average_kind, several)
        parts = video, row.status, row.detail, classes, scores, windows, row.seconds
        return Prediction(*parts, thresholds)

    @property
    def first_thresholds(self) -> np.ndarray | None:
        """Thresholds of several labels before any are chosen."""
        return np.full(len(self.annotations.classes), 0.5) if self.annotations.several else None

    def split(self, features: np.ndarray) -> list[np.ndarray]:
        """Returns the embeddings by each network, without those of mirrored clips at the end."""
        ends = np.cumsum(self.sizes)
        return np.split(features[:, : ends[-1]], ends[:-1], axis=1)

    def build_model(
        self,
        fitted: ridge.Fitted,
        thresholds: np.ndarray | None = None,
        distances: Distances | None = None,
    ) -> keras.Model:
        """Folds a classifier into the networks that it takes; `thresholds` as `setup.complete`."""
        pairs = zip(self.networks, fitted.kernels, strict=True)
        used = [(network, kernel) for network, kernel in pairs if kernel is not None]
        measured = None
        if distances is not None:
            parts = np.split(distances.kernel, np.cumsum(self.sizes)[:-1])
            taken = [p for p, k in zip(parts, fitted.kernels, strict=True) if k is not None]
            measured = np.concatenate(taken), distances.centers
        embedders = embedding.join([network for network, _ in used], self.settings.stages)
        kernel = np.concatenate([kernel for _, kernel in used])
        several = self.annotations.several
        model = embedding.classifier(embedders, kernel, fitted.bias, several, measured)
        thresholds = self.first_thresholds if thresholds is None else thresholds
        limits = None if thresholds is None else thresholds.tolist()
        setup.complete(model, self.recipe, self.classes, self.devices, limits)
        return model


def prepare(recipe: Recipe, data: str | Path, devices: Devices, say: Say) -> Few:
    """Opens the data and builds the networks of a recipe with [few]; raises R3DError."""
    source, models = checks.open_source(recipe, data, devices, say)
    source = dataclasses.replace(
        source, annotations=_all_trained_on(source.annotations, recipe, say)
    )
    source.reader.require_readable(source.annotations.split("train"), "train")
    classes, clips, few = source.annotations.classes, recipe.clips, recipe.few
    assert few is not None
    if few.open_set is not None and source.annotations.several:
        raise RecipeError(
            "Recipe key 'few.open_set' is for videos with one label each, and these have several: "
            "where none of their classes reaches its threshold, none is named. Leave it out."
        )
    if few.open_set is not None and embedding.NONE in classes:
        raise DataError(
            f"The data has a class '{embedding.NONE}', as the one that 'few.open_set' adds is "
            "called: give it another name, or leave 'few.open_set' out."
        )
    names = [name.strip() for name in (recipe.model.weights or "").split(",")]
    networks = []
    for name, model in zip(names, models, strict=True):
        weights = finetune.open_source(model)
        if weights is not None and weights.clip not in (None, clips.shape[:3]):
            frames, *size = weights.clip
            recipe_frames, *recipe_size = clips.shape[:3]
            say(
                f"Note: {name}: these weights were trained on clips of {frames} frames of "
                f"{'x'.join(map(str, size))} pixels, and the recipe's have {recipe_frames} of "
                f"{'x'.join(map(str, recipe_size))}. As they were trained: clips.frames={frames} "
                f"and clips.size={size[0] if size[0] == size[1] else size}."
            )
        networks.append(finetune.build_model(model, clips.shape, classes, lambda _: None, weights))
    try:
        embedders = embedding.join(networks, few.stages)
    except ValueError as error:
        raise RecipeError(f"Recipe key 'few.stages': {error}") from error
    if len(models) == 1:
        recipe = dataclasses.replace(recipe, model=models[0])
    return Few(recipe, source, devices, names, networks, embedders)


def _all_trained_on(videos: Annotations, recipe: Recipe, say: Say) -> Annotations:
    """Lets videos of a validation split be trained on: cross-validation takes its place."""
    splits = dict(videos.splits)
    if recipe.eval.split != "validation" and (validation := splits.pop("validation", [])):
        splits["train"] = [*splits["train"], *validation]
        say(
            f"Note: The {len(validation)} videos of the validation split are trained on, too: "
            "cross-validation takes its place."
        )
    return dataclasses.replace(videos, splits=splits)


def _digest(network: keras.Model) -> str:
    """Returns a hash of all weights but those of the classifier, and of the normalization."""
    about = metadata.read_metadata(network)
    parts = [repr((about.mean, about.std) if about else "").encode()]
    for layer in network.layers:
        if layer.name != embedding.HEAD:
            parts += [array.tobytes() for array in layer.get_weights()]
    return files.sha256_of(parts)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Embedded training videos; those that are `readable` are in `labeled`, which is fitted to."""

    videos: Sequence[Video]
    rows: Sequence[Embedded]
    readable: np.ndarray
    labeled: ridge.Labeled

    @property
    def pairs(self) -> list[tuple[Video, Embedded]]:
        """The readable videos and their rows, in the order of `labeled`."""
        pairs = zip(self.videos, self.rows, strict=True)
        return list(itertools.compress(pairs, self.readable))


def label(few: Few, videos: Sequence[Video], rows: Sequence[Embedded], say: Say) -> Examples:
    """Puts labels, groups and embeddings together.

    Raises DataError if too many videos are broken, or all of a class, or if all look the same.
    """
    _check_broken(few, videos, rows)
    readable = np.array([row.status != "error" for row in rows])
    # Mirrored clips, which follow in a row, are clips as others.
    size = sum(few.sizes)
    clips = [row.features.reshape(-1, size) for row in itertools.compress(rows, readable)]
    numbers = sum(rows_of_video.size for rows_of_video in clips)
    if numbers > _MOST_NUMBERS:
        clips = [rows_of_video.mean(axis=0, keepdims=True) for rows_of_video in clips]
        say(
            f"Note: {numbers:,} numbers are too many to fit to at a time: each video's mean is "
            "taken instead of its clips."
        )
    means = np.stack([rows_of_video.mean(axis=0) for rows_of_video in clips])
    if means.std(axis=0).max() <= 1e-6 * max(1e-30, float(np.abs(means).max())):
        raise DataError(
            f"All {len(clips)} training videos look the same to the network: are they copies of "
            "one file, or all black?"
        )
    chosen, classes = list(itertools.compress(videos, readable)), few.annotations.classes
    labeled = ridge.Labeled(
        features=few.split(np.concatenate(clips)),
        videos=np.repeat(np.arange(len(clips)), [len(rows_of_video) for rows_of_video in clips]),
        labels=targets(chosen, classes, few.annotations.several),
        groups=np.unique([video.unit for video in chosen], return_inverse=True)[1],
        classes=len(classes),
    )
    return Examples(videos, rows, readable, labeled)


def _check_broken(few: Few, videos: Sequence[Video], rows: Sequence[Embedded]) -> None:
    broken = {number: row.detail for number, row in enumerate(rows) if row.status == "error"}
    share = few.recipe.videos.broken_share
    if len(broken) > max(1, int(share * len(videos))):
        raise DataError(
            f"{len(broken)} of {len(videos)} training videos are broken, more than "
            f"videos.broken_share = {share:g} allows; the first: {next(iter(broken.values()))} "
            "`python -m keras_r3d.scan` finds them all."
        )
    readable = {
        label for n, video in enumerate(videos) if n not in broken for label in video.labels
    }
    if lost := [name for name in few.annotations.classes if name not in readable]:
        lost_labels = set(lost)
        example = next(d for n, d in broken.items() if lost_labels & {*videos[n].labels})
        raise DataError(
            f"None of the videos of {some(lost)} can be read: {example} Repair or replace them, or "
            "remove the class."
        )
