"""What all commands share: parsing flags, quiet TensorFlow, errors as sentences."""

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence

from absl import app, flags, logging

from keras_r3d.errors import R3DError


def run(
    define_flags: Callable[[], None],
    main: Callable[..., None] | Mapping[str, Callable[[], None]],
    arguments: Sequence[str] = (),
) -> None:
    """Parses the flags and runs a command.

    Args:
        define_flags: defines the command's flags (at import they would collide).
        main: the command, or its subcommands by name; an `R3DError` it raises is printed without
            traceback.
        arguments: names of what the command takes before its flags; `main` is called with them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # start-up notes of CPU builds
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")

    # How many windows a video has shows when it is decoded, so our data sets have no known length.
    warnings.filterwarnings("ignore", message="Your input ran out of data")

    def guarded(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs its export through absl
        words = argv[1:]
        if isinstance(main, Mapping):
            if not words or words[0] not in main:
                raise app.UsageError(f"Name what to do first: one of {list(main)}.")
            command = main[words.pop(0)]
        else:
            command = main
        given, words = words[: len(arguments)], words[len(arguments) :]
        if len(given) < len(arguments):
            missing = " ".join(arguments[len(given) :])
            raise app.UsageError(f"Missing: {missing}. Expected: {' '.join(arguments)}")
        if words:
            raise app.UsageError(f"Unknown argument '{words[0]}': flags start with `--`.")
        try:
            command(*given)
        except (R3DError, OSError) as error:  # an OSError names its file
            sys.exit(f"Error: {error}")
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)  # as a shell does

    define_flags()
    app.run(guarded)


def value(name: str):
    """Returns the value of a flag."""
    return flags.FLAGS[name].value
