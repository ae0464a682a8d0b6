"""What training on few videos needs: networks that embed, and labelled embeddings."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_r3d.applications import embedding, metadata
from keras_r3d.data import opening
from keras_r3d.data.annotations import Annotations, Video
from keras_r3d.data.annotations.video import some
from keras_r3d.data.decoding import flow
from keras_r3d.data.opening import Source
from keras_r3d.inference.embeddings import ridge
from keras_r3d.inference.models import protocol, runtimes
from keras_r3d.inference.models.averaging import average
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction.prediction import Prediction
from keras_r3d.recipe import Recipe, listed
from keras_r3d.system import files
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import DataError, R3DError, RecipeError
from keras_r3d.training import finetune
from keras_r3d.training.few.embeddings import Embedded

Say = Callable[[str], None]

_MOST_NUMBERS = 2**26  # of all embeddings; 2 GiB while it is fitted


@dataclasses.dataclass(frozen=True)
class Prepared:
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


def prepare(recipe: Recipe, data_dir: str | Path, hardware: Devices, say: Say) -> Prepared:
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
        opened = opening.open_source(data_dir, recipe.data, seed=recipe.train.seed)
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
    return Prepared(recipe, opened, hardware, names, networks, embedders)


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


def described(prepared: Prepared) -> list[str]:
    """Returns lines on devices and networks."""
    sizes = ", ".join(str(one.output_shape[-1]) for one in prepared.embedders)
    windows = protocol.described(prepared.recipe.data, prepared.recipe.eval).rpartition("; ")[0]
    return [
        f"Devices: {prepared.hardware.description}; {prepared.opened.reader.threads} threads read "
        "clips",
        f"Embeddings: by {' and '.join(prepared.names)}, {sizes} numbers a clip; {windows}",
    ]


def embedder(prepared: Prepared) -> Classifier:
    """Returns a model whose scores are the embeddings: of all networks, and of mirrored clips."""
    data, of = prepared.recipe.data, prepared.recipe.eval
    joined = [one.outputs[0] for one in prepared.embedders]
    outputs = keras.layers.Concatenate()(joined) if len(joined) > 1 else joined[0]
    network = keras.Model(prepared.embedders[0].inputs, outputs)
    score = runtimes.of_network(network, prepared.hardware, of.batch_size)
    size = network.output_shape[-1]

    def both(clips: np.ndarray) -> np.ndarray:
        mirrored = np.ascontiguousarray(clips[:, :, :, ::-1])
        if data.input != "rgb":
            flow.turn_back(mirrored)
        return np.concatenate([score(clips), score(mirrored)], axis=1)

    return Classifier(
        name=" and ".join(prepared.names),
        kind=runtimes.KERAS,
        classes=[str(number) for number in range((1 + data.flip) * size)],
        data=data,
        eval=dataclasses.replace(of, average="probabilities"),  # the plain mean
        score=both if data.flip else score,
        network=network,
        described="",
    )


def request(prepared: Prepared) -> Mapping[str, Any]:
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


def check_broken(prepared: Prepared, videos: Sequence[Video], rows: Sequence[Embedded]) -> None:
    """Raises DataError if too many videos are broken, or all of a class."""
    broken = [n for n, one in enumerate(rows) if one.status == "error"]
    share = prepared.recipe.data.broken_share
    if len(broken) > max(1, int(share * len(videos))):
        raise DataError(
            f"{len(broken)} of {len(videos)} training videos are broken, more than "
            f"data.broken_share = {share:g} allows; the first: {rows[broken[0]].detail} "
            "`python -m keras_r3d.scan` finds them all."
        )
    left = Counter(v.label for v, one in zip(videos, rows, strict=True) if one.status != "error")
    lost = [name for name in prepared.annotations.classes if not left[name]]
    if lost:
        example = next(rows[n].detail for n in broken if videos[n].label in lost)
        raise DataError(
            f"None of the videos of {some(lost)} can be read: {example} Repair or replace them, or "
            "leave the class out."
        )


@dataclasses.dataclass(frozen=True)
class Labelled:
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


def labelled(
    prepared: Prepared, videos: Sequence[Video], rows: Sequence[Embedded], say: Say
) -> Labelled:
    """Puts labels, groups and embeddings together."""
    readable = np.array([one.status != "error" for one in rows])
    size = sum(one.output_shape[-1] for one in prepared.embedders)
    # Mirrored clips, which follow in a row, are clips as others.
    clips = [one.features.reshape(-1, size) for one in itertools.compress(rows, readable)]
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
    classes = prepared.annotations.classes
    places = {name: number for number, name in enumerate(classes)}
    known = list(itertools.compress(videos, readable))
    labelled = ridge.Labelled(
        features=_split(prepared, np.concatenate(clips)),
        videos=np.repeat(np.arange(len(clips)), [len(one) for one in clips]),
        labels=np.array([places[video.label] for video in known]),
        groups=np.unique([video.unit for video in known], return_inverse=True)[1],
        classes=len(classes),
    )
    return Labelled(labelled, videos, rows, readable)


def _split(prepared: Prepared, features: np.ndarray) -> list[np.ndarray]:
    """Returns the embeddings by each network, without those of mirrored clips, which follow."""
    ends = np.cumsum([one.output_shape[-1] for one in prepared.embedders])
    return np.split(features[:, : ends[-1]], ends[:-1], axis=1)


def scored_by(prepared: Prepared, video: Video, one: Embedded, fitted: ridge.Fitted) -> Prediction:
    """Returns the scores of a video as a model with this classifier gives them."""
    of, classes = prepared.recipe.eval.average, len(prepared.annotations.classes)
    if one.status == "error":
        return Prediction.error(video, prepared.annotations.classes, one.detail)
    features = one.features.reshape(-1, one.features.shape[-1])
    logits = fitted.logits(_split(prepared, features))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    views = shares.reshape(*one.features.shape[:2], classes)
    windows = np.stack([average(own, of) for own in views]).astype(np.float32)
    labels, scores = prepared.annotations.classes, average(windows, of)
    return Prediction(video, one.status, one.detail, labels, scores, windows, one.seconds)
