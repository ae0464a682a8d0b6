"""Converts a checkpoint: `python -m keras_r3d.convert SOURCE.pth DEST.keras`.

`python -m keras_r3d.convert SOURCE.keras DEST.npz` writes a model's weights into a compact file.
"""

from keras_r3d.system import command

_CONVERT = "keras_r3d.applications.weights.conversion:convert"


def _main(arguments: command.Arguments) -> None:
    from keras_r3d import applications

    print(applications.convert(**arguments.of(_CONVERT)))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_CONVERT],
        words=["source", "destination"],
        example="resnet-34-kinetics.pth r3d34.keras --labels kinetics400",
    )


if __name__ == "__main__":
    main()
