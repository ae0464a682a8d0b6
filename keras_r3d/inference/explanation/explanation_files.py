"""Names of the files of an explanation. Importing this loads neither Keras nor TensorFlow."""

from pathlib import Path

from keras_r3d.system.errors import ArgumentError


def paths_of(video: str | Path, folder: str | Path, npz: bool = False) -> dict[str, Path]:
    """Returns the files that an explanation of a video is written to, by kind."""
    kinds = ("mp4", "png", *(["npz"] if npz else []))
    return {kind: Path(folder) / f"{Path(video).stem}.explain.{kind}" for kind in kinds}


def check_free(paths: dict[str, Path]) -> dict[str, Path]:
    """Raises ArgumentError if one of the files exists; returns them."""
    for path in paths.values():
        if path.exists():
            raise ArgumentError(f"{path} exists and is left as it is: choose another --output.")
    return paths
