"""Recipes: one experiment as a TOML file, read into frozen dataclasses.

A recipe says what the experiment is; where it runs (folders, devices) are flags of the commands.
No key has a default here: what defines an experiment stands in its file. Keys and tables that may
be absent are extras, which are then not done.
"""

import dataclasses
import difflib
import importlib.resources
import itertools
import json
import math
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from keras_r3d.system.errors import RecipeError

PAPER = "kinetics34"  # the recipe of the paper


@dataclasses.dataclass(frozen=True)
class Model:
    """The network.

    Attributes:
        name: network, as `keras_r3d.applications.get_model` takes it; "" is that of the weights.
        shortcut: "A" (identity, zero-padded channels) or "B" (1x1x1 projection); "" likewise, and
            of C3D, which has none.
        width: multiplies the number of filters of every convolution (of C3D, also of units of fc6
            and fc7); 0 likewise.
        dropout: rate before the classifier (of C3D, behind fc6 and fc7).
        mean: mean of each channel of the input (red, green, blue; of flow x, y), 0-255; [] is that
            of the weights.
        std: standard deviation of each channel, 0-255; all 1 to leave the scale; [] likewise.
        weights: to start from: name of pretrained weights, or path of a checkpoint or `.keras`
            file; "" starts from random ones. The classifier is new where the classes are others.
            Weights that are not as the keys above say are an error; but those of an RGB network are
            made to fit flow, its mean and std then being no use.
        freeze: stages that stay as they are, batch statistics included: "conv1", "conv1..conv4"
            (C3D also has fc6 and fc7); "" trains all.
    """

    name: Literal[
        "r3d10",
        "r3d18",
        "r3d34",
        "r3d50",
        "r3d101",
        "r3d152",
        "r3d200",
        "r3d_18",
        "mc3_18",
        "r2plus1d_18",
        "c3d",
        "c3d_bn",
        "",
    ]
    shortcut: Literal["A", "B", ""]
    width: float
    dropout: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    freeze: str


@dataclasses.dataclass(frozen=True)
class Data:
    """The videos, and how clips are cut from them.

    Attributes:
        annotations: "folders" (class folders), "auto" (manifest.csv if there is one, else class
            folders), "motion" (clips rendered as they are needed), or a path in the data folder: a
            CSV file of one's own, or the lists of a public data set
            (`keras_r3d.data.annotations.read`).
        rendered: render videos when no data folder is given: the demo's, or motion.
        input: "rgb", or the algorithm of optical flow between neighbouring frames, "farneback",
            "dis" or "tvl1" (the last needs OpenCV's contrib modules): clips then have two channels,
            x and y, whose bytes `keras_r3d.data.decoding.flow` explains. No motion is 128.
        validation_fraction: share of each class's training videos that is held out where the
            annotations have no validation split.
        test_fraction: likewise for the test split.
        frames: frames of a clip.
        frame_stride: distance between frames of a clip (consecutive sampling).
        frame_stride_most: the stride of a training clip is drawn from `frame_stride` to this,
            of those that fit the video (consecutive sampling); equal: always `frame_stride`.
        sampling: "consecutive" (a window, in training at a random place), "uniform" (the middle
            frame of each of `frames` equal parts of the video) or "segments" (in training, a
            random frame of each part).
        short_side: every frame is first shrunk to this short side, in pixels (0: never).
        size: side of the square clip the network sees, in pixels.
        crop: kind of the training crops, "multiscale" (squares of `scales` at `positions`),
            "random_resized" (rectangles of a random `area`, `aspect` and place, made square) or
            "whole" (likewise, but `aspect` is relative to the frame's own, and evaluation takes
            all of the frame, made square, instead of the centre: nobody at the sides is cut off).
        scales: sides of the crops, as shares of the short side (multiscale).
        positions: places of the crops (multiscale).
        area: smallest and largest area of the crops, as shares of the frame's (random_resized,
            whole).
        aspect: smallest and largest width:height of the crops (random_resized), divided by the
            frame's (whole).
        flip: mirror half of the training clips (wrong where left and right are different classes).
        rotate_degrees: most that training clips are turned, either way (0: not).
        shear_degrees: most that their upright lines are slanted, either way (0: not).
        translate: most that they are moved along each axis, as a share of `size` (0: not).
        colour_jitter: strength of random contrast, brightness and tint of training clips, alike in
            all frames (0: none).
        randaugment_ops: RandAugment's random changes of geometry or colour of a training clip, one
            after the other, alike in all frames (0: none).
        randaugment_magnitude: how strong they are, 0 to 30.
        balanced: draw as many training clips of each class, those of rare ones more often.
        cache_gib: memory for decoded frames, in GiB; a video that fits is decoded only once.
        clips_per_pass: training clips taken each time a video file is decoded (a clip store needs
            no more than 1).
        broken_share: share of the training videos that may be broken; more stop the training.
        spans: shares of a video that windows of an evaluation are spread over, each beside the next
            by half of it or less (uniform, segments; with `eval.windows` 0); absent: all of it.
    """

    annotations: str
    rendered: bool
    input: Literal["rgb", "farneback", "dis", "tvl1"]
    validation_fraction: float
    test_fraction: float
    frames: int
    frame_stride: int
    frame_stride_most: int
    sampling: Literal["consecutive", "uniform", "segments"]
    short_side: int
    size: int
    crop: Literal["multiscale", "random_resized", "whole"]
    scales: tuple[float, ...]
    positions: tuple[Literal["centre", "top_left", "top_right", "bottom_left", "bottom_right"], ...]
    area: tuple[float, ...]
    aspect: tuple[float, ...]
    flip: bool
    rotate_degrees: float
    shear_degrees: float
    translate: float
    colour_jitter: float
    randaugment_ops: int
    randaugment_magnitude: float
    balanced: bool
    cache_gib: float
    clips_per_pass: int
    broken_share: float
    spans: tuple[float, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of a clip."""
        return 3 if self.input == "rgb" else 2


@dataclasses.dataclass(frozen=True)
class Train:
    """The optimisation.

    Attributes:
        seed: of weights, order, crops and hold-out.
        epochs: passes over the training videos, at most.
        clips_per_video: clips drawn from each video in an epoch.
        batch_size: clips in a step, over all replicas.
        accumulate: parts of a step's batch that are computed one after the other, to save memory.
        optimizer: "sgd" (L2 in the gradient, as the paper) or "adamw" (decoupled decay).
        learning_rate: at the start of the schedule.
        head_rate: multiplies the rate of the classifier.
        momentum: of sgd; adamw does not use it.
        dampening: share of the gradient kept out of sgd's velocity; Torch7's is the momentum.
        nesterov: sgd looks ahead.
        weight_decay: L2 factor of sgd, decay of adamw.
        clip_norm: most norm of the gradient of a step (0: no limit).
        schedule: of the rate: "plateau" (a drop when validation loss saturates), "milestones" (a
            drop after given epochs) or "cosine" (to zero).
        drop_factor: multiplies the rate at a drop.
        milestones: epochs after which the rate drops (milestones).
        plateau_patience: epochs in a row without improvement that are waited out before a drop.
        plateau_threshold: share by which the loss must fall to have improved.
        plateau_cooldown: epochs after a drop in which none is counted.
        plateau_drops: most drops of the rate (plateau).
        warmup_epochs: linear rise of the rate before the schedule.
        label_smoothing: share of the target spread over all classes.
        mixup: strength (alpha) of mixup, the blending of pairs of clips and of labels (0: none).
        cutmix: likewise of CutMix, a box of one clip in all frames of another. With both, either.
        class_weights: clips of rare classes count for more in the loss.
        ema: decay of the running average of weights that is validated and kept (0: none).
        precision: of the computation: "float32", "bfloat16" or "float16" (with loss scaling);
            weights and the model kept are float32.
        synchronized_batch_norm: batch statistics over all replicas; false: each its own, as the
            paper.
        deterministic: the same result to the bit on the same machine, also on GPU (slower there).
        save_minutes: time between two saved states (0: at the ends of epochs only).
        save_steps: steps between two saved states (0: by time only).
        patience: epochs in a row without a lower validation loss after which the training ends
            (absent or 0: never).
    """

    seed: int
    epochs: int
    clips_per_video: int
    batch_size: int
    accumulate: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    head_rate: float
    momentum: float
    dampening: float
    nesterov: bool
    weight_decay: float
    clip_norm: float
    schedule: Literal["plateau", "milestones", "cosine"]
    drop_factor: float
    milestones: tuple[int, ...]
    plateau_patience: int
    plateau_threshold: float
    plateau_cooldown: int
    plateau_drops: int
    warmup_epochs: int
    label_smoothing: float
    mixup: float
    cutmix: float
    class_weights: bool
    ema: float
    precision: Literal["float32", "bfloat16", "float16"]
    synchronized_batch_norm: bool
    deterministic: bool
    save_minutes: float
    save_steps: int
    patience: int = 0


@dataclasses.dataclass(frozen=True)
class Eval:
    """The evaluation.

    Attributes:
        split: split of the annotations that is evaluated.
        batch_size: clips in a step, over all replicas.
        windows: of a video: 0 for all of it, in windows that do not overlap (one that is spread
            over the video, if clips are); else so many, evenly placed.
        views: crops of each window: 1 (centre; where `data.crop` is "whole", all of the frame), 2
            (whole and centre, only there), 3 (along the long side) or 10 (centre and corners, also
            mirrored).
        average: how a video's score comes from its windows': their mean of "probabilities" or of
            "log_probabilities".
    """

    split: str
    batch_size: int
    windows: int
    views: Literal[1, 2, 3, 10]
    average: Literal["probabilities", "log_probabilities"]


@dataclasses.dataclass(frozen=True)
class Few:
    """A linear classifier of embeddings, for few videos; with it `model.weights` may be several.

    Attributes:
        stages: of the network, whose feature maps are embedded: "conv3", "conv4", "conv5".
        folds: parts of the cross-validation; 0: 5, or one for each group where videos have groups
            (10, if they have more).
        finetune_epochs: at most, of training by [train] (but for its epochs) that follows, from
            this classifier; the better of both is kept (0: none).
    """

    stages: tuple[Literal["conv2", "conv3", "conv4", "conv5"], ...]
    folds: int
    finetune_epochs: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One whole experiment; `few` is absent where the network is trained as a whole."""

    model: Model
    data: Data
    train: Train
    eval: Eval
    few: Few | None = None


def names() -> list[str]:
    """Lists the recipes that come with keras_r3d."""
    folder = importlib.resources.files("keras_r3d.recipes")
    return sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml"))


def load(recipe: str, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        recipe: name of a recipe that comes with keras_r3d, or path of a TOML file.
        overrides: "section.key=value", the value in TOML.

    Raises:
        RecipeError: no such recipe, not TOML, an unknown, missing or ill-typed key, a value
            out of range.
    """
    tables = _read(recipe)
    for override in overrides:
        _override(tables, override)
    return parse(tables)


def override(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Changes keys of a recipe.

    Args:
        overrides: as in `load`.

    Raises:
        RecipeError: as `load`.
    """
    tables = dataclasses.asdict(recipe)
    for one in overrides:
        _override(tables, one)
    return parse(tables)


def of_clips(tables: Mapping[str, Any]) -> Recipe:
    """Returns the paper's recipe with other tables, such as [data] and [eval] of a model's clips.

    Raises:
        RecipeError: as `load`.
    """
    whole = _read(PAPER) | dict(tables)
    if whole["data"].get("input") != "rgb" and "model" not in tables:
        whole["model"] = whole["model"] | {"mean": [128.0, 128.0], "std": [1.0, 1.0]}
    return parse(whole)


def parse(tables: dict[str, Any]) -> Recipe:
    """Checks the tables of a recipe and freezes them.

    Raises:
        RecipeError: unknown, missing or ill-typed keys, values out of range or at odds; all of
            them, one a line if there are several.
    """
    sections = _sections()
    problems = [
        f"Unknown recipe section [{name}].{_suggest(name, sections)}"
        for name in tables
        if name not in sections
    ]
    values: dict[str, dict[str, Any]] = {}
    for name, section in sections.items():
        if tables.get(name) is None and name in _OPTIONAL:
            continue
        if isinstance(tables.get(name), dict):
            values[name] = _read_section(name, section, tables[name], problems)
        else:
            problems.append(f"Recipe section [{name}] is missing. Sections: {list(sections)}")
    problems += _out_of_range(values)
    if not problems:
        recipe = Recipe(**{name: sections[name](**found) for name, found in values.items()})
        problems = [*_model_at_odds(recipe), *_data_at_odds(recipe.data)]
        problems += [*_train_at_odds(recipe.train), *_eval_at_odds(recipe), *_few_at_odds(recipe)]
    if problems:
        raise RecipeError(listed("The recipe", problems))
    return recipe


def listed(what: str, problems: Sequence[str]) -> str:
    """Returns the text of an error: the problem as it is, or several of them, one a line."""
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{what} has {len(problems)} problems:", *problems])


def dumps(recipe: Recipe) -> str:
    """Writes a recipe as TOML that `load` reads back to an equal recipe."""
    lines = []
    for section, values in dataclasses.asdict(recipe).items():
        if values is None:
            continue
        lines.append(f"[{section}]")
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def tables(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe as tables that JSON can hold and `parse` reads back to an equal recipe."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


_OPTIONAL = [f.name for f in dataclasses.fields(Recipe) if f.default is None]


def _sections() -> dict[str, type]:
    """Returns the dataclass of each table."""
    found = {}
    for name, kind in typing.get_type_hints(Recipe).items():
        kinds = [one for one in typing.get_args(kind) if one is not type(None)]
        found[name] = kinds[0] if kinds else kind
    return found


def _read(recipe: str) -> dict[str, Any]:
    if recipe in names():
        source = importlib.resources.files("keras_r3d.recipes") / f"{recipe}.toml"
    elif Path(recipe).is_file():
        source = Path(recipe)
    else:
        raise RecipeError(
            f"Unknown recipe '{recipe}'.{_suggest(recipe, names())} It must be the path of a TOML "
            f"file or one of {names()}."
        )
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"Recipe {source} is not valid TOML: {error}") from error


def _override(tables: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    if not equals or not dot:
        raise RecipeError(f"`--set` takes section.key=value. Received: {override}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if not _takes_text(section, key):
            raise RecipeError(
                f"`--set {override}`: the value must be a number, true or false, or a list in "
                "brackets, of texts in quotes."
            ) from error
        value = text.strip()
    if not isinstance(tables.setdefault(section, {}), dict):
        raise RecipeError(f"Recipe section [{section}] must be a table.")
    tables[section][key] = value


def _takes_text(section: str, key: str) -> bool:
    """Whether the value of a recipe key is a text, which needs no quotes in `--set`."""
    if section not in _sections():
        return False
    expected = typing.get_type_hints(_sections()[section]).get(key)
    return expected is str or any(isinstance(one, str) for one in typing.get_args(expected))


def _read_section(
    name: str, section: type, table: dict[str, Any], problems: list[str]
) -> dict[str, Any]:
    """Returns the values of a section that have their type; adds what is wrong to `problems`."""
    types = typing.get_type_hints(section)
    extras = {f.name for f in dataclasses.fields(section) if f.default is not dataclasses.MISSING}
    problems += [
        f"Unknown recipe key '{name}.{key}'.{_suggest(key, types)}"
        for key in table
        if key not in types
    ]
    values = {}
    for key, expected in types.items():
        if key not in table:
            if key in extras:
                continue
            problems.append(f"Recipe key '{name}.{key}' is missing.")
            continue
        try:
            values[key] = _convert(f"{name}.{key}", expected, table[key])
        except RecipeError as error:
            problems.append(str(error))
    return values


def _convert(key: str, expected: Any, value: Any) -> Any:
    """Returns `value` as the type a dataclass field states, or raises RecipeError."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise RecipeError(
                f"Recipe key '{key}' must be one of {list(arguments)}. Received: {value!r}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"Recipe key '{key}' must be a list. Received: {value!r}")
        return tuple(_convert(f"{key}[{i}]", arguments[0], v) for i, v in enumerate(value))
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise RecipeError(f"Recipe key '{key}' must be {expected.__name__}. Received: {value!r}")
    return value


_LEAST_WIDTH = 1 / 64
# (key, smallest value allowed, largest value allowed); None: no bound.
_RANGES: tuple[tuple[str, float | None, float | None], ...] = (
    ("model.width", 0, None),
    ("model.mean", None, None),
    ("model.dropout", 0, 0.99),
    ("data.validation_fraction", 0, 0.9),
    ("data.test_fraction", 0, 0.9),
    ("data.frames", 1, None),
    ("data.frame_stride", 1, None),
    ("data.frame_stride_most", 1, None),
    ("data.randaugment_ops", 0, 14),
    ("data.randaugment_magnitude", 0, 30),
    ("data.short_side", 0, None),
    ("data.size", 16, None),
    ("data.scales", 0.05, 1),
    ("data.area", 0.01, 1),
    ("data.aspect", 0.1, 10),
    ("data.rotate_degrees", 0, 180),
    ("data.shear_degrees", 0, 60),
    ("data.translate", 0, 0.5),
    ("data.colour_jitter", 0, 1),
    ("data.cache_gib", 0, None),
    ("data.clips_per_pass", 1, 256),
    ("data.broken_share", 0, 1),
    ("data.spans", 0.05, 1),
    ("model.std", 1e-6, None),
    ("train.seed", 0, 2**31 - 1),
    ("train.epochs", 1, None),
    ("train.clips_per_video", 1, None),
    ("train.batch_size", 1, None),
    ("train.learning_rate", 0, None),
    ("train.accumulate", 1, None),
    ("train.head_rate", 0, None),
    ("train.momentum", 0, 0.9999),
    ("train.dampening", 0, 0.9999),
    ("train.weight_decay", 0, None),
    ("train.clip_norm", 0, None),
    ("train.drop_factor", 1e-6, 0.999),
    ("train.milestones", 1, None),
    ("train.plateau_patience", 0, None),
    ("train.plateau_threshold", 0, 0.999),
    ("train.plateau_cooldown", 0, None),
    ("train.plateau_drops", 0, None),
    ("train.warmup_epochs", 0, None),
    ("train.label_smoothing", 0, 0.99),
    ("train.mixup", 0, None),
    ("train.cutmix", 0, None),
    ("train.ema", 0, 0.99999),
    ("train.save_minutes", 0, None),
    ("train.save_steps", 0, None),
    ("train.patience", 0, None),
    ("few.folds", 0, None),
    ("few.finetune_epochs", 0, None),
    ("eval.batch_size", 1, None),
    ("eval.windows", 0, None),
)


def _out_of_range(values: dict[str, dict[str, Any]]) -> list[str]:
    problems = []
    for key, low, high in _RANGES:
        section, name = key.split(".")
        value = values.get(section, {}).get(name, ())
        for number in value if isinstance(value, tuple) else (value,):
            if (
                not math.isfinite(number)
                or (low is not None and number < low)
                or (high is not None and number > high)
            ):
                bounds = "finite" if low is None else f"at least {low:g}"
                if high is not None:
                    bounds = f"from {low:g} to {high:g}"
                problems.append(f"Recipe key '{key}' must be {bounds}. Received: {number!r}")
    return problems


def _model_at_odds(recipe: Recipe) -> Iterator[str]:
    model, data = recipe.model, recipe.data
    named = "red, green, blue" if data.input == "rgb" else f"x, y: data.input is '{data.input}'"
    for key, values in (("mean", model.mean), ("std", model.std)):
        if len(values) not in (0, data.channels):
            yield (
                f"Recipe key 'model.{key}' must hold {data.channels} numbers ({named}), or none: "
                f"those of the weights. Received: {list(values)}"
            )
    of_c3d = model.name.startswith("c3d")
    if of_c3d and model.shortcut:
        yield (
            f"Recipe key 'model.shortcut' must be '' where 'model.name' is '{model.name}', which "
            f"has no shortcuts. Received: '{model.shortcut}'"
        )
    if 0 < model.width < _LEAST_WIDTH:
        yield (
            f"Recipe key 'model.width' must be at least {_LEAST_WIDTH:g}, or 0: that of the "
            f"weights. Received: {model.width!r}"
        )
    if model.weights:
        return
    pass_weights = "pass --weights FILE, a checkpoint or the best.keras of a run"
    keys = [k for k in ("name", "shortcut", "width", "mean", "std") if not getattr(model, k)]
    left = [k for k in keys if k != "shortcut" or not of_c3d]
    if left:
        yield (
            f"Recipe key 'model.weights' is empty, but the recipe leaves {left} to the weights: "
            f"{pass_weights}."
        )
    elif model.freeze:
        yield (
            f"Recipe key 'model.freeze' is '{model.freeze}', but 'model.weights' is empty: what "
            f"is random would stay random. Either {pass_weights}, or --set 'model.freeze=\"\"'."
        )


def _data_at_odds(data: Data) -> Iterator[str]:
    for key in ("scales", "positions"):
        if not getattr(data, key):
            yield f"Recipe key 'data.{key}' must not be empty."
    for key in ("area", "aspect"):
        limits = getattr(data, key)
        if len(limits) != 2 or limits[0] > limits[1]:
            yield (
                f"Recipe key 'data.{key}' must hold 2 numbers, the smallest and the largest. "
                f"Received: {list(limits)}"
            )
    stride, most = data.frame_stride, data.frame_stride_most
    if most < stride:
        yield (
            f"Recipe key 'data.frame_stride_most' must be at least 'data.frame_stride' ({stride}). "
            f"Received: {most}. For one stride: --set data.frame_stride_most={stride}"
        )
    if most > stride and data.sampling != "consecutive":
        yield (
            f"Recipe key 'data.frame_stride_most' must be 'data.frame_stride' ({stride}) where "
            f"'data.sampling' is '{data.sampling}', which has no stride. Received: {most}"
        )
    if data.annotations == "motion" and (data.input != "rgb" or data.crop != "whole" or data.flip):
        yield (
            "Recipe key 'data.annotations' is 'motion', clips that are rendered as large as they "
            "shall be: 'data.input' must be 'rgb', 'data.crop' 'whole' and 'data.flip' false. "
            f"Received: '{data.input}', '{data.crop}', {_toml(data.flip)}"
        )
    if data.spans and data.sampling == "consecutive":
        yield (
            "Recipe key 'data.spans' is of clips that are spread over the video, and "
            f"'data.sampling' is '{data.sampling}'. Received: {list(data.spans)}"
        )
    if data.input != "rgb":
        yield from _flow_at_odds(data)
    if data.validation_fraction + data.test_fraction >= 1:
        yield (
            "Recipe keys 'data.validation_fraction' and 'data.test_fraction' leave no video to "
            "train on: their sum must be below 1. Received: "
            f"{data.validation_fraction} + {data.test_fraction}"
        )


def _flow_at_odds(data: Data) -> Iterator[str]:
    reasons = {
        "rotate_degrees": "turns pictures, but not the directions in them",
        "shear_degrees": "slants pictures, but not the directions in them",
        "translate": "fills borders with a reflection, whose directions are wrong",
        "colour_jitter": "changes colours",
        "randaugment_ops": "changes colours and turns pictures",
    }
    for key, reason in reasons.items():
        if value := getattr(data, key):
            yield (
                f"Recipe key 'data.{key}' {reason}, and 'data.input' is '{data.input}', optical "
                f"flow: it must be 0. Received: {value!r}"
            )


def _train_at_odds(train: Train) -> Iterator[str]:
    if train.warmup_epochs >= train.epochs:
        yield (
            f"Recipe key 'train.warmup_epochs' must be below 'train.epochs' "
            f"({train.epochs}). Received: {train.warmup_epochs}. For a short try: "
            "--set train.warmup_epochs=0"
        )
    yield from _milestones_at_odds(train)
    if train.optimizer != "sgd":
        for key in ("nesterov", "dampening"):
            if value := getattr(train, key):
                yield (
                    f"Recipe key 'train.{key}' is of \"sgd\", and 'train.optimizer' is "
                    f'"{train.optimizer}". Received: {_toml(value)}'
                )
    if train.optimizer == "sgd" and not train.momentum:
        for key in ("nesterov", "dampening"):
            if value := getattr(train, key):
                yield (
                    f"Recipe key 'train.{key}' needs 'train.momentum' above 0. Received: "
                    f"{_toml(value)}, momentum 0"
                )
    if train.optimizer == "sgd" and train.nesterov and train.momentum and train.dampening:
        yield (
            "Recipe key 'train.dampening' must be 0 where 'train.nesterov' is true. Received: "
            f"{train.dampening}"
        )
    if train.batch_size == 1:
        for key in ("mixup", "cutmix"):
            if getattr(train, key):
                yield (
                    f"Recipe key 'train.{key}' blends clips of a batch: 'train.batch_size' must "
                    "be above 1. Received: 1"
                )


def _eval_at_odds(recipe: Recipe) -> Iterator[str]:
    if recipe.eval.views == 2 and recipe.data.crop != "whole":
        yield (
            "Recipe key 'eval.views' is 2, the whole frame and its centre, but 'data.crop' is "
            f"'{recipe.data.crop}': take 1, 3 or 10, or --set 'data.crop=\"whole\"'."
        )
    if recipe.eval.views == 10 and not recipe.data.flip:
        yield (
            "Recipe key 'eval.views' is 10, half of them mirrored, but 'data.flip' is false: "
            "mirrored videos are of other classes, or were never trained on. Take 1 or 3."
        )


def _few_at_odds(recipe: Recipe) -> Iterator[str]:
    if recipe.few is None:
        return
    if not recipe.few.stages:
        yield "Recipe key 'few.stages' must not be empty: the stages that are embedded."
    epochs, warmup = recipe.few.finetune_epochs, recipe.train.warmup_epochs
    if 0 < epochs <= warmup:
        yield (
            f"Recipe key 'few.finetune_epochs' must be above 'train.warmup_epochs' ({warmup}). "
            f"Received: {epochs}. For a short try: --set train.warmup_epochs=0"
        )
    if not recipe.model.weights:
        yield (
            "Recipe key 'model.weights' is empty, but [few] embeds videos by weights: name some, "
            "such as --set 'model.weights=\"motion\"'."
        )


def _milestones_at_odds(train: Train) -> Iterator[str]:
    milestones = list(train.milestones)
    if train.schedule != "milestones":
        if milestones:
            yield (
                f"Recipe key 'train.milestones' must be empty where 'train.schedule' is "
                f"'{train.schedule}'. Received: {milestones}. Without: --set 'train.milestones=[]'"
            )
        return
    if not milestones:
        yield (
            "Recipe key 'train.milestones' must not be empty where 'train.schedule' is "
            "'milestones': the epochs after which the rate drops."
        )
    if any(after <= before for before, after in itertools.pairwise(milestones)):
        yield f"Recipe key 'train.milestones' must increase. Received: {milestones}"
    # After the last epoch there is nothing left to train at a lower rate.
    if late := [number for number in milestones if number >= train.epochs]:
        yield (
            f"Recipe key 'train.milestones' must be below 'train.epochs' ({train.epochs}). "
            f"Received: {late[0]}"
        )
    if early := [number for number in milestones if number <= train.warmup_epochs]:
        yield (
            "Recipe key 'train.milestones' must be above 'train.warmup_epochs' "
            f"({train.warmup_epochs}), which sets the rate until then. Received: {early[0]}"
        )


def _suggest(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return repr(value)
