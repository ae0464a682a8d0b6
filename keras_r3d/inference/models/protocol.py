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
    if found := re.fullmatch(r"([1-9]\d*)x(1|2|3|10)", protocol):
        windows, views = int(found[1]), int(found[2])
    if not views:
        raise ArgumentError(f"--protocol must be one of {FORMS}. Received: {protocol}")
    return [f"eval.windows={windows}", f"eval.views={views}", f'eval.average="{average}"']


def described(data: recipe.Data, of: recipe.Eval) -> str:
    """Returns in words how videos are scored."""
    if data.sampling == "consecutive":
        stride = f" at a stride of {data.frame_stride}" if data.frame_stride > 1 else ""
        what = f"windows of {data.frames} frames{stride}"
        placed = f"at most {of.windows} {what}, evenly placed" if of.windows else f"all {what}"
    elif data.spans and not of.windows:
        shares = ", ".join(f"{share:.0%}" for share in data.spans)
        placed = f"windows of {data.frames} frames, spread over {shares} of the video"
    elif of.windows > 1:
        placed = f"{of.windows} windows of {data.frames} frames, each spread over the video"
    else:
        placed = f"one window of {data.frames} frames, spread over the video"
    whole = data.crop == "whole"
    views = {1: "whole frame" if whole else "centre crop", 2: "whole frame and centre crop"}.get(
        of.views, f"{of.views} views of each"
    )
    return f"{placed}; {views} at {data.size}x{data.size}; mean of {of.average.replace('_', '-')}"
