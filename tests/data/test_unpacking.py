"""Videos in a ZIP archive."""

import zipfile
from pathlib import Path

import pytest
from conftest import write_classes

from keras_r3d.data import open_videos, unpacking
from keras_r3d.system.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    return path


def test_videos_are_those_of_the_folder_that_was_packed(tmp_path, cache):
    folder = write_classes(tmp_path / "data", 2)
    path = packed(folder, tmp_path / "data.zip")
    videos, again = open_videos(path), open_videos(str(path))
    names = [Path(video.path).relative_to(folder) for video in open_videos(folder).splits["train"]]
    for opened in (videos, again):
        (root,) = cache.iterdir()
        found = [Path(video.path).relative_to(root) for video in opened.splits["train"]]
        assert found == names
        assert opened.classes == ["green", "red"]


def test_nothing_is_written_outside(tmp_path, cache):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../red/outside.avi", b"x")
    unpacking.unpacked(path)
    assert not list(tmp_path.rglob("outside.avi")) or all(
        file.is_relative_to(cache) for file in tmp_path.rglob("outside.avi")
    )


def test_a_damaged_archive_is_an_error_and_leaves_nothing(tmp_path, cache):
    path = packed(write_classes(tmp_path / "data", 1), tmp_path / "data.zip")
    contents = bytearray(path.read_bytes())
    contents[200] ^= 255
    for broken in (bytes(contents), bytes(contents[:500]), b"no archive"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"data.zip is damaged, encrypted or no ZIP archive \("):
            open_videos(path)
        assert not list(cache.iterdir())


def test_a_small_archive_of_much_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_LEAST_LIMIT", 1000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("red/0.avi", bytes(10**6))
    with pytest.raises(DataError, match=r"bomb.zip would be 0.0 GiB, 100 times its size"):
        open_videos(path)
