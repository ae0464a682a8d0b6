"""Shows what in a video speaks for a class: `python -m keras_r3d.explain VIDEO --model RUN`."""

from keras_r3d.system import command
from keras_r3d.system.progress import Progress

_MODEL = "keras_r3d.inference.models.opening:Named"
_EXPLAIN = "keras_r3d.video_classifier:VideoClassifier.explain"


def _main(arguments: command.Arguments) -> None:
    from keras_r3d.inference.models.opening import Named

    named = Named(**arguments.of(_MODEL))

    # Loaded when names are in order: TensorFlow takes seconds.
    from keras_r3d.inference.explanation import explain
    from keras_r3d.video_classifier import open_named

    options = {"output": "."} | arguments.of(_EXPLAIN)
    paths = explain.paths_of(options["video"], options["output"], options["npz"])
    classifier = open_named(named)
    print(classifier)
    print(classifier.explain(**options, progress=Progress("boxes covered")))
    print(f"Written: {', '.join(map(str, paths.values()))}")


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_MODEL, _EXPLAIN],
        words=["video"],
        names={"class_name": "class"},
        without=["fuse", "weights"],
        example="some.mp4 --model runs/few --class wave",
    )


if __name__ == "__main__":
    main()
