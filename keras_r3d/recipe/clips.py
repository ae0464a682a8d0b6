"""How clips are cut from videos: the table [clips] of a recipe, and a value for Python users."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from keras_r3d.recipe.tables import Between, Problem, Table

Share = Annotated[float, Between(0.05, 1)]
FramesPerSecond = Annotated[float, Between(0.1, 1000)]
Side = Annotated[int, Between(16)]
Area = tuple[Annotated[float, Between(0.01, 1)], Annotated[float, Between(0.01, 1)]]
Aspect = tuple[Annotated[float, Between(0.1, 10)], Annotated[float, Between(0.1, 10)]]
Position = Literal["center", "top_left", "top_right", "bottom_left", "bottom_right"]


class Consecutive(Table, kind="consecutive"):
    """Takes consecutive frames: in training from a random place, else all of them in windows.

    Args:
        stride: distance between two frames of a clip; 1 takes every frame.
        max_stride: draws the stride of each training clip from `stride` to this, as far as the
            video is long enough; absent, `stride` is always taken.
        fps: frames a second that videos are resampled to first: the frame nearest to each instant;
            absent, every frame is taken, whatever the rate of the video.
    """

    stride: Annotated[int, Between(1)] = 1
    max_stride: Annotated[int, Between(1)] | None = None
    fps: FramesPerSecond | None = None

    def _at_odds(self) -> Iterator[Problem]:
        least, most = self.stride, self.max_stride
        if most is not None and most < least:
            yield "max_stride", f"must be at least `stride`, {least}. Received: {most}"


class Uniform(Table, kind="uniform"):
    """Spreads the frames of a clip evenly over the video.

    Args:
        spans: shares of the video that the clips of an evaluation are spread over, each beside the
            next by half of it or less; absent, one clip is spread over all of it.
        fps: as of `consecutive`: even in time, where frames come at an uneven rate.
    """

    spans: tuple[Share, ...] | None = None
    fps: FramesPerSecond | None = None


class Segments(Table, kind="segments"):
    """Takes a random frame of each of equal parts of the video in training; else as `uniform`.

    Args:
        spans: as of `uniform`.
        fps: as of `uniform`.
        snippet: frames in a row that are taken of each part; absent, one. A clip of 15 frames in
            snippets of 5 has 3 parts.

    Reference:
        Wang et al., Temporal Segment Networks, ECCV 2016, https://arxiv.org/abs/1608.00859.
    """

    spans: tuple[Share, ...] | None = None
    fps: FramesPerSecond | None = None
    snippet: Annotated[int, Between(2)] | None = None


class MultiScale(Table, kind="multiscale"):
    """Cuts crops of several sizes at several places in training; else the center.

    Args:
        scales: sides of the crops, as shares of the largest of the clip's shape.
        positions: places of the crops.
        center: side of the crop of an evaluation (of 1 or 3 views), as a share of the largest;
            absent, the largest.
    """

    scales: tuple[Share, ...] = (1.0, 0.8408964153, 0.7071067812, 0.5946035575, 0.5)
    positions: tuple[Position, ...] = get_args(Position)
    center: Share | None = None


class _Rectangles(Table):
    area: Area
    aspect: Aspect

    def _at_odds(self) -> Iterator[Problem]:
        for key in ("area", "aspect"):
            low, high = getattr(self, key)
            if low > high:
                yield key, f"must be the smallest and the largest. Received: {[low, high]}"


class RandomResized(_Rectangles, kind="random_resized"):
    """Cuts rectangles of random area and shape in training, scaled to the clip; else the center.

    Args:
        area: smallest and largest area, as shares of the frame's.
        aspect: smallest and largest width:height.
    """

    area: Area = (0.25, 1.0)
    aspect: Aspect = (0.75, 4 / 3)


class Whole(_Rectangles, kind="whole"):
    """Takes the whole frame, scaled to the clip, so that nobody at its sides is cut off.

    Args:
        area: smallest and largest share of the frame that a training clip takes.
        aspect: smallest and largest width:height of it, divided by the frame's own.
    """

    area: Area = (1.0, 1.0)
    aspect: Aspect = (1.0, 1.0)


class RandAugment(Table):
    """Makes random changes of geometry or color, one after the other.

    Args:
        ops: number of changes.
        magnitude: how strong they are.

    Reference:
        Cubuk et al., RandAugment, CVPR Workshops 2020, https://arxiv.org/abs/1909.13719.
    """

    ops: Annotated[int, Between(1, 14)] = 2
    magnitude: Annotated[float, Between(0, 30)] = 9.0


class Augment(Table):
    """Changes training clips at random, alike in all frames of a clip.

    Args:
        rotate_degrees: largest rotation, either way.
        shear_degrees: largest slant of upright lines, either way.
        translate: largest shift along each axis, as a share of the side.
        color_jitter: strength of random contrast, brightness and tint.
        randaugment: further random changes.
    """

    rotate_degrees: Annotated[float, Between(0, 180)] | None = None
    shear_degrees: Annotated[float, Between(0, 60)] | None = None
    translate: Annotated[float, Between(0, 0.5)] | None = None
    color_jitter: Annotated[float, Between(0, 1)] | None = None
    randaugment: RandAugment | None = None


class Clips(Table):
    """How clips are cut from videos, in training and in evaluation.

    The same for a data set (`Videos.dataset`) and for a model, which keeps it in its own file
    (`clips=` of a builder of `keras_r3d.applications`), so that whatever loads the model later cuts
    videos as in training.

    Args:
        frames: frames of a clip.
        size: side of the square clip in pixels; or its height and width, such as [112, 171].
        sampling: which frames: `Consecutive`, `Uniform` or `Segments`.
        crop: which pixels: `MultiScale`, `RandomResized` or `Whole`.
        flip: mirrors half of the training clips; wrong where left and right are different classes.
        input: "rgb", or the algorithm of optical flow between neighboring frames of the file, at
            whatever rate: "farneback", "dis" or "tvl1" (the last needs OpenCV's contrib modules).
            Clips of flow have two channels, x and y; no motion is 128.
        short_side: shrinks every frame to this short side first, in pixels.
        augment: further random changes of training clips.
        random: cut at random, for training (no key of a recipe). `center()` gives the clips of an
            evaluation.
    """

    frames: Annotated[int, Between(1)] = 16
    size: Side | tuple[Side, Side] = 112
    sampling: Consecutive | Uniform | Segments = Consecutive()
    crop: MultiScale | RandomResized | Whole = MultiScale()
    flip: bool = True
    input: Literal["rgb", "farneback", "dis", "tvl1"] = "rgb"
    short_side: Annotated[int, Between(1)] | None = None
    augment: Augment | None = None
    random: bool = dataclasses.field(default=True, metadata={"key": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.size, tuple) and self.size[0] == self.size[1]:
            object.__setattr__(self, "size", self.size[0])

    def center(self) -> "Clips":
        """Returns the same clips without chance: the middle of each video, evaluation's crop."""
        return dataclasses.replace(self, random=False)

    @property
    def channels(self) -> int:
        """Channels of a clip: red, green, blue; or x and y of flow."""
        return 3 if self.input == "rgb" else 2

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a clip, in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a clip, `(frames, height, width, channels)`: the `input_shape` of a network."""
        return self.frames, *self.image_size, self.channels

    @property
    def snippet(self) -> int:
        """Frames in a row at each place that a clip is spread over."""
        return getattr(self.sampling, "snippet", None) or 1

    @property
    def is_spread(self) -> bool:
        """Whether a clip is spread over the video, instead of being consecutive frames."""
        return not isinstance(self.sampling, Consecutive)

    @property
    def center_share(self) -> float:
        """Side of an evaluation's crop, as a share of the largest."""
        return getattr(self.crop, "center", None) or 1.0

    @property
    def is_whole(self) -> bool:
        """Whether an evaluation takes the whole frame, instead of its center."""
        return isinstance(self.crop, Whole)

    def _at_odds(self) -> Iterator[Problem]:
        if self.frames % self.snippet:
            problem = f"must be a multiple of `sampling.snippet`, {self.snippet}. Received:"
            yield "frames", f"{problem} {self.frames}"
        if self.input != "rgb" and self.augment is not None:
            problem = f"which is wrong for `input` '{self.input}', optical flow: leave it out."
            yield "augment", f"changes colors or turns pictures, {problem}"
