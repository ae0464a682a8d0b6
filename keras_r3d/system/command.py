"""What all commands share: parsing flags, quiet TensorFlow, errors as sentences."""

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags, logging

from keras_r3d.system.errors import R3DError
from keras_r3d.system.progress import Progress as Progress
from keras_r3d.system.progress import duration as duration

DECODING = ("windows ", "frames ")  # so begin the names of threads that decode
INTERRUPTED = 75  # exit code of what was stopped and can be gone on with


def run(
    define_flags: Callable[[], None],
    main: Callable[..., None] | Mapping[str, Callable[[], None]],
    arguments: Sequence[str] = (),
    several: Sequence[str] = (),
) -> None:
    """Parses the flags and runs a command.

    Args:
        define_flags: defines the command's flags (at import they would collide).
        main: the command, or its subcommands by name; an `R3DError` it raises is printed without
            traceback.
        arguments: names of what the command takes before its flags, in brackets what may be
            missing; `main` is called with them. A last one with "…" takes all words.
        several: names of flags that take all words up to the next flag: `--fuse A B`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # start-up notes of CPU builds
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")

    # How many windows a video has shows when it is decoded, so our data sets have no known length.
    warnings.filterwarnings("ignore", message="Your input ran out of data")

    def guarded(argv: list[str]) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name may not be ASCII, a terminal be so
                stream.reconfigure(errors="backslashreplace")
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs its export through absl
        words = argv[1:]
        if isinstance(main, Mapping):
            if not words or words[0] not in main:
                raise app.UsageError(f"Name what to do first: one of {list(main)}.")
            command = main[words.pop(0)]
        else:
            command = main
        taken = len(words) if arguments and "…" in arguments[-1] else len(arguments)
        given, words = words[:taken], words[taken:]
        needed = sum(not name.startswith("[") for name in arguments)
        if len(given) < needed:
            missing = " ".join(arguments[len(given) :])
            raise app.UsageError(f"Missing: {missing}. Expected: {' '.join(arguments)}")
        if words:
            raise app.UsageError(f"Unknown argument '{words[0]}': flags start with `--`.")
        # As a scheduler ends a job: like Ctrl-C, so that what was begun is put away.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            command(*given)
        except BrokenPipeError:  # whoever read it, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except (R3DError, OSError) as error:  # an OSError names its file
            sys.exit(f"Error: {error}")
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(130)  # as a shell does

    define_flags()
    try:
        app.run(guarded, [sys.argv[0], *_repeated(sys.argv[1:], several)])
    except BrokenPipeError:  # of --help: whoever read it, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except SystemExit as end:
        asked = end.code == 1 and {"--help", "-help", "--helpshort", "--helpfull"} & set(sys.argv)
        _leave(0 if asked else end.code)  # absl ends with 1


@contextlib.contextmanager
def going_on() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end a command that goes on where it was, with exit code 75."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on.", flush=True)
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(code: int | str | None) -> None:
    """Ends the process as `sys.exit`, also while decoders work or hang in threads of ours."""
    ours = [one for one in threading.enumerate() if one.name.startswith(DECODING)]
    for thread in ours:
        thread.join(timeout=1.0)
    if not any(thread.is_alive() for thread in ours):
        sys.exit(code)
    if isinstance(code, str):
        print(code, file=sys.stderr)
    with contextlib.suppress(OSError):  # whoever read it has gone
        sys.stdout.flush()
    sys.stderr.flush()
    # Python would be put away under a running thread, which aborts it.
    os._exit(1 if isinstance(code, str) else code or 0)


def _repeated(words: Sequence[str], several: Sequence[str]) -> list[str]:
    """Writes `--fuse A B` as `--fuse A --fuse B`, which absl understands."""
    out: list[str] = []
    flag = None
    for word in words:
        if word.startswith("-") and not _is_number(word):
            name, equals, _ = word.lstrip("-").partition("=")
            flag = word.partition("=")[0] if name in several else None
            if flag is None or equals:
                out.append(word)
        elif flag is None:
            out.append(word)
        else:
            out += [flag, word]
    return out


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def value(name: str):
    """Returns the value of a flag."""
    return flags.FLAGS[name].value


def data(words: Sequence[str]) -> str | None:
    """Returns the data that a command is given: as its argument, or by the older --data_dir.

    Raises:
        R3DError: both name some.
    """
    if words and value("data_dir") is not None:
        raise R3DError(f"DATA is {words[0]}, and --data_dir {value('data_dir')}: name one of them.")
    return words[0] if words else value("data_dir")
