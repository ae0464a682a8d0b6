"""Flags are made of what functions say of themselves."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from keras_r3d.system.command import REQUIRED, read_arguments_text, read_signature

PATHS = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
SOURCE = '''
"""Counts things.

More of it.
"""
import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

from keras_r3d.system import command
from keras_r3d.system.errors import ArgumentError, noted

LIMIT = 3.5


class Counter:
    """Counts.

    Args:
        what: what is counted; None is everything.
    """

    def __init__(self, what: str | None = None):
        pass

    def count(
        self,
        data: str,
        *,
        most: int = 3,
        limit: float = LIMIT,
        kind: Literal["a", "b"] = "a",
        weights: Sequence[float] = (),
        names: Sequence[str] = (),
        loud: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Counts.

        Args:
            data: where things are,
                on two lines.
            most: of them.
            progress: is told.

        Returns:
            data: no argument.
        """


def _main(arguments, *, csv: str | None = None) -> int | None:
    """Counts.

    Args:
        csv: also writes a file.
    """
    if arguments.get("most") == 0:
        with noted(["2 things are skipped."]):
            raise ArgumentError("`most` of `data_dir` must be at least 1, and `other` is no flag.")
    print(sorted(arguments.of(PLACES[0]).items()), sorted(arguments.of(PLACES[1]).items()), csv)
    return 3


PLACES = [f"{__file__}:Counter.__init__", f"{__file__}:Counter.count"]
if __name__ == "__main__":
    command.run(
        _main, PLACES, words=["data"], names={"what": "which"}, aliases={"data_dir": "data"},
        several=["names", "weights"], example="THINGS --most 2"
    )
'''


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "counter.py"
    path.write_text(textwrap.dedent(SOURCE).lstrip())
    return path


def run(path, *words):
    done = subprocess.run([sys.executable, path, *words], env=PATHS, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_signature_is_read_without_an_import(counter):
    data, most, limit, kind, weights, _, loud, progress = read_signature(f"{counter}:Counter.count")
    assert (data.name, data.type, data.default) == ("data", "str", REQUIRED)
    assert data.text == "where things are, on two lines."
    assert (most.default, most.text, limit.default) == (3, "of them.", None)
    assert (kind.type, kind.default, weights.default) == ("Literal['a', 'b']", "a", ())
    assert (loud.default, progress.type) == (False, "Callable[[int], None] | None")
    (what,) = read_signature(f"{counter}:Counter.__init__")
    assert what.text == "what is counted; None is everything."
    for place in (f"{counter}:Counter.other", "keras_r3d.nowhere:x"):
        with pytest.raises(LookupError, match="There is no"):
            read_signature(place)


def test_only_the_arguments_of_a_docstring_are_read():
    text = "Does.\n\nArgs:\n    one: first.\n\n        Second.\n    two: third.\n\n"
    text += "Returns:\n    x: y.\n"
    assert read_arguments_text(text) == {"one": "first. Second.", "two": "third."}


def test_a_command_gives_each_function_its_arguments(counter):
    code, out, _ = run(
        counter,
        "X",
        "--which",
        "w",
        "--weights",
        "1,2.5",
        "--names",
        "a",
        "b",
        "--csv",
        "f",
        "--loud",
    )
    assert code == 3
    assert out == (
        "[('what', 'w')] [('data', 'X'), ('kind', 'a'), ('loud', True), ('most', 3), "
        "('names', ['a', 'b']), ('weights', [1.0, 2.5])] f\n"
    )
    _, out, _ = run(counter, "--data_dir", "Y", "--weights", "1,2.5")
    assert "('data', 'Y')" in out
    assert "('weights', [1.0, 2.5])" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing: DATA. See --help."),
        (["X", "--data_dir", "Y"], "--data_dir is the same as DATA: name one."),
        (["X", "Y"], "Unknown argument 'Y': flags start with `--`."),
        (["X", "--progress", "1"], "Unknown command line flag 'progress'"),
        (["X", "--kind", "c"], "value should be one of <a|b>"),
        (["X", "--weights", "1", "x"], "--weights must be numbers. Received: 1 x"),
        (["X", "--most", "0"], "Error: --most of DATA must be at least 1, and `other` is no flag."),
    ],
)
def test_a_wrong_word_is_a_sentence(counter, words, message):
    code, out, err = run(counter, *words)
    assert code == 1
    assert message in out + err
    assert "Traceback" not in out + err


def test_notes_before_an_error_are_shown_before_it(counter):
    _, out, err = run(counter, "X", "--most", "0")
    assert out == "Note: 2 things are skipped.\n"
    assert "skipped" not in err


def test_help_says_what_each_flag_does(counter):
    code, out, _ = run(counter, "--help")
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == ["Counts things.", "", "  python -m counter DATA [FLAGS]"]
    assert "  DATA                   Where things are, on two lines. (or --data_dir)" in lines
    assert "  --which TEXT           What is counted; default: everything." in lines
    assert "  --most N               Of them. Default: 3." in lines
    assert "  --kind a|b             Default: a." in lines
    assert "Example: python -m counter THINGS --most 2" in lines
    assert "progress" not in out


def test_a_package_is_named_as_it_was_started(tmp_path):
    package = tmp_path / "counting"
    package.mkdir()
    (package / "__main__.py").write_text(textwrap.dedent(SOURCE).lstrip())
    started = [sys.executable, "-m", "counting", "--help"]
    done = subprocess.run(started, cwd=tmp_path, env=PATHS, capture_output=True, text=True)
    assert "  python -m counting DATA [FLAGS]" in done.stdout, done.stderr


@pytest.mark.parametrize("error", ["RuntimeError('x')", "R3DError('x')", "KeyboardInterrupt"])
@pytest.mark.parametrize("interrupted", [True, False])
def test_an_interrupt_is_told_from_an_error_that_a_library_makes_of_it(
    tmp_path, error, interrupted
):
    (tmp_path / "stop.py").write_text(
        "import signal, sys\n"
        "from keras_r3d.system import command\n"
        "from keras_r3d.system.errors import R3DError\n"
        "def main(arguments):\n"
        f"    try: {'signal.raise_signal(signal.SIGINT)' if interrupted else 'pass'}\n"
        "    except KeyboardInterrupt: sys.excepthook(*sys.exc_info())  # as PyErr_Print does\n"
        f"    raise {error}\n"
        "command.run(main)\n"
    )
    code, _, err = run(tmp_path / "stop.py")
    if interrupted or error == "KeyboardInterrupt":
        assert (code, err) == (130, "Interrupted.\n")
    else:
        assert code == 1
        assert ("Traceback" in err) == error.startswith("Runtime")
