"""Which video's turn it is: the endless order of training, pure arithmetic on numbers.

Turns are counted from 0; each epoch has as many as there are videos.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_r3d.recipe import Data

Numbers = NDArray[np.int64]

# Clips that are mixed where each pass over a video gives several.
_MIXED = 256


def epoch_order(labels: Sequence[str], seed: int, epoch: int, balanced: bool) -> Numbers:
    """Returns the videos of an epoch in their order: all of them, or as many of each class.

    Balanced, places that cannot be shared equally go to classes drawn at random; inside a class no
    video comes twice more often than another.

    Args:
        labels: class of each video.

    Returns:
        int64 `(len(labels),)`, numbers of videos, counted from 0.
    """
    rng = np.random.default_rng([seed, epoch])
    if not balanced:
        return rng.permutation(len(labels))
    classes, class_of = np.unique(labels, return_inverse=True)
    each, over = divmod(len(labels), len(classes))
    places = each + (rng.permutation(len(classes)) < over)
    drawn = [
        np.resize(rng.permutation(np.flatnonzero(class_of == label)), count)
        for label, count in enumerate(places)
    ]
    return rng.permutation(np.concatenate(drawn))


def videos_at(turns: Numbers, labels: Sequence[str], seed: int, balanced: bool) -> Numbers:
    """Returns the video of each turn, int64 `(n,)`, of turns int64 `(n,)` in any order."""
    epochs, places = np.divmod(turns, len(labels))
    found = np.empty_like(turns)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        found[here] = epoch_order(labels, seed, int(epoch), balanced)[places[here]]
    return found


def turns_in_block(clips_per_pass: int) -> int:
    """Returns of how many turns the clips are mixed (several a pass)."""
    return max(1, _MIXED // clips_per_pass)


def mixing(seed: int, block: int, clips: int) -> Numbers:
    """Returns the places in a block of its clips, those of a turn one after the other.

    Returns:
        int64 `(clips,)`, a permutation.
    """
    return np.random.default_rng([seed, block]).permutation(clips)


def batch_videos(
    batch: int,
    labels: Sequence[str],
    data: Data,
    *,
    batch_size: int,
    seed: int,
    shard: tuple[int, int] = (0, 1),
) -> Numbers:
    """Returns the videos of a batch of `pipeline.training_clips`, before broken ones are replaced.

    Args:
        batch: counted from 0 since the start of the training, by this worker.
        labels: class of each video.
        batch_size, seed, shard: as in `pipeline.training_clips`.

    Returns:
        int64 `(batch_size,)`, numbers of videos, clip by clip.
    """
    worker, workers = shard
    each = data.clips_per_pass
    in_block = batch_size if each == 1 else turns_in_block(each)
    blocks, places = np.divmod(batch * batch_size + np.arange(batch_size), in_block * each)
    blocks = blocks * workers + worker
    if each > 1:
        for block in np.unique(blocks):
            here = blocks == block
            clip_at = np.argsort(mixing(seed, int(block), in_block * each))
            places[here] = clip_at[places[here]]
    return videos_at(blocks * in_block + places // each, labels, seed, data.balanced)
