"""Where the shape of a demo video is."""

import numpy as np

from keras_r3d.data import demo


def shape_masks(label: str, split: str, number: int) -> np.ndarray:
    """Draws the shape of `SPLIT/CLASS/NUMBER.mp4` alone.

    Returns:
        float32 `(FRAMES, SIDE, SIDE)`, share of each pixel that the shape covers.
    """
    scene = demo.random_scene(label, split, demo.video_rng(label, split, number))
    masks = np.zeros((demo.FRAMES, demo.SIDE, demo.SIDE), np.uint8)
    for mask, corners in zip(masks, scene.corners, strict=True):
        demo.draw_shape(mask, corners, np.array([255]))
    return masks / np.float32(255)
