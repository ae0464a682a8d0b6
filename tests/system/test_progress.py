"""One line of a terminal; in a log file a line for each tenth."""

import sys

import pytest

from keras_r3d.system import progress


def on_a_terminal(monkeypatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that go by only when they are set."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_line_for_each_tenth(capsys, clock):
    bar = progress.Progress("videos")
    for done in range(1, 101):
        clock[0] = done / 2
        bar(done, 100)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "10 of 100 videos, 2/s, 45 s left"
    assert lines[-1] == "100 of 100 videos, 2/s, 0 s left"


def test_chunks_are_counted_in_their_unit_and_what_was_done_before_is_no_speed(capsys, clock):
    bar = progress.Progress("MB", unit=1e6)
    bar(4_000_000, 10_000_000)
    clock[0] = 2.0
    bar(7_000_000, 10_000_000)
    assert capsys.readouterr().out.splitlines()[-1] == "7.0 of 10.0 MB, 1.5/s, 2 s left"


def test_a_terminal_gets_one_line_that_fits(capsys, clock, monkeypatch):
    on_a_terminal(monkeypatch)
    bar = progress.Progress("videos of the demo")
    bar(1, 2)
    bar(2, 2)
    assert capsys.readouterr().out == "\r1 of 2 videos of th\x1b[K\r2 of 2 videos of th\x1b[K\n"


def test_of_an_unknown_number_only_what_is_done_shows(capsys, clock, monkeypatch):
    on_a_terminal(monkeypatch)
    progress.Progress("MB", unit=1e6)(2_500_000, 0)
    assert capsys.readouterr().out == "\r2.5 MB\x1b[K"


@pytest.mark.parametrize(
    ("seconds", "text"), [(99, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h")]
)
def test_durations_are_said_as_a_person_would(seconds, text):
    assert progress.duration(seconds) == text
