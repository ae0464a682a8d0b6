"""Converts a PyTorch checkpoint: `python -m keras_r3d.convert SOURCE.pth DEST.keras`.

`python -m keras_r3d.convert SOURCE.keras DEST.npz` writes a model's weights into a compact file.
"""

from absl import flags

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string(
        "labels", None, "Class names in the order of the outputs: a file, or kinetics400."
    )
    flags.DEFINE_list("mean", None, "What normalising subtracts: RGB, 0-255, with commas.")
    flags.DEFINE_list("std", None, "What it then divides by: RGB, 0-255, with commas.")
    flags.DEFINE_integer("conv1_t_stride", None, "Stride in time of the first convolution.")
    flags.DEFINE_bool("max_pool", None, "Max-pooling behind it.")
    flags.DEFINE_bool("overwrite", False, "Replace DEST if it exists.")


def _main(source: str, destination: str) -> None:
    from keras_r3d import applications

    print(
        applications.convert(
            source,
            destination,
            labels=command.value("labels"),
            mean=_numbers("mean"),
            std=_numbers("std"),
            conv1_t_stride=command.value("conv1_t_stride"),
            max_pool=command.value("max_pool"),
            overwrite=command.value("overwrite"),
        )
    )


def _numbers(name: str) -> list[float] | None:
    words = command.value(name)
    try:
        return None if words is None else [float(word) for word in words]
    except ValueError as error:
        raise R3DError(f"--{name} must be numbers with commas. Received: {words}") from error


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE", "DEST"))
