"""Draws training clips as the network sees them: `python -m keras_r3d.view DATA`."""

from keras_r3d.system import command

_VIEW = "keras_r3d.data.sheet:view_clips"


def _main(arguments: command.Arguments) -> None:
    from keras_r3d.data import sheet

    print(sheet.view_clips(**arguments.of(_VIEW), say=print))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_VIEW],
        words=["data"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="MY_VIDEOS --recipe gestures",
    )


if __name__ == "__main__":
    main()
