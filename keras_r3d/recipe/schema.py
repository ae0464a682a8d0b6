"""What a recipe holds: one experiment, with the meaning and range of each key."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from keras_r3d.recipe.clips import Clips
from keras_r3d.recipe.tables import Between, Table

Fraction = Annotated[float, Between(0, 0.9)]
Count = Annotated[int, Between(1)]
Positive = Annotated[float, Between(0)]

_SHORT_TRY = "For a short try: `overrides` 'train.schedule.warmup_epochs='"


@dataclasses.dataclass(frozen=True)
class Model(Table):
    """The network. With `weights`, keys that are absent are those of the weights.

    Attributes:
        name: network, as `keras_r3d.applications.get_model` takes it.
        shortcut: "A" (identity, zero-padded channels) or "B" (1x1x1 projection); C3D has none.
        width: multiplies the filters of every convolution (of C3D, also the units of fc6 and fc7).
        dropout: rate before the classifier (of C3D, behind fc6 and fc7).
        mean: mean of each channel of the input (red, green, blue; of flow x, y), 0-255.
        std: standard deviation of each channel, 0-255; all 1 to leave the scale.
        weights: weights to start from: a name, a checkpoint or a `.keras` file. The classifier is
            new where the classes differ. Weights of an RGB network are made to fit flow.
        freeze: stages that are not trained, batch statistics included: "conv1", "conv1..conv4" (C3D
            also has fc6 and fc7).
    """

    name: (
        Literal["r3d10", "r3d18", "r3d34", "r3d50", "r3d101", "r3d152", "r3d200"]
        | Literal["r3d_18", "mc3_18", "r2plus1d_18", "c3d", "c3d_bn"]
        | None
    ) = None
    shortcut: Literal["A", "B"] | None = None
    width: Annotated[float, Between(1 / 64)] | None = None
    dropout: Annotated[float, Between(0, 0.99)] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Between(1e-6)], ...] | None = None
    weights: str | None = None
    freeze: str | None = None

    def _at_odds(self) -> Iterator[str]:
        keys = ["name", "shortcut", "width", "mean", "std"]
        if (self.name or "").startswith("c3d"):
            keys.remove("shortcut")
            if self.shortcut:
                yield f"`shortcut` must be absent: `name` is '{self.name}', which has no shortcuts."
        if self.weights:
            return
        remedy = "pass `weights`, a checkpoint or the best.keras of a run"
        if left := [key for key in keys if getattr(self, key) is None]:
            yield f"`weights` is absent, but the recipe leaves {left} to the weights: {remedy}."
        elif self.freeze:
            yield (
                f"`freeze` is '{self.freeze}', but `weights` is absent: what is random would stay "
                f"random. Either {remedy}, or `overrides` 'model.freeze='"
            )


@dataclasses.dataclass(frozen=True)
class HoldOut(Table):
    """Parts of each class's training videos that are held out where the annotations do not say.

    Attributes:
        validation: share of the validation split.
        test: share of the test split.
    """

    validation: Fraction | None = None
    test: Fraction | None = None

    def _at_odds(self) -> Iterator[str]:
        if (self.validation or 0) + (self.test or 0) >= 1:
            yield (
                "`test` and `validation` leave no video to train on: their sum must be below 1. "
                f"Received: {self.test} and {self.validation}"
            )


@dataclasses.dataclass(frozen=True)
class VideoList(Table):
    """The videos.

    Attributes:
        annotations: "folders" (class folders), "auto" (manifest.csv if there is one, else class
            folders), "motion" (clips rendered as they are needed), or a path in the data folder: a
            list of one's own, or the lists of a public data set (`keras_r3d.data.open_videos`).
        broken_share: share of the training videos that may be broken; more stop the training.
        rendered: renders videos when no data folder is given: the demo's, or motion.
        balanced: draws as many training clips of each class, those of rare ones more often.
        hold_out: what is held out of the training videos.
        frame_rate: frames a second of videos that are folders of pictures. Absent it is 25, and a
            note says so; only segments in seconds and printed times depend on it.
        trimmed: a file that public lists name by its id alone is cut already: it is the segment,
            not the whole video.
    """

    annotations: str
    broken_share: Annotated[float, Between(0, 1)]
    rendered: bool = False
    balanced: bool = False
    hold_out: HoldOut | None = None
    frame_rate: Annotated[float, Between(0.01, 1000)] | None = None
    trimmed: bool = False

    @property
    def validation_fraction(self) -> float:
        """Share of the training videos that is held out for validation."""
        return (self.hold_out and self.hold_out.validation) or 0.0

    @property
    def test_fraction(self) -> float:
        """Share of the training videos that is held out for the test."""
        return (self.hold_out and self.hold_out.test) or 0.0


@dataclasses.dataclass(frozen=True)
class SgdOptimizer(Table):
    """Stochastic gradient descent with the L2 term in the gradient, as the paper.

    Attributes:
        learning_rate: at the start of the schedule.
        momentum: share of the velocity that is kept.
        weight_decay: factor of the L2 term.
        dampening: share of the gradient kept out of the velocity; Torch7's is the momentum.
        nesterov: looks ahead.
    """

    kind: ClassVar[str] = "sgd"
    learning_rate: Positive
    momentum: Annotated[float, Between(0, 0.9999)]
    weight_decay: Positive
    dampening: Annotated[float, Between(0, 0.9999)] | None = None
    nesterov: bool = False

    def _at_odds(self) -> Iterator[str]:
        for key in ("nesterov", "dampening"):
            if getattr(self, key) and not self.momentum:
                yield f"`{key}` needs `momentum` above 0. Received: momentum 0"
        if self.nesterov and self.momentum and self.dampening:
            yield f"`dampening` must be absent where `nesterov` is true. Received: {self.dampening}"


@dataclasses.dataclass(frozen=True)
class AdamwOptimizer(Table):
    """AdamW.

    Attributes:
        learning_rate: at the start of the schedule.
        weight_decay: decoupled from the gradient.
    """

    kind: ClassVar[str] = "adamw"
    learning_rate: Positive
    weight_decay: Positive


@dataclasses.dataclass(frozen=True)
class _Schedule(Table):
    warmup_epochs: Count | None = None


@dataclasses.dataclass(frozen=True)
class PlateauSchedule(_Schedule):
    """Drops the learning rate when the validation loss saturates.

    Attributes:
        factor: multiplies the rate at a drop.
        patience: epochs in a row without improvement that are waited out before a drop.
        threshold: share by which the loss must fall to have improved.
        drops: most drops of the rate.
        cooldown: epochs after a drop in which none is counted.
        warmup_epochs: linear rise of the rate before the schedule.
    """

    kind: ClassVar[str] = "plateau"
    factor: Annotated[float, Between(1e-6, 0.999)] = 0.1
    patience: Annotated[int, Between(0)] = 10
    threshold: Annotated[float, Between(0, 0.999)] = 1e-4
    drops: Annotated[int, Between(0)] = 3
    cooldown: Annotated[int, Between(0)] | None = None


@dataclasses.dataclass(frozen=True)
class MilestoneSchedule(_Schedule):
    """Drops the learning rate after given epochs.

    Attributes:
        factor: multiplies the rate at a drop.
        milestones: epochs after which the rate drops.
        warmup_epochs: linear rise of the rate before the schedule.
    """

    kind: ClassVar[str] = "milestones"
    factor: Annotated[float, Between(1e-6, 0.999)] = 0.1
    milestones: tuple[Count, ...] = ()

    def _at_odds(self) -> Iterator[str]:
        if not self.milestones:
            yield "`milestones` must not be empty: the epochs after which the rate drops."
        elif any(after <= before for before, after in itertools.pairwise(self.milestones)):
            yield f"`milestones` must increase. Received: {list(self.milestones)}"
        elif self.warmup_epochs and self.milestones[0] <= self.warmup_epochs:
            yield (
                f"`milestones` must be above `warmup_epochs`, {self.warmup_epochs}, which sets the "
                f"rate until then. Received: {self.milestones[0]}"
            )


@dataclasses.dataclass(frozen=True)
class CosineSchedule(_Schedule):
    """Lowers the learning rate to zero along a cosine.

    Attributes:
        warmup_epochs: linear rise of the rate before the schedule.
    """

    kind: ClassVar[str] = "cosine"


@dataclasses.dataclass(frozen=True)
class Train(Table):
    """The training.

    Attributes:
        seed: of weights, order, crops and hold-out.
        epochs: passes over the training videos, at most.
        clips_per_video: clips drawn from each video in an epoch.
        batch_size: clips in a step, over all replicas.
        precision: of the computation: "float32", "bfloat16" or "float16" (with loss scaling);
            weights and the kept model are float32.
        optimizer: how weights are changed.
        schedule: of the learning rate.
        clips_per_pass: training clips taken each time a video file is decoded, 256 of them mixed;
            quicker for long video files, no use for a clip store. Absent, each clip is decoded by
            itself.
        accumulate: parts of a step's batch that are computed one after the other, to save memory.
        head_rate: multiplies the learning rate of the classifier.
        clip_norm: largest norm of the gradient of a step.
        label_smoothing: share of the target spread over all classes.
        mixup: strength (alpha) of mixup, the blending of pairs of clips and of labels.
        cutmix: likewise of CutMix, a box of one clip in all frames of another. With both, either.
        class_weights: clips of rare classes count for more in the loss.
        ema: decay of the running average of weights that is validated and kept.
        synchronized_batch_norm: takes batch statistics over all replicas; absent, each its own, as
            the paper.
        patience: epochs in a row without a lower validation loss after which the training ends.
    """

    seed: Annotated[int, Between(0, 2**31 - 1)]
    epochs: Count
    clips_per_video: Count
    batch_size: Count
    precision: Literal["float32", "bfloat16", "float16"]
    optimizer: SgdOptimizer | AdamwOptimizer
    schedule: PlateauSchedule | MilestoneSchedule | CosineSchedule
    clips_per_pass: Annotated[int, Between(2, 256)] | None = None
    accumulate: Annotated[int, Between(2)] | None = None
    head_rate: Positive | None = None
    clip_norm: Annotated[float, Between(1e-12)] | None = None
    label_smoothing: Annotated[float, Between(0, 0.99)] | None = None
    mixup: Positive | None = None
    cutmix: Positive | None = None
    class_weights: bool = False
    ema: Annotated[float, Between(0, 0.99999)] | None = None
    synchronized_batch_norm: bool = False
    patience: Count | None = None

    def _at_odds(self) -> Iterator[str]:
        below = f"must be below `train.epochs`, {self.epochs}. Received:"
        warmup = self.schedule.warmup_epochs
        if warmup and warmup >= self.epochs:
            yield f"`schedule.warmup_epochs` {below} {warmup}. {_SHORT_TRY}"
        # After the last epoch there is nothing left to train at a lower rate.
        milestones = getattr(self.schedule, "milestones", ())
        if late := [number for number in milestones if number >= self.epochs]:
            yield f"`schedule.milestones` {below} {late[0]}"
        for key in ("mixup", "cutmix"):
            if getattr(self, key) and self.batch_size == 1:
                yield f"`{key}` blends clips of a batch: `batch_size` must be above 1. Received: 1"


@dataclasses.dataclass(frozen=True)
class Eval(Table):
    """The evaluation.

    Attributes:
        split: split of the annotations that is evaluated.
        batch_size: clips in a step, over all replicas.
        windows: of a video: "all" of it, in windows that do not overlap (of clips that are spread
            over the video, those of `spans`, or one); or a number of them, evenly placed.
        views: crops of each window: 1 (center; where the crop is "whole", all of the frame), 2
            (whole and center, only there), 3 (along the long side) or 10 (center and corners, also
            mirrored).
        average: how a video's score comes from its windows': the mean of "probabilities" or of
            "log_probabilities".
    """

    split: str
    batch_size: Count
    windows: Literal["all"] | Count
    views: Literal[1, 2, 3, 10]
    average: Literal["probabilities", "log_probabilities"]

    @property
    def window_count(self) -> int | None:
        """Number of windows of a video; None for all of it."""
        return None if self.windows == "all" else self.windows


@dataclasses.dataclass(frozen=True)
class Few(Table):
    """A linear classifier of embeddings, for few videos; with it `model.weights` may be several.

    Attributes:
        stages: of the network, whose feature maps are embedded.
        folds: parts of the cross-validation; absent: 5, or one for each group where videos have
            groups (10, if they have more).
        finetune_epochs: most epochs of training by [train] that follow, from this classifier; the
            better of both is kept.
    """

    stages: tuple[Literal["conv2", "conv3", "conv4", "conv5"], ...]
    folds: Annotated[int, Between(2)] | None = None
    finetune_epochs: Count | None = None

    def _at_odds(self) -> Iterator[str]:
        if not self.stages:
            yield "`stages` must not be empty: the stages that are embedded."


@dataclasses.dataclass(frozen=True)
class Recipe(Table):
    """One whole experiment; `few` is absent where the network is trained as a whole."""

    model: Model
    videos: VideoList
    clips: Clips
    train: Train
    eval: Eval
    few: Few | None = None

    def _at_odds(self) -> Iterator[str]:
        clips, few = self.clips, self.few
        rgb = clips.channels == 3
        channels = "red, green, blue" if rgb else f"x, y: clips.input is '{clips.input}'"
        for key in ("mean", "std"):
            values = getattr(self.model, key)
            if values is not None and len(values) != clips.channels:
                yield (
                    f"`model.{key}` must hold {clips.channels} numbers ({channels}). Received: "
                    f"{list(values)}"
                )
        if self.videos.annotations == "motion" and (
            clips.input != "rgb"
            or not clips.is_whole
            or clips.flip
            or isinstance(clips.size, tuple)
            or clips.sampling.fps
        ):
            yield (
                "`videos.annotations` is 'motion', clips that are rendered at their final size: "
                "`clips.input` must be 'rgb', `clips.crop.kind` 'whole', `clips.flip` false, "
                "`clips.size` one number and `clips.sampling.fps` absent. Received: "
                f"'{clips.input}', '{clips.crop.kind}', {str(clips.flip).lower()}, {clips.size}, "
                f"{clips.sampling.fps}"
            )
        if self.eval.views == 2 and not clips.is_whole:
            yield (
                "`eval.views` is 2, the whole frame and its center, but `clips.crop.kind` is "
                f"'{clips.crop.kind}': take 1, 3 or 10."
            )
        if self.eval.views == 10 and not clips.flip:
            yield (
                "`eval.views` is 10, half of them mirrored, but `clips.flip` is false: mirrored "
                "videos are of other classes, or were never trained on. Take 1 or 3."
            )
        if few is not None:
            epochs, warmup = few.finetune_epochs, self.train.schedule.warmup_epochs
            if epochs and warmup and epochs <= warmup:
                yield (
                    "`few.finetune_epochs` must be above `train.schedule.warmup_epochs`, "
                    f"{warmup}. Received: {epochs}. {_SHORT_TRY}"
                )
            if not self.model.weights:
                yield (
                    "`model.weights` is absent, but [few] embeds videos by weights: name some, "
                    "such as `overrides` 'model.weights=motion'"
                )
