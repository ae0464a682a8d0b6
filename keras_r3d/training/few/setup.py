"""What training on few videos needs: networks that embed, and what is made of their embeddings."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d import recipe as recipes
from keras_r3d.applications import embedding, metadata
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.annotations.video import some
from keras_r3d.data.decoding import flow
from keras_r3d.inference.embeddings import ridge
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
from keras_r3d.training.few.embeddings import Embedded

Say = Callable[[str], None]

_MOST_NUMBERS = 2**26  # of all embeddings; 2 GiB while it is fitted


@dataclasses.dataclass(frozen=True)
class Few(setup.Opened):
    """A training on few videos: everything is opened, built and checked, nothing is written.

    Attributes:
        names: of the weights.
        networks: one for each of the weights; their classifiers are of no use.
        embedders: embed clips by each network; all have the same input.
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
    def test_split(self) -> str | None:
        """The split that is evaluated, if there is one."""
        split = self.recipe.eval.split
        return split if split != "train" and self.annotations.splits.get(split) else None

    def describe(self) -> list[str]:
        """Returns lines on devices and networks."""
        sizes = ", ".join(str(one.output_shape[-1]) for one in self.embedders)
        windows = protocol.described(self.recipe.clips, self.recipe.eval).rpartition("; ")[0]
        threads = self.source.reader.threads
        return [
            f"Devices: {self.devices.description}; {threads} threads read clips",
            f"Embeddings: by {' and '.join(self.names)}, {sizes} numbers a clip; {windows}",
        ]

    def embedder(self) -> Classifier:
        """Returns a model whose scores are the embeddings: of all networks, and mirrored clips."""
        cut, protocol = self.recipe.clips, self.recipe.eval
        outputs = [one.outputs[0] for one in self.embedders]
        joined = keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]
        network = keras.Model(self.embedders[0].inputs, joined)
        score = runtimes.of_network(network, self.devices, protocol.batch_size)

        def both(clips: np.ndarray) -> np.ndarray:
            mirrored = np.ascontiguousarray(clips[:, :, :, ::-1])
            if cut.input != "rgb":
                flow.turn_back(mirrored)
            return np.concatenate([score(clips), score(mirrored)], axis=1)

        return Classifier(
            name=" and ".join(self.names),
            kind=runtimes.KERAS,
            classes=[str(number) for number in range((1 + cut.flip) * network.output_shape[-1])],
            clips=cut,
            eval=dataclasses.replace(protocol, average="probabilities"),  # the plain mean
            score=both if cut.flip else score,
            network=network,
            described="",
        )

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

    def score(self, video: Video, row: Embedded, fitted: ridge.Fitted) -> Prediction:
        """Returns the scores of a video as a model with this classifier gives them."""
        how, classes = self.recipe.eval.average, len(self.annotations.classes)
        if row.status == "error":
            return Prediction.error(video, self.annotations.classes, row.detail)
        logits = fitted.logits(self.split(row.features.reshape(-1, row.features.shape[-1])))
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        views = shares.reshape(*row.features.shape[:2], classes)
        windows = np.stack([average(window, how) for window in views]).astype(np.float32)
        labels, scores = self.annotations.classes, average(windows, how)
        return Prediction(video, row.status, row.detail, labels, scores, windows, row.seconds)

    def split(self, features: np.ndarray) -> list[np.ndarray]:
        """Returns the embeddings by each network, without those of mirrored clips at the end."""
        ends = np.cumsum([one.output_shape[-1] for one in self.embedders])
        return np.split(features[:, : ends[-1]], ends[:-1], axis=1)

    def build_model(self, fitted: ridge.Fitted) -> keras.Model:
        """Folds a classifier into the networks that it takes."""
        pairs = zip(self.networks, fitted.kernels, strict=True)
        used = [(network, kernel) for network, kernel in pairs if kernel is not None]
        embedders = embedding.join([network for network, _ in used], self.settings.stages)
        kernel = np.concatenate([kernel for _, kernel in used])
        model = embedding.classifier(embedders, kernel, fitted.bias)
        setup.complete(model, self.recipe, self.annotations.classes, self.devices)
        return model


def prepare(recipe: Recipe, data: str | Path, devices: Devices, say: Say) -> Few:
    """Opens the data and builds the networks of a recipe with [few].

    Raises:
        R3DError: anything in the recipe or the data that keeps it from being done.
    """
    source, models = checks.open_source(recipe, data, devices, say)
    source = dataclasses.replace(source, annotations=_all_trained_on(source.annotations, recipe))
    source.reader.require_readable(source.annotations.split("train"), "train")
    classes = source.annotations.classes
    names = [name.strip() for name in (recipe.model.weights or "").split(",")]
    networks = []
    for name, model in zip(names, models, strict=True):
        weights = finetune.open_source(model)
        if note := finetune.clip_note(weights, recipe.clips):
            say(f"Note: {name}: {note}")
        shape = recipe.clips.shape
        networks.append(finetune.build_model(model, shape, classes, lambda _: None, weights))
    assert recipe.few is not None
    try:
        embedders = embedding.join(networks, recipe.few.stages)
    except ValueError as error:
        raise RecipeError(f"Recipe key 'few.stages': {error}") from error
    if len(models) == 1:
        recipe = dataclasses.replace(recipe, model=models[0])
    return Few(recipe, source, devices, names, networks, embedders)


def _all_trained_on(videos: Annotations, recipe: Recipe) -> Annotations:
    """Lets videos of a validation split be trained on: cross-validation takes its place."""
    splits, notes = dict(videos.splits), list(videos.notes)
    if recipe.eval.split != "validation" and (validation := splits.pop("validation", [])):
        splits["train"] = [*splits["train"], *validation]
        notes.append(
            f"The {len(validation)} videos of the validation split are trained on, too: "
            "cross-validation takes its place."
        )
    return Annotations(splits, videos.classes, notes)


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
    """Embedded training videos.

    Attributes:
        videos, rows: all of them.
        readable: bool, which of them are in `labeled`.
        labeled: what is fitted to.
    """

    videos: Sequence[Video]
    rows: Sequence[Embedded]
    readable: np.ndarray
    labeled: ridge.Labeled


def label(few: Few, videos: Sequence[Video], rows: Sequence[Embedded], say: Say) -> Examples:
    """Puts labels, groups and embeddings together.

    Raises:
        DataError: too many videos are broken, or all of a class, or all look the same.
    """
    _check_broken(few, videos, rows)
    readable = np.array([row.status != "error" for row in rows])
    size = sum(one.output_shape[-1] for one in few.embedders)
    # Mirrored clips, which follow in a row, are clips as others.
    clips = [row.features.reshape(-1, size) for row in itertools.compress(rows, readable)]
    numbers = sum(one.size for one in clips)
    if numbers > _MOST_NUMBERS:
        clips = [one.mean(axis=0, keepdims=True) for one in clips]
        say(
            f"Note: {numbers:,} numbers are too many to fit to at a time: each video's mean is "
            "taken instead of its clips."
        )
    means = np.stack([one.mean(axis=0) for one in clips])
    if means.std(axis=0).max() <= 1e-6 * max(1e-30, float(np.abs(means).max())):
        raise DataError(
            f"All {len(clips)} training videos look the same to the network: are they copies of "
            "one file, or all black?"
        )
    classes = few.annotations.classes
    places = {name: number for number, name in enumerate(classes)}
    readable_videos = list(itertools.compress(videos, readable))
    labeled = ridge.Labeled(
        features=few.split(np.concatenate(clips)),
        videos=np.repeat(np.arange(len(clips)), [len(one) for one in clips]),
        labels=np.array([places[video.label] for video in readable_videos]),
        groups=np.unique([video.unit for video in readable_videos], return_inverse=True)[1],
        classes=len(classes),
    )
    return Examples(videos, rows, readable, labeled)


def _check_broken(few: Few, videos: Sequence[Video], rows: Sequence[Embedded]) -> None:
    broken = [number for number, row in enumerate(rows) if row.status == "error"]
    share = few.recipe.videos.broken_share
    if len(broken) > max(1, int(share * len(videos))):
        raise DataError(
            f"{len(broken)} of {len(videos)} training videos are broken, more than "
            f"videos.broken_share = {share:g} allows; the first: {rows[broken[0]].detail} "
            "`python -m keras_r3d.scan` finds them all."
        )
    left = Counter(v.label for v, row in zip(videos, rows, strict=True) if row.status != "error")
    lost = [name for name in few.annotations.classes if not left[name]]
    if lost:
        example = next(rows[number].detail for number in broken if videos[number].label in lost)
        raise DataError(
            f"None of the videos of {some(lost)} can be read: {example} Repair or replace them, or "
            "remove the class."
        )
