"""What a recipe holds: one experiment, with the meaning and range of each key."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Literal

from keras_r3d.recipe.clips import Clips
from keras_r3d.recipe.tables import Between, Problem, Table

Fraction = Annotated[float, Between(0, 0.9)]
Count = Annotated[int, Between(1)]
Positive = Annotated[float, Between(0)]

_SHORT_TRY = "For a short try: `overrides` 'train.schedule.warmup_epochs='"


class Model(Table):
    """The network. With `weights`, keys that are absent are those of the weights.

    Attributes:
        name: network, as `keras_r3d.applications.get_model` takes it.
        shortcut: "A" (identity, zero-padded channels) or "B" (1x1x1 projection); C3D, I3D, DenseNet
            and framenet have none.
        backbone: of framenet: a network of `keras.applications`, such as "MobileNetV2".
        stack: of framenet: frames whose channels it takes as one image; absent, each by itself.
        width: multiplies the filters of every convolution (of C3D, also the units of fc6 and fc7;
            of framenet it is `alpha` of MobileNet and MobileNetV2, else 1).
        dropout: rate before the classifier (of C3D, behind fc6 and fc7).
        mean: mean of each channel of the input (red, green, blue; of flow x, y), 0-255.
        std: standard deviation of each channel, 0-255; all 1 to leave the scale.
        weights: weights to start from: a name, a checkpoint or a `.keras` file, also on the Hugging
            Face hub (hf://OWNER/NAME/FILE); of framenet also "imagenet", which Keras downloads, or
            a `.h5` file of `keras.applications`. The classifier is new where the classes differ.
            Weights of an RGB network are made to fit flow.
        freeze: stages that are not trained, batch statistics included: "conv1", "conv1..conv4" (C3D
            also has fc6 and fc7).
    """

    name: (
        Literal["r3d10", "r3d18", "r3d34", "r3d50", "r3d101", "r3d152", "r3d200"]
        | Literal["preresnet18", "preresnet34", "preresnet50"]
        | Literal["preresnet101", "preresnet152", "preresnet200"]
        | Literal["wideresnet50", "resnext50", "resnext101", "resnext152"]
        | Literal["densenet121", "densenet169", "densenet201", "densenet264"]
        | Literal["r2p1d18", "r2p1d34", "r2p1d50", "r2p1d101"]
        | Literal["r3d_18", "mc3_18", "r2plus1d_18", "c3d", "c3d_bn", "i3d", "framenet"]
        | None
    ) = None
    shortcut: Literal["A", "B"] | None = None
    backbone: str | None = None
    stack: Annotated[int, Between(2)] | None = None
    width: Annotated[float, Between(1 / 64)] | None = None
    dropout: Annotated[float, Between(0, 0.99)] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Between(1e-6)], ...] | None = None
    weights: str | None = None
    freeze: str | None = None

    def _at_odds(self) -> Iterator[Problem]:
        keys = ["name", "shortcut", "width", "mean", "std"]
        foreign = {"backbone": "backbone", "stack": "stacks"}
        if self.name == "framenet":
            foreign = {}
            keys.append("backbone")
        if (self.name or "").startswith(("c3d", "i3d", "densenet", "framenet")):
            foreign["shortcut"] = "shortcuts"
            keys.remove("shortcut")
        for key, what in foreign.items():
            if self.name and getattr(self, key):
                yield key, f"must be absent: `name` is '{self.name}', which has no {what}."
        if self.weights:
            return
        remedy = "pass `weights`, a checkpoint or the best.keras of a run"
        if left := [key for key in keys if getattr(self, key) is None]:
            yield "weights", f"is absent, but the recipe leaves {left} to the weights: {remedy}."
        elif self.freeze:
            problem = f"is '{self.freeze}', but `weights` is absent: what is random would stay so."
            yield "freeze", f"{problem} Either {remedy}, or `overrides` 'model.freeze='"


class HoldOut(Table):
    """Parts of each class's training videos that are held out where the annotations do not say.

    Attributes:
        validation: share of the validation split.
        test: share of the test split.
    """

    validation: Fraction | None = None
    test: Fraction | None = None

    def _at_odds(self) -> Iterator[Problem]:
        if (self.validation or 0) + (self.test or 0) >= 1:
            problem = "leave no video to train on: their sum must be below 1. Received:"
            yield "test", f"and `validation` {problem} {self.test} and {self.validation}"


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
        trimmed: a file that public lists name by its id alone is the segment, not the whole video.
        several_labels: videos have several labels: a listed segment also has the labels of those
            that cover half of it or more. A column `labels`, or one of 0 and 1 for each class,
            says so by itself.
        background: also trains on what lies between listed segments, as a class "background":
            segments as a share of the listed ones, 0.5 for half as many.
    """

    annotations: str
    broken_share: Annotated[float, Between(0, 1)]
    rendered: bool = False
    balanced: bool = False
    hold_out: HoldOut | None = None
    frame_rate: Annotated[float, Between(0.01, 1000)] | None = None
    trimmed: bool = False
    several_labels: bool = False
    background: Positive | None = None


class SgdOptimizer(Table, kind="sgd"):
    """Stochastic gradient descent with the L2 term in the gradient, as the paper.

    Attributes:
        learning_rate: at the start of the schedule.
        momentum: share of the velocity that is kept.
        weight_decay: factor of the L2 term.
        dampening: share of the gradient kept out of the velocity; Torch7's is the momentum.
        nesterov: looks ahead.
    """

    learning_rate: Positive
    momentum: Annotated[float, Between(0, 0.9999)]
    weight_decay: Positive
    dampening: Annotated[float, Between(0, 0.9999)] | None = None
    nesterov: bool = False

    def _at_odds(self) -> Iterator[Problem]:
        for key in ("nesterov", "dampening"):
            if getattr(self, key) and not self.momentum:
                yield key, "needs `momentum` above 0. Received: momentum 0"
        if self.nesterov and self.momentum and self.dampening:
            problem = f"must be absent where `nesterov` is true. Received: {self.dampening}"
            yield "dampening", problem


class AdamwOptimizer(Table, kind="adamw"):
    """AdamW.

    Attributes:
        learning_rate: at the start of the schedule.
        weight_decay: decoupled from the gradient.
    """

    learning_rate: Positive
    weight_decay: Positive


class _Schedule(Table):
    warmup_epochs: Count | None = None


class PlateauSchedule(_Schedule, kind="plateau"):
    """Drops the learning rate when the validation loss saturates.

    Attributes:
        factor: multiplies the rate at a drop.
        patience: epochs in a row without improvement that are waited out before a drop.
        threshold: share by which the loss must fall to have improved.
        drops: most drops of the rate.
        cooldown: epochs after a drop in which none is counted.
        warmup_epochs: linear rise of the rate before the schedule.
    """

    factor: Annotated[float, Between(1e-6, 0.999)] = 0.1
    patience: Annotated[int, Between(0)] = 10
    threshold: Annotated[float, Between(0, 0.999)] = 1e-4
    drops: Annotated[int, Between(0)] = 3
    cooldown: Annotated[int, Between(0)] | None = None


class MilestoneSchedule(_Schedule, kind="milestones"):
    """Drops the learning rate after given epochs.

    Attributes:
        factor: multiplies the rate at a drop.
        milestones: epochs after which the rate drops.
        warmup_epochs: linear rise of the rate before the schedule.
    """

    factor: Annotated[float, Between(1e-6, 0.999)] = 0.1
    milestones: tuple[Count, ...] = ()

    def _at_odds(self) -> Iterator[Problem]:
        if any(after <= before for before, after in itertools.pairwise(self.milestones)):
            yield "milestones", f"must increase. Received: {list(self.milestones)}"
        elif self.warmup_epochs and self.milestones[0] <= self.warmup_epochs:
            problem = f"must be above `warmup_epochs`, {self.warmup_epochs}, which sets the rate"
            yield "milestones", f"{problem} until then. Received: {self.milestones[0]}"


class CosineSchedule(_Schedule, kind="cosine"):
    """Lowers the learning rate to zero along a cosine.

    Attributes:
        warmup_epochs: linear rise of the rate before the schedule.
    """


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
            quicker for long files, no use for a clip store. Absent, each is decoded by itself.
        accumulate: parts of a step's batch that are computed one after the other, to save memory.
        head_rate: multiplies the learning rate of the classifier.
        clip_norm: largest norm of the gradient of a step.
        label_smoothing: share of the target spread over all classes.
        mixup: strength (alpha) of mixup, the blending of pairs of clips and of labels.
        cutmix: likewise of CutMix, a box of one clip in all frames of another. With both, either.
        class_weights: clips of rare classes count for more in the loss.
        ema: decay of the running average of weights that is validated and kept.
        synchronized_batch_norm: batch statistics are of all replicas; absent, each has its own.
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

    def _at_odds(self) -> Iterator[Problem]:
        below = f"must be below `train.epochs`, {self.epochs}. Received:"
        warmup = self.schedule.warmup_epochs
        if warmup and warmup >= self.epochs:
            yield "schedule.warmup_epochs", f"{below} {warmup}. {_SHORT_TRY}"
        # After the last epoch there is nothing left to train at a lower rate.
        milestones = getattr(self.schedule, "milestones", ())
        if late := [number for number in milestones if number >= self.epochs]:
            yield "schedule.milestones", f"{below} {late[0]}"
        for key in ("mixup", "cutmix"):
            if getattr(self, key) and self.batch_size == 1:
                yield key, "blends clips of a batch: `batch_size` must be above 1. Received: 1"


class Eval(Table):
    """The evaluation.

    Attributes:
        split: split of the annotations that is evaluated.
        batch_size: clips in a step, over all replicas.
        windows: of a video: "all" of it, in windows that do not overlap (of clips that are spread
            over the video, those of `spans`, or one); or a number of them, evenly placed.
        views: crops of each window: 1 (center; where the crop is "whole", all of the frame), 2
            (both, only there), 3 (along the long side) or 10 (center and corners, also mirrored).
        average: a video's score is the mean of its windows' "probabilities" or "log_probabilities".
        silent: classes that segments never are of, beside "background".
    """

    split: str
    batch_size: Count
    windows: Literal["all"] | Count
    views: Literal[1, 2, 3, 10]
    average: Literal["probabilities", "log_probabilities"]
    silent: tuple[str, ...] | None = None

    @property
    def window_count(self) -> int | None:
        """Number of windows of a video; None for all of it."""
        return None if self.windows == "all" else self.windows


class Few(Table):
    """A linear classifier of embeddings, for few videos; with it `model.weights` may be several.

    Attributes:
        stages: of the network, whose feature maps are embedded.
        folds: parts of the cross-validation; absent: 5, or one for each group where videos have
            groups (10, if they have more).
        finetune_epochs: most epochs of [train] that follow from there; the better of both is kept.
        open_set: share of held-out videos of known classes that may be called "none of these", a
            class that the model then has, too; absent: it has none.
    """

    stages: tuple[Literal["conv2", "conv3", "conv4", "conv5"], ...]
    folds: Annotated[int, Between(2)] | None = None
    finetune_epochs: Count | None = None
    open_set: Fraction | None = None

    def _at_odds(self) -> Iterator[Problem]:
        if self.open_set is not None and self.finetune_epochs:
            problem = "must be absent where `open_set` is given: it moves what distances are of"
            yield "finetune_epochs", f"{problem}. Received: {self.finetune_epochs}"


class Recipe(Table):
    """One whole experiment; `few` is absent where the network is trained as a whole."""

    model: Model
    videos: VideoList
    clips: Clips
    train: Train
    eval: Eval
    few: Few | None = None

    def _at_odds(self) -> Iterator[Problem]:
        clips, few, views = self.clips, self.few, self.eval.views
        channels = "red, green, blue"
        if clips.channels != 3:
            channels = f"x, y: clips.input is '{clips.input}'"
        for key in ("mean", "std"):
            values = getattr(self.model, key)
            if values is not None and len(values) != clips.channels:
                problem = f"must hold {clips.channels} numbers ({channels}). Received:"
                yield f"model.{key}", f"{problem} {list(values)}"
        size, fps, crop = clips.size, clips.sampling.fps, clips.crop.kind
        rendered = not isinstance(size, tuple) and not (clips.flip or fps) and clips.is_whole
        if self.videos.annotations == "motion" and not (rendered and clips.input == "rgb"):
            yield (
                "videos.annotations",
                "is 'motion', clips that are rendered at their final size: `clips.input` must be "
                "'rgb', `clips.crop.kind` 'whole', `clips.flip` false, `clips.size` one number and "
                f"`clips.sampling.fps` absent. Received: '{clips.input}', '{crop}', "
                f"{str(clips.flip).lower()}, {size}, {fps}",
            )
        spread, stack = clips.is_spread, self.model.stack or 1
        in_a_row = clips.snippet if spread else clips.frames
        if in_a_row % stack:
            problem = f"must be a multiple of `model.stack`, {stack}: its frames are in a row."
            key = f"clips.{'sampling.snippet' if spread else 'frames'}"
            yield key, f"{problem} Received: {in_a_row}"
        if views == 2 and not clips.is_whole:
            problem = f"is 2, the whole frame and its center, but `clips.crop.kind` is '{crop}'"
            yield "eval.views", f"{problem}: take 1, 3 or 10."
        if views == 10 and not clips.flip:
            yield (
                "eval.views",
                "is 10, half of them mirrored, but `clips.flip` is false: mirrored videos are of "
                "other classes, or were never trained on. Take 1 or 3.",
            )
        epochs, warmup = few and few.finetune_epochs, self.train.schedule.warmup_epochs
        if epochs and warmup and epochs <= warmup:
            problem = f"must be above `train.schedule.warmup_epochs`, {warmup}. Received: {epochs}."
            yield "few.finetune_epochs", f"{problem} {_SHORT_TRY}"
        if few and not self.model.weights:
            problem = "is absent, but [few] embeds videos by weights: name some, such as"
            yield "model.weights", f"{problem} `overrides` 'model.weights=motion'"
