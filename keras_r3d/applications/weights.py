"""Loading weights into a network."""

from pathlib import Path

import keras

SUFFIXES = (".keras", ".weights.h5")


def load(model: keras.Model, path: str) -> None:
    """Loads the weights of a file that holds the same network.

    Args:
        path: `.keras` or `.weights.h5`.

    Raises:
        ValueError: there is no such file, it is of another kind, or of another network.
    """
    if not str(path).endswith(SUFFIXES):
        raise ValueError(
            f"`weights` must be None or the path of a file that ends in one of {list(SUFFIXES)}. "
            f"Received: weights={path}"
        )
    if not Path(path).is_file():
        raise ValueError(f"`weights`: there is no file {path}.")
    try:
        model.load_weights(path)
    except Exception as error:  # Keras raises many kinds, from h5py's to its own
        raise ValueError(
            f"`weights`: {path} does not fit the network {model.name} "
            f"({model.count_params():,} parameters, output {model.output_shape}): {error}"
        ) from error
