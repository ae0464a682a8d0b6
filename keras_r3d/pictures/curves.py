"""Loss, accuracy and learning rate of a training over its epochs."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from keras_r3d.pictures import fonts


@fonts.look()
def figure(log: Sequence[Mapping[str, float]], kept: int) -> Figure:
    """Draws loss, clip accuracy and learning rate over the epochs.

    The log has of each epoch its "epoch", "learning_rate", "loss", "clip_top1" and, where there was
    a validation, "val_loss" and "val_clip_top1". The epoch whose weights are `kept` is marked.
    """
    epochs = [int(row["epoch"]) for row in log]
    picture = Figure(figsize=(12, 4), layout="constrained")
    _, accuracy_axes, rate_axes = panels = picture.subplots(1, 3)
    titles = {"loss": "loss", "clip_top1": "clip top-1 accuracy"}
    for axes, (name, title) in zip(panels, titles.items(), strict=False):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if column in log[0]:
                axes.plot(epochs, [row[column] for row in log], ".-", label=label)
        axes.axvline(kept, color="black", linestyle=":", label=f"kept: epoch {kept}")
        axes.set_title(title)
        axes.legend()
    accuracy_axes.set_ylim(0, 1.02)
    rates = [row["learning_rate"] or math.nan for row in log]  # of 0 there is no logarithm
    rate_axes.plot(epochs, rates, ".-")
    rate_axes.set_title("learning rate")
    rate_axes.set_yscale("log")
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, epochs[-1] + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
    return picture
