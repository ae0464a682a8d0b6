"""Examines the videos of a folder or a list: `python -m keras_r3d.scan DATA`."""

from keras_r3d.system import command
from keras_r3d.system.progress import Progress

_SCAN = "keras_r3d.data.scanning.report:scan"


def _main(arguments: command.Arguments) -> int:
    from keras_r3d.data.scanning import report

    options = arguments.of(_SCAN) | arguments.of(command.SPREAD)
    with command.resumable("csv" in arguments or "json" in arguments):
        scanned = report.scan(**options, progress=Progress("files"), say=print)
    print(scanned)
    return int(not all(file.frames for file in getattr(scanned, "examinations", ())))


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_SCAN, command.SPREAD],
        words=["data"],
        aliases={"data_dir": "data"},
        example="MY_VIDEOS --csv findings.csv",
    )


if __name__ == "__main__":
    main()
