"""How videos are scored: where windows are placed, how views are cut, what is averaged."""

import re

from keras_r3d import recipe
from keras_r3d.system.errors import ArgumentError

# Windows, views, what is averaged. The follow-up (CVPR 2018) evaluates as the paper does.
_NAMED = {
    "paper": (0, 1, "probabilities"),
    "torch7": (0, 1, "log_probabilities"),
    "follow_up": (0, 1, "probabilities"),
}
FORMS = "'paper', 'torch7', 'follow_up', or NxV: N evenly placed windows of V = 1, 2, 3 or 10 views"


def overrides(protocol: str | None) -> list[str]:
    """Returns a protocol as changes of a recipe; None changes nothing.

    Args:
        protocol: as `FORMS` says.

    Raises:
        ArgumentError: there is no such protocol.
    """
    if protocol is None:
        return []
    windows, views, average = _NAMED.get(protocol, (0, 0, "probabilities"))
    if numbers := re.fullmatch(r"([1-9]\d*)x(1|2|3|10)", protocol):
        windows, views = int(numbers[1]), int(numbers[2])
    if not views:
        raise ArgumentError(f"--protocol must be one of {FORMS}. Received: {protocol}")
    return [f"eval.windows={windows}", f"eval.views={views}", f'eval.average="{average}"']


def described(data: recipe.Data, evaluation: recipe.Eval) -> str:
    """Returns in words how videos are scored."""
    count, views = evaluation.windows, evaluation.views
    if data.sampling == "consecutive":
        stride = f" at a stride of {data.frame_stride}" if data.frame_stride > 1 else ""
        windows = f"windows of {data.frames} frames{stride}"
        placed = f"at most {count} {windows}, evenly placed" if count else f"all {windows}"
    elif data.spans and not count:
        shares = ", ".join(f"{share:.0%}" for share in data.spans)
        placed = f"windows of {data.frames} frames, spread over {shares} of the video"
    elif count > 1:
        placed = f"{count} windows of {data.frames} frames, each spread over the video"
    else:
        placed = f"one window of {data.frames} frames, spread over the video"
    whole = data.crop == "whole"
    cut = {1: "whole frame" if whole else "center crop", 2: "whole frame and center crop"}
    average = evaluation.average.replace("_", "-")
    return (
        f"{placed}; {cut.get(views, f'{views} views of each')} at {data.size}x{data.size}; "
        f"mean of {average}"
    )
