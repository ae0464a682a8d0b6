"""How videos are scored: where windows are placed, how views are cut, what is averaged."""

import re

from keras_r3d import recipe
from keras_r3d.recipe.clips import Consecutive
from keras_r3d.system.errors import ArgumentError

# Windows, views, what is averaged. The follow-up (CVPR 2018) evaluates as the paper does.
_NAMED = {
    "paper": ("all", 1, "probabilities"),
    "torch7": ("all", 1, "log_probabilities"),
    "follow_up": ("all", 1, "probabilities"),
}
FORMS = "'paper', 'torch7', 'follow_up', or NxV: N evenly placed windows of V = 1, 2, 3 or 10 views"


def overrides(protocol: str | None) -> list[str]:
    """Returns a protocol as changes of a recipe, none of None; ArgumentError if it is unknown."""
    if protocol is None:
        return []
    windows, views, average = _NAMED.get(protocol, ("all", 0, "probabilities"))
    if numbers := re.fullmatch(r"([1-9]\d*)x(1|2|3|10)", protocol):
        windows, views = numbers[1], int(numbers[2])
    if not views:
        raise ArgumentError(f"`protocol` must be one of {FORMS}. Received: {protocol}")
    return [f"eval.windows={windows}", f"eval.views={views}", f'eval.average="{average}"']


def described(clips: recipe.Clips, evaluation: recipe.Eval) -> str:
    """Returns in words how videos are scored."""
    count, views, sampling = evaluation.window_count, evaluation.views, clips.sampling
    frames = f"{clips.frames} frames" + (f" at {sampling.fps:g}/s" if sampling.fps else "")
    if isinstance(sampling, Consecutive):
        stride = f" at a stride of {sampling.stride}" if sampling.stride > 1 else ""
        windows = f"windows of {frames}{stride}"
        placed = f"at most {count} {windows}, evenly placed" if count else f"all {windows}"
    elif sampling.spans and count is None:
        shares = ", ".join(f"{share:.0%}" for share in sampling.spans)
        placed = f"windows of {frames}, spread over {shares} of the video"
    elif (count or 1) > 1:
        placed = f"{count} windows of {frames}, each spread over the video"
    else:
        placed = f"one window of {frames}, spread over the video"
    whole, (height, width) = clips.is_whole, clips.image_size
    center = "center crop" if clips.center_share == 1 else f"center {clips.center_share:.1%}"
    cut = {1: "whole frame" if whole else center, 2: "whole frame and center crop"}
    average = evaluation.average.replace("_", "-")
    return (
        f"{placed}; {cut.get(views, f'{views} views of each')} at {height}x{width}; "
        f"mean of {average}"
    )
