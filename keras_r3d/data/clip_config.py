"""How clips are cut from videos: small values that are combined in `Clips`."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Literal

from keras_r3d import recipe
from keras_r3d.data.sampling.cropping import POSITIONS
from keras_r3d.recipe import Data


@dataclasses.dataclass(frozen=True)
class Consecutive:
    """Takes consecutive frames: in training from a random place, else all of them in windows.

    Args:
        stride: distance between two frames of a clip; 1 takes every frame.
        most_stride: the stride of each training clip is drawn from `stride` to this; None keeps it
            fixed.
    """

    stride: int = 1
    most_stride: int | None = None


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Spreads the frames of a clip evenly over the video.

    Args:
        spans: shares of the video over which an evaluation also spreads clips, neighbors
            overlapping by half or more; () is only all of the video.
    """

    spans: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Segments:
    """As `Uniform`, but a training clip takes a random frame of each equal part of the video.

    Args:
        spans: as in `Uniform`.

    Reference:
        Wang et al., Temporal Segment Networks, ECCV 2016, https://arxiv.org/abs/1608.00859.
    """

    spans: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class MultiScale:
    """Cuts squares of several sizes at several places, as in the paper; an evaluation, the center.

    Args:
        scales: sides of the squares, as shares of the frame's short side.
        positions: of "centre", "top_left", "top_right", "bottom_left", "bottom_right".
    """

    scales: Sequence[float] = (1.0, 0.8408964153, 0.7071067812, 0.5946035575, 0.5)
    positions: Sequence[str] = tuple(POSITIONS)


@dataclasses.dataclass(frozen=True)
class RandomResized:
    """Cuts rectangles of random area and shape, made square; an evaluation, the center.

    Args:
        area: smallest and largest, as shares of the frame's.
        aspect: smallest and largest width:height.
    """

    area: tuple[float, float] = (0.25, 1.0)
    aspect: tuple[float, float] = (0.75, 4 / 3)


@dataclasses.dataclass(frozen=True)
class Whole:
    """Takes the whole frame, made square, so that nothing at its sides is cut off.

    Args:
        area: smallest and largest share of the frame that a training clip takes.
        aspect: smallest and largest width:height of it, divided by the frame's own.
    """

    area: tuple[float, float] = (1.0, 1.0)
    aspect: tuple[float, float] = (1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Augment:
    """Changes training clips at random, alike in all frames of a clip; 0 switches a change off.

    Args:
        rotate_degrees: largest rotation, either way.
        shear_degrees: largest slant of vertical lines, either way.
        translate: largest move along each axis, as a share of the side.
        color_jitter: strength of random contrast, brightness and tint.
        randaugment_ops: number of RandAugment's operations, one after the other.
        randaugment_magnitude: their strength, 0 to 30.
    """

    rotate_degrees: float = 0.0
    shear_degrees: float = 0.0
    translate: float = 0.0
    color_jitter: float = 0.0
    randaugment_ops: int = 0
    randaugment_magnitude: float = 9.0


@dataclasses.dataclass(frozen=True)
class Clips:
    """How clips are cut from videos, in training and in evaluation.

    Used by data sets (`Videos.dataset`) and kept in the file of a model (`clips=` of a builder of
    `keras_r3d.applications`), so that videos are always cut as in its training.

    Args:
        frames: of a clip.
        size: side of the square clip, in pixels.
        sampling: which frames: `Consecutive`, `Uniform` or `Segments`.
        crop: which pixels: `MultiScale`, `RandomResized` or `Whole`.
        flip: mirror half of the training clips; wrong where left and right are different classes.
        input: "rgb", or the algorithm of optical flow between neighbouring frames: "farneback",
            "dis" or "tvl1". Clips of flow have two channels, x and y; no motion is 128.
        short_side: shrink every frame to this short side first, in pixels; 0 does not.
        augment: further random changes of training clips.
        views: crops of each window in an evaluation: 1, with `Whole` also 2 (whole frame and
            centre), 3 (along the long side) or 10 (centre and corners, also mirrored).
        random: cut at random, for training. `center()` returns the clips of an evaluation.

    Raises:
        RecipeError: a value is out of range, or two do not go together.
    """

    frames: int = 16
    size: int = 112
    sampling: Consecutive | Uniform | Segments = Consecutive()
    crop: MultiScale | RandomResized | Whole = MultiScale()
    flip: bool = True
    input: Literal["rgb", "farneback", "dis", "tvl1"] = "rgb"
    short_side: int = 0
    augment: Augment | None = None
    views: int = 1
    random: bool = True

    def __post_init__(self) -> None:
        kinds = {
            "sampling": (Consecutive, Uniform, Segments),
            "crop": (MultiScale, RandomResized, Whole),
            "augment": (Augment, type(None)),
        }
        for name, expected in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, expected):
                raise recipe.RecipeError(
                    f"Clips: `{name}` must be one of {[kind.__name__ for kind in expected]}. "
                    f"Received: {value!r}"
                )
        self._recipe()

    def center(self) -> "Clips":
        """Returns the same clips without chance: the middle of each video, evaluation's crop."""
        return dataclasses.replace(self, random=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a clip, `(frames, height, width, channels)`: the `input_shape` of a network."""
        return self.frames, self.size, self.size, 3 if self.input == "rgb" else 2

    def tables(self) -> dict[str, Any]:
        """Returns what a model keeps: the tables [data] and [eval] of a recipe."""
        tables = recipe.tables(self._recipe())
        return {name: tables[name] for name in ("data", "eval")}

    def data(self) -> Data:
        """Returns the table [data] of a recipe."""
        return self._recipe().data

    def _recipe(self) -> recipe.Recipe:
        paper = recipe.load(recipe.PAPER)
        data = dataclasses.asdict(paper.data) | {
            "annotations": "auto",
            **{name: getattr(self, name) for name in ("frames", "size", "flip", "input")},
            "short_side": self.short_side,
            "sampling": _KINDS[type(self.sampling)],
            "crop": _KINDS[type(self.crop)],
            **_keys(self.crop),
        }
        if isinstance(self.sampling, Consecutive):
            stride, most = self.sampling.stride, self.sampling.most_stride
            data |= {"frame_stride": stride, "frame_stride_most": stride if most is None else most}
        else:
            data |= _keys(self.sampling)
        if self.augment is not None:
            values = _keys(self.augment)
            data |= {"colour_jitter": values.pop("color_jitter"), **values}
        evaluation = dataclasses.asdict(paper.eval) | {"views": self.views}
        try:
            return recipe.of_clips({"data": data, "eval": evaluation})
        except recipe.RecipeError as error:
            words = re.sub(r"'(?:data|eval)\.(\w+)'", r"`\1`", str(error).split(", or --set")[0])
            raise recipe.RecipeError(words.replace("Recipe key ", "Clips: ")) from error


_KINDS: dict[type, str] = {
    Consecutive: "consecutive",
    Uniform: "uniform",
    Segments: "segments",
    MultiScale: "multiscale",
    RandomResized: "random_resized",
    Whole: "whole",
}


def _keys(part: Any) -> dict[str, Any]:
    """Returns the attributes of a part of `Clips` as keys of a recipe."""
    return {k: list(v) if isinstance(v, Sequence) else v for k, v in vars(part).items()}
