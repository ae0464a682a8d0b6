"""Runs commands: in the process of a test, which takes no seconds to start, or in their own."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from absl import flags

from keras_r3d.system import command

ROOT = Path(__file__).parents[2]


def run(main: Callable[[], None], *words: object) -> tuple[int, str]:
    """Runs a command's `main` with words of a command line.

    Returns:
        Its exit code, and all that it prints.
    """
    printed = io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", ["command", *map(str, words)]))
        stack.enter_context(mock.patch.dict(os.environ))
        # It would end this process where threads of another test hang.
        stack.enter_context(mock.patch.object(command, "_leave", sys.exit))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        try:
            main()
            code: int | str | None = 0
        except SystemExit as end:
            code = end.code
        finally:
            for flag in flags.FLAGS.get_flags_for_module(command.__name__):
                delattr(flags.FLAGS, flag.name)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    if isinstance(code, str):
        return 1, printed.getvalue() + code
    return code or 0, printed.getvalue()


def output(main: Callable[[], None], *words: object, code: int = 0) -> str:
    """Runs a command as `run` does, which must exit with `code`; returns what it prints."""
    ended, text = run(main, *words)
    assert ended == code, text
    return text


def process(module: str, *words: object, code: int = 0, **environment: str) -> str:
    """Runs `python -m MODULE` in the checkout, which must exit with `code` and without traceback.

    Returns:
        What it prints, errors last.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert code == 0 or "Traceback" not in text, text
    return text
