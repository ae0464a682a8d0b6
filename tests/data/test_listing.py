import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.data.annotations import listing
from keras_r3d.system.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("a/2.mp4", "a/1.avi", "a/deep/3.MKV", "a/notes.txt", "b/[x].mp4", "b/x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_become_files_each_once(folder):
    assert listing.paths(["a"]) == ["a/1.avi", "a/2.mp4", "a/deep/3.MKV"]
    assert listing.paths(["a/2.mp4", "a"]) == ["a/2.mp4", "a/1.avi", "a/deep/3.MKV"]
    assert listing.paths(["a/*"]) == ["a/1.avi", "a/2.mp4", "a/notes.txt"]
    assert listing.paths(["*.webm", "a/2.mp4", "no.mp4"]) == ["*.webm", "a/2.mp4", "no.mp4"]
    assert listing.paths(["**/*.mp4"]) == ["a/2.mp4", "b/[x].mp4", "b/x.mp4"]
    assert listing.paths(["-", "a/1.avi"], ["b/x.mp4\n", "\n", "no such.mp4\r\n"]) == [
        *("b/x.mp4", "no such.mp4", "a/1.avi")
    ]


def test_a_file_with_brackets_in_its_name_is_no_glob(folder):
    assert listing.paths(["b/[x].mp4"]) == ["b/[x].mp4"]
    os.remove("b/[x].mp4")
    assert listing.paths(["b/[x].mp4"]) == ["b/x.mp4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["empty"], "empty holds no videos"),
        (["-"], "none came on stdin"),
    ],
)
def test_words_that_name_nothing_are_errors(folder, words, message):
    with pytest.raises(DataError, match=message):
        listing.paths(words, ["\n"])


def test_cameras_and_addresses_are_live_unless_a_file_has_the_name(folder):
    for word in (
        "0",
        "12",
        "rtsp://host/x",
        "http://host/v",
        "http://host/v.mp4?key",
        "RTMP://host",
    ):
        assert listing.is_live(word)
    for word in (
        "a/2.mp4",
        "-",
        "a",
        "0.mp4",
        "C:/x.mp4",
        "*.mp4",
        "http://host/v.mp4",
        "s3://b/v",
    ):
        assert not listing.is_live(word)
    (folder / "0").touch()
    assert not listing.is_live("0")


def test_names_can_be_printed():
    assert listing.printable("rtsp://me:secret@host/1") == "rtsp://host/1"
    assert listing.printable("two\nlines\t\x1b[0m") == "two\\nlines\\t\\x1b[0m"
    assert listing.printable(os.fsdecode(b"caf\xe9.mp4")) == "caf\\xe9.mp4"
    assert listing.printable("Grüße 手.mp4") == "Grüße 手.mp4"


def test_names_are_short_where_they_can_be():
    assert listing.names(["x/a.mp4", "y/b.avi"]) == ["a", "b"]
    assert listing.names(["x/a.mp4", "y/a.mp4"]) == ["x_a", "y_a"]
    assert listing.names(["x/a.mp4", "x/A.avi"]) == ["a.mp4", "A.avi"]
    assert listing.names(["x/y_a.mp4", "x_y/a.mp4"]) == ["y_a", "a"]
    assert listing.names([]) == []


@given(st.sets(st.from_regex(r"([ab_]/){0,2}[aAb_]{1,2}\.(mp4|avi)", fullmatch=True)))
def test_names_differ(paths):
    names = listing.names(sorted(paths))
    assert len({name.casefold() for name in names}) == len(paths)
    assert not any("/" in name for name in names)


def test_a_file_named_in_two_ways_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    assert listing.paths(["a.mp4", "./a.mp4", str(tmp_path / "a.mp4")]) == ["a.mp4"]


def test_no_part_of_a_password_is_printed():
    assert listing.printable("rtsp://user:p@ss@host/s") == "rtsp://host/s"
    assert listing.printable("http://host/v?user=a&pwd=b") == "http://host/v"
    assert listing.printable("what?@home.mp4") == "what?@home.mp4"
