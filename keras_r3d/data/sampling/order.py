"""Which video's turn it is: the endless order of training, pure arithmetic on numbers.

Turns are counted from 0; each epoch has as many as there are videos.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]  # of videos, turns or places, counted from 0
_SHUFFLED = 256  # clips that are shuffled together where each pass over a video gives several


def epoch_order(labels: Sequence[str], seed: int, epoch: int, balanced: bool) -> Numbers:
    """Returns the videos of an epoch in order: all of them, or equally many of each class.

    Balanced, turns that cannot be shared equally go to classes drawn at random; within a class no
    video comes more than once more often than another.
    """
    rng = np.random.default_rng([seed, epoch])
    if not balanced:
        return rng.permutation(len(labels))
    classes, class_of = np.unique(labels, return_inverse=True)
    each, over = divmod(len(labels), len(classes))
    counts = each + (rng.permutation(len(classes)) < over)
    videos = [
        np.resize(rng.permutation(np.flatnonzero(class_of == label)), count)
        for label, count in enumerate(counts)
    ]
    return rng.permutation(np.concatenate(videos))


def videos_at(turns: Numbers, labels: Sequence[str], seed: int, balanced: bool) -> Numbers:
    """Returns the video of each turn, int64 `(n,)`, of turns int64 `(n,)` in any order."""
    epochs, places = np.divmod(turns, len(labels))
    videos = np.empty_like(turns)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        videos[here] = epoch_order(labels, seed, int(epoch), balanced)[places[here]]
    return videos


def turns_in_block(clips_per_pass: int) -> int:
    """Returns the number of turns whose clips are shuffled together, of several clips each."""
    return max(1, _SHUFFLED // clips_per_pass)


def block_order(seed: int, block: int, clips: int) -> Numbers:
    """Returns the places in a block of its clips, turn by turn: a permutation, int64 `(clips,)`."""
    return np.random.default_rng([seed, block]).permutation(clips)


def batch_videos(
    batch: int,
    labels: Sequence[str],
    *,
    batch_size: int,
    seed: int,
    balanced: bool = False,
    clips_per_pass: int = 1,
    shard: tuple[int, int] = (0, 1),
) -> Numbers:
    """Returns the videos of a batch of `pipeline.training_clips`, int64 `(batch_size,)`.

    Batches are counted from 0 by each worker. Broken videos, which the pipeline replaces, are among
    them.
    """
    worker, workers = shard
    each = clips_per_pass
    in_block = batch_size if each == 1 else turns_in_block(each)
    blocks, places = np.divmod(batch * batch_size + np.arange(batch_size), in_block * each)
    blocks = blocks * workers + worker
    if each > 1:
        for block in np.unique(blocks):
            here = blocks == block
            clip_at = np.argsort(block_order(seed, int(block), in_block * each))
            places[here] = clip_at[places[here]]
    return videos_at(blocks * in_block + places // each, labels, seed, balanced)
