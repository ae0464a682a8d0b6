"""Videos at s3://, by fsspec, from a server that now and then fails. `make test-remote`."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from test_outputs import FAILS, Failing, model, run, s3, videos

from keras_r3d.data import annotations, opening, prepare_store
from keras_r3d.data.annotations import listing
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.store import is_store
from keras_r3d.system import retrying
from keras_r3d.system.errors import DataError, UnreachableError, VideoError
from keras_r3d.system.objects import inputs, outputs, remote

__all__ = ["model", "s3", "videos"]  # fixtures
pytestmark = pytest.mark.timeout(900)  # of many commands
FAR = "s3://bucket/v"


@pytest.fixture(autouse=True)
def bucket(s3, videos, monkeypatch):
    """The videos in the bucket; what was learned of another server is forgotten."""
    for cached in (inputs._of_bucket, outputs._system):
        cached.cache_clear()
    for name in ("_known", "_folders"):
        monkeypatch.setattr(inputs, name, {})
    monkeypatch.setattr(inputs, "_listed", set())
    monkeypatch.setattr(inputs, "_copies", type(inputs._copies)())
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    if "Contents" not in s3.list_objects_v2(Bucket="bucket", Prefix="v/"):
        for path in videos.rglob("*.*"):
            s3.upload_file(str(path), "bucket", f"v/{path.relative_to(videos)}")


def put(s3, **files: str | bytes) -> None:
    for name, content in files.items():
        s3.put_object(Bucket="bucket", Key=name, Body=content)


def same(found, wanted, far: str, near: Path) -> None:
    """Compares annotations of a URL with those of a folder."""
    assert found.splits.keys() == wanted.splits.keys()
    for split, part in wanted.splits.items():
        moved = [dataclasses.replace(v, path=v.path.replace(str(near), far)) for v in part]
        assert found.splits[split] == moved
    assert found.notes == [note.replace(str(near), far) for note in wanted.notes]


def test_a_folder_is_listed_as_one_here(videos):
    options = {"validation_fraction": 0.2, "test_fraction": 0.2, "seed": 1}
    asked = Failing.count
    far = annotations.read(f"{FAR}/", "auto", **options)
    before = next(asked)
    assert all(annotations.size(v.path) for part in far.splits.values() for v in part)
    assert next(asked) == before + 1, "the sizes came with the list"
    same(far, annotations.read(videos, "auto", **options), FAR, videos)
    near = [path.replace(str(videos), FAR) for path in listing.paths([str(videos)])]
    assert listing.paths([FAR]) == near
    assert listing.names_several(FAR)
    assert not listing.names_several(f"{FAR}/red/0.avi")
    assert not is_store(FAR)


def test_each_page_of_a_listing_is_tried_again(monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    monkeypatch.setattr(Failing, "count", itertools.cycle([FAILS, 1]))
    refused = len(Failing.refused)
    assert len(listing.paths([FAR])) == 11
    assert len(Failing.refused) - refused == 6, "one for each page"


def test_splits_a_quarantine_and_what_is_no_data(s3, tmp_path):
    names = [
        f"{split}/{label}/{n}.avi" for split in ("train", "test") for label in "ab" for n in "12"
    ]
    names += ["train/.hidden/1.avi", "train/a/.2.avi", "train/a/notes.txt", "3.avi", "other/x.avi"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"some")
    (tmp_path / "quarantine.txt").write_text("train/a/2.avi\n")
    put(s3, **{"q/": b"", "q/train/a/": b""})  # what consoles make for folders
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        put(s3, **{f"q/{path.relative_to(tmp_path)}": path.read_bytes()})
    far, near = (annotations.read(place, "auto") for place in ("s3://bucket/q", tmp_path))
    same(far, near, "s3://bucket/q", tmp_path)
    assert len(far.splits["train"]) == 3


@pytest.mark.parametrize("name", ["auto", "lists/train.csv", "lists", "lists/my_*", "ucf/1"])
def test_lists_in_a_folder(s3, tmp_path, name):
    (tmp_path / "lists").mkdir()
    (tmp_path / "ucf").mkdir()
    rows = "".join(f"{n % 2}/{n}.avi,{n % 2}\n" for n in range(4))
    (tmp_path / "manifest.csv").write_text(f"path,label\n{rows}")
    (tmp_path / "lists" / "train.csv").write_text(f"path,label\n{rows}")
    for n, split in ((0, "train"), (2, "test")):
        text = f"0/{n}.avi 0\n1/{n + 1}.avi 1\n"
        (tmp_path / "lists" / f"my_{split}_list.txt").write_text(text)
        (tmp_path / "ucf" / f"{split}list01.txt").write_text(text)
    (tmp_path / "lists" / "labels.txt").write_text("even\nodd\n")
    if name == "lists":
        (tmp_path / "lists" / "train.csv").unlink()
    folder = "l" + "".join(filter(str.isalpha, name))
    for n in range(4):
        (tmp_path / f"{n % 2}").mkdir(exist_ok=True)
        (tmp_path / f"{n % 2}" / f"{n}.avi").write_bytes(b"some")
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        put(s3, **{f"{folder}/{path.relative_to(tmp_path)}": path.read_bytes()})
    far = f"s3://bucket/{folder}"
    assert name == "auto" or annotations.has(far, name)
    assert not annotations.has(far, "none.csv")
    same(annotations.read(far, name), annotations.read(tmp_path, name), far, tmp_path)
    if name == "auto":
        far = f"{far}/manifest.csv"
        found = annotations.read(far, name)
        same(
            found,
            annotations.read(tmp_path / "manifest.csv", name),
            annotations.root(far),
            tmp_path,
        )


def test_a_long_list_is_learned_from_its_folders(s3, tmp_path):
    for number in range(50):
        put(s3, **{f"many/{number % 5 // 4}/{number}.avi": b"x" * (number + 1)})
    rows = [f"s3://bucket/many/{n % 5 // 4}/{n}.avi,{n % 2}" for n in range(51)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    before = next(Failing.count)
    with pytest.raises(DataError, match=r"1 of 51 videos .*: s3://bucket/many/0/50.avi \(line 52"):
        annotations.read(tmp_path / "list.csv", "auto")
    assert next(Failing.count) - before < 20, "one list of 40 files, and 10 are asked for"
    assert [annotations.size(row.partition(",")[0]) for row in rows[:3]] == [1, 2, 3]


def test_results_are_those_of_a_folder(s3, videos, model, tmp_path):
    of_model = ("--model", model)
    commands = {
        "scan": ((), {"csv": "s.csv", "json": "s.json"}),
        "prepare": (("--levels=24",), {"output": "store"}),
        "flow": (("--input=farneback", "--short_side=0"), {"output": "flow"}),
        "features": (of_model, {"output": "f.npz"}),
        "predict": (of_model, {"csv": "p.csv", "json": "p.json", "html": "pages"}),
        "evaluate": (of_model, {"output": "e"}),
    }
    codes = {"prepare": 0}
    refused = len(Failing.refused)
    for command, (words, files) in commands.items():
        for place, folder in ((FAR, tmp_path / "far"), (videos, tmp_path / "near")):
            folder.mkdir(exist_ok=True)
            flags = [f"--{flag}={folder / name}" for flag, name in files.items()]
            run(command, place, *words, *flags, code=codes.get(command, 1))
    assert len(Failing.refused) > refused + 2
    far, near = (
        {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "far", tmp_path / "near")
    )
    assert far.keys() == near.keys()
    texts = (".csv", ".json", ".txt", ".mp4")
    for name in far:
        ours, theirs = far[name].read_bytes(), near[name].read_bytes()
        if name.endswith(texts):
            ours = ours.replace(FAR.encode(), str(videos).encode())
            ours = ours.replace(b"/far/", b"/near/")
        if name == "f.npz":
            arrays = (np.load(path[name])["embedding"] for path in (far, near))
            assert np.array_equal(*arrays)
        elif name.endswith(".json") and name.startswith("e/"):
            assert json.loads(ours)["records"] == json.loads(theirs)["records"]
        elif not name.endswith((".html", ".avi")):  # with names; and with numbers of their own
            assert ours == theirs, name


@pytest.mark.slow
def test_a_training_remembers_where_its_videos_are(s3, videos, tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,label,split\n"
        + "".join(
            f"{FAR}/{label}/{n}.avi,{label},{'test' if n == 4 else 'train'}\n"
            for label in ("red", "green")
            for n in range(5)
        )
    )
    few = ("--recipe", "few", "--workdir", tmp_path / "few")
    said = run("train", "--data_dir", tmp_path / "list.csv", *few, code=0)
    assert "10 videos" in said or "videos" in said
    assert FAR in (tmp_path / "few" / "videos.csv").read_text()
    run("evaluate", "--workdir", tmp_path / "few", code=0)
    run("evaluate", "--workdir", tmp_path / "few", "--data_dir", videos, "--split=train", code=1)
    run("explain", f"{FAR}/red/0.avi", "--model", tmp_path / "few", "--output", tmp_path, code=0)
    said = run("predict", f"{FAR}/red/0.avi", "--model", tmp_path / "few", code=0)
    assert "1 video: 1 ok" in said
    said = run("train", "--data_dir", FAR, *few, code=1)
    assert "are not those that the run" in said


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://none/v", r"s3://none/v does not exist: no such bucket, or nothing in that folder"),
        (f"{FAR}/blue", r"s3://bucket/v/blue does not exist: no such bucket, or nothing"),
        ("s3://bucket/flow", r"s3://bucket/flow holds optical flow, which is read on the disk"),
        ("s3://bucket/pictures", r"a/1 holds numbered pictures, which are not read from a URL"),
    ],
)
def test_folders_that_cannot_be_read(s3, url, message):
    put(s3, **{"flow/flow.json": b"{}", "flow/a/1.avi": b"x", "flow/b/1.avi": b"x"})
    put(s3, **{"pictures/a/1/image_1.jpg": b"x", "pictures/b/1/image_1.jpg": b"x"})
    with pytest.raises(DataError, match=message):
        opening.open_videos(url)


def test_a_store_among_its_videos_is_refused():
    with pytest.raises(DataError, match=rf"`output` {FAR}/store lies in {FAR}/, where it would"):
        prepare_store(f"{FAR}/", f"{FAR}/store", levels="24")


def test_what_is_not_there(s3):
    with pytest.raises(VideoError, match=rf"{FAR}/red/9.avi: there is no such file"):
        VideoFile(f"{FAR}/red/9.avi")
    with pytest.raises(VideoError, match=r"s3://none/red/9.avi: there is no such file"):
        VideoFile("s3://none/red/9.avi")


def test_a_refusal_is_said_and_listing_is_not_needed(s3, monkeypatch):
    urls = [f"{FAR}/{label}/{n}.avi" for label in ("red", "green") for n in range(5)]
    monkeypatch.setattr(inputs, "WORTH_LISTING", 2)
    refuse = PermissionError("Access Denied")
    monkeypatch.setattr(remote.Fsspec, "find", lambda *_, **__: (_ for _ in ()).throw(refuse))
    inputs.learn(urls)
    assert all(map(annotations.exists, urls))
    with pytest.raises(UnreachableError, match=rf"{FAR}: the server refuses .*\(Access Denied\)"):
        annotations.read(FAR, "auto")
