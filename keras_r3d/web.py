"""Serves a page in which a network runs: `python -m keras_r3d.web FOLDER`."""

from keras_r3d.system import command

_SERVE = "keras_r3d.export.web.serving:serve"


def _main(arguments: command.Arguments) -> None:
    from keras_r3d.export.web import serving

    serving.serve(**arguments.of(_SERVE))


def main() -> None:
    """Entry point of the command."""
    command.run(_main, [_SERVE], words=["folder"], without=["say"], example="runs/few/export/web")


if __name__ == "__main__":
    main()
