"""Videos at URLs: the same as from the folder, and what happens when their server fails."""

import errno
import gc
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import commands
import exports
import numpy as np
import prepared
import pytest
import tensorflow as tf
from color_model import CLASSES, color_model
from conftest import write_classes
from range_server import RangeServer
from store_batches import batches, stream

from keras_r3d import VideoClassifier
from keras_r3d import predict as predict_command
from keras_r3d.data import annotations, opening
from keras_r3d.data.annotations import Video, listing, located, relative
from keras_r3d.data.decoding.video_file import VideoFile
from keras_r3d.data.scanning import report
from keras_r3d.data.scanning.report import scan
from keras_r3d.recipe import Clips
from keras_r3d.system import retrying, workers
from keras_r3d.system.errors import DataError, R3DError, UnreachableError, VideoError, WriteError
from keras_r3d.system.objects import inputs, remote

ROOT = Path(__file__).parents[2]
LIST = "path,label,split\nred/0.avi,red,train\ngreen/0.avi,green,train\nred/1 a%.avi,red,test\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number in range(2):
        write_classes(root / f"{number}", 1, 12 + number, base=10 * number)
    for label in ("red", "green"):
        (root / label).mkdir()
        (root / "0" / label / "0.avi").rename(root / label / "0.avi")
    (root / "1" / "red" / "0.avi").rename(root / "red" / "1 a%.avi")
    (root / "list.csv").write_text(LIST)
    (root / "none.mp4").write_bytes(b"no video")
    (root / "empty.mp4").write_bytes(b"")
    return root


@pytest.fixture
def server(folder, monkeypatch):
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    for name in ("_known", "_folders"):
        monkeypatch.setattr(inputs, name, {})
    monkeypatch.setattr(inputs, "_copies", type(inputs._copies)())
    names = [str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()]
    with RangeServer({f"/v/{name}": (folder / name).read_bytes() for name in names}) as running:
        running.root = f"{running.address}/v"
        yield running


def sent(server) -> list[tuple[str, int]]:
    return [(request.path, request.status) for request in server.requests]


# Reading ------------------------------------------------------------------------------------------


def test_frames_and_identity_are_those_of_the_file(folder, server):
    url, path = f"{server.root}/red/0.avi", str(folder / "red" / "0.avi")
    far, near = VideoFile(url, 24), VideoFile(path, 24)
    assert far.rate == near.rate
    for ours, theirs in zip(vars(far.index()).values(), vars(near.index()).values(), strict=True):
        assert np.array_equal(ours, theirs)
    index = near.index()
    for numbers in (None, np.array([2, 9]), np.array([5])):  # from the start again, each time
        pairs = zip(far.frames(index, numbers), near.frames(index, numbers), strict=True)
        assert all(a[0] == b[0] and (a[1].rgb() == b[1].rgb()).all() for a, b in pairs)
    assert annotations.exists(url)
    assert annotations.size(url) == annotations.size(path)
    assert annotations.sha256(url) == annotations.sha256(path)
    reader = opening.file_reader([Video(url, "")], Clips())
    assert reader.fingerprint(Video(url, ""), True) == reader.fingerprint(Video(path, ""), True)
    assert reader.state(Video(url, "")) == f"{annotations.size(path)} bytes of "
    assert len(server.requests) == 2, "its size, and all of it, once"


def test_a_video_larger_than_a_piece(folder, server, monkeypatch):
    monkeypatch.setattr(remote, "PIECE_BYTES", 1000)
    content = (folder / "red" / "0.avi").read_bytes()
    server.faults = [None, None, 500, None, "cut"]
    assert annotations.sha256(f"{server.root}/red/0.avi") == annotations.sha256(
        str(folder / "red" / "0.avi")
    )
    ranges = [request.range for request in server.requests if request.status == 206]
    assert len(ranges) == 2 + -(-len(content) // 1000), "one of them twice, and the size"


@pytest.mark.parametrize("limit", ["KEPT_BYTES", "KEPT_FILES"])
def test_a_copy_that_must_go_is_kept_by_who_reads_it(server, monkeypatch, limit):
    monkeypatch.setattr(inputs, limit, 1)
    opened = VideoFile(f"{server.root}/red/0.avi")
    index = opened.index()
    frames = [picture.rgb() for _, picture in opened.frames(index)]
    before = set(os.listdir("/proc/self/fd"))
    inputs.copy(f"{server.root}/green/0.avi")
    assert [*inputs._copies] == [f"{server.root}/green/0.avi"]
    again = [picture.rgb() for _, picture in opened.frames(index)]  # which opens it anew
    assert np.array_equal(frames, again)
    opened.close()
    del opened
    gc.collect()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1, "the other copy, and no more"


def test_threads_that_want_the_same_download_it_once(server):
    server.latency_seconds = 0.02
    urls = [f"{server.root}/red/0.avi", f"{server.root}/green/0.avi"] * 4
    threads = [threading.Thread(target=inputs.copy, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 4


# Lists --------------------------------------------------------------------------------------------


def test_a_list_at_a_url_is_that_of_the_folder(folder, server):
    far = annotations.read(f"{server.root}/list.csv", "auto")
    near = annotations.read(folder / "list.csv", "auto")
    for split, videos in near.splits.items():
        assert len(far.splits[split]) == len(videos)
        for ours, theirs in zip(far.splits[split], videos, strict=True):
            assert relative(ours.path, server.root) == relative(theirs.path, str(folder))
            assert ours.label == theirs.label
            assert annotations.sha256(ours.path) == annotations.sha256(theirs.path)
    assert far.splits["test"][0].path == f"{server.root}/red/1%20a%25.avi"
    assert annotations.root(f"{server.root}/list.csv") == server.root


def test_a_quarantine_and_names_of_classes_lie_beside_it(server):
    server.files |= {
        "/v/list.txt": b"red/0.avi 3\ngreen/0.avi 7\nred/1.avi 3\n",
        "/v/red/1.avi": server.files["/v/red/0.avi"],
        "/v/labels.txt": b"3 red\n7 green\n",
        "/v/quarantine.txt": b"red/1.avi\n",
    }
    found = annotations.read(f"{server.root}/list.txt", "auto")
    videos = [(Path(v.path).parent.name, v.label) for v in found.splits["train"]]
    assert videos == [("red", "red"), ("green", "green")]
    assert found.notes == [
        f"1 videos are skipped by {server.root}/quarantine.txt: {server.root}/red/1.avi."
    ]


def test_a_list_here_may_name_urls(folder, server, tmp_path):
    (tmp_path / "list.csv").write_text(
        f"path,label\n{server.root}/red/0.avi,red\n{folder}/green/0.avi,green\n"
        f"{server.root}/gone.avi,red\n"
    )
    with pytest.raises(DataError, match=rf"1 of 3 videos .* not exist: {server.root}/gone.avi"):
        annotations.read(tmp_path / "list.csv", "auto")
    found = annotations.read(tmp_path / "list.csv", "auto", must_exist=False)
    paths = [video.path for video in found.splits["train"]]
    assert paths == [f"{server.root}/red/0.avi", f"{folder}/green/0.avi", f"{server.root}/gone.avi"]
    (tmp_path / "copy.csv").write_text(annotations.to_csv(found))
    again = annotations.read(tmp_path / "copy.csv", "auto", must_exist=False)
    assert again.splits == found.splits
    annotations.add_to_quarantine(tmp_path, [paths[0], paths[2]])
    left = annotations.read(tmp_path / "list.csv", "auto", must_exist=False, trained_on=False)
    assert [video.path for video in left.splits["train"]] == [paths[1]]


def test_many_files_are_asked_for_at_a_time(server, tmp_path):
    names = [f"many/{number}.avi" for number in range(200)]
    server.files |= {f"/v/{name}": b"some" for name in names[1:]}
    lines = [f"{server.root}/{name},{number % 2}" for number, name in enumerate(names)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    server.latency_seconds = 0.02
    with pytest.raises(DataError, match=r"1 of 200 videos .*many/0.avi"):
        annotations.read(tmp_path / "list.csv", "auto")
    assert len(server.requests) == 200, "each once"
    assert server.busiest > 10


@pytest.mark.parametrize(
    ("root", "path", "name"),
    [
        ("/data", "/data/a/1.avi", "a/1.avi"),
        ("/data", "s3://bucket/a/1.avi", "s3:/bucket/a/1.avi"),
        ("s3://bucket/a", "s3://bucket/a/b/1 %25#.avi", "b/1 %25#.avi"),
        ("s3://bucket/a", "s3://other/a/1.avi", "s3:/other/a/1.avi"),
        ("https://host/a", "https://host/a/b/1%20%25%23.avi", "b/1 %#.avi"),
    ],
)
def test_a_name_below_a_folder_and_back(root, path, name):
    assert relative(path, root) == name
    assert located(name, root) == path


# Commands -----------------------------------------------------------------------------------------


def test_what_is_a_file_and_what_a_camera(server):
    for word in ("s3://bucket/a.mp4", "gs://bucket/folder", "https://host/a.MP4"):
        assert not listing.is_live(word)
    for word in (
        "http://host/video",
        "http://host/a.m3u8",
        "http://host/a.mp4?key",
        "rtsp://h/a.mp4",
    ):
        assert listing.is_live(word)
    url = f"{server.root}/red/0.avi"
    assert listing.paths([url, url, f"{server.root}/list.csv"]) == [
        *(url, f"{server.root}/green/0.avi", f"{server.root}/red/1%20a%25.avi")
    ]
    assert listing.names_several(f"{server.root}/list.csv")
    assert not listing.names_several(url)


def test_scans_of_both_are_the_same(folder, server, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "run", prepared.inline)
    (folder / "all.csv").write_text(LIST + "none.mp4,green,train\n")
    server.files["/v/all.csv"] = (folder / "all.csv").read_bytes()
    texts: list[str] = []
    for root in (server.root, str(folder)):
        scanned = scan(f"{root}/all.csv", json=str(tmp_path / f"{len(texts)}.json"))
        text = (tmp_path / f"{len(texts)}.json").read_text() + report.table(scanned)
        texts.append(text.replace("%20a%25", " a%").replace(root, "ROOT"))
    assert texts[0] == texts[1]
    assert "none.mp4: it cannot be opened" in texts[0]


def test_stores_of_both_are_the_same(folder, server, tmp_path):
    for name, root in (("far", server.root), ("near", str(folder))):
        labeled = annotations.read(f"{root}/list.csv", "auto")
        job = prepared.planning.job(labeled, root, prepared.job(folder / "list.csv").settings)
        prepared.prepare_job(job, tmp_path / name)
    far, near = (prepared.content(tmp_path / name) for name in ("far", "near"))
    assert far.keys() == near.keys()
    for name in far.keys() - {"store.json"}:
        assert far[name] == near[name], name
    described = [json.loads(files["store.json"]) for files in (far, near)]
    assert [d.pop("source")["path"] for d in described] == [server.root, str(folder)]
    assert described[0] == described[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory, small) -> Path:
    path = tmp_path_factory.mktemp("run") / "r"
    videos = "path,label,split\nx/a.avi,red,train\nx/b.avi,green,train\n"
    exports.run_of(color_model(), path, CLASSES, experiment=small, videos=videos)
    return path


def test_predictions_and_embeddings_of_both_are_the_same(folder, server, run, tmp_path):
    classifier = VideoClassifier(run)
    near = classifier.predict(folder / "red" / "0.avi")
    far = classifier.predict(f"{server.root}/red/0.avi")
    assert (far.scores == near.scores).all()
    assert (far.window_scores == near.window_scores).all()
    rows = []
    for root in (server.root, str(folder)):
        code, out = commands.run(
            *(predict_command.main, f"{root}/list.csv", "--model", run, "--json"),
            *(tmp_path / f"{len(rows)}.json", "--html", tmp_path / f"{len(rows)}.pages"),
        )
        assert (code, "3 videos: 3 ok" in out) == (0, True), out
        text = (tmp_path / f"{len(rows)}.json").read_text().replace("%20a%25", " a%")
        rows.append(json.loads(text.replace(root, "ROOT")))
        assert len(list((tmp_path / f"{len(rows) - 1}.pages").glob("*.html"))) == 3
        rows[-1].append(classifier.embed(f"{root}/list.csv", per="window").embedding.tolist())
    assert rows[0] == rows[1]


def test_an_evaluation_of_both_is_the_same(folder, server, run, tmp_path):
    records = []
    for root in (server.root, str(folder)):
        evaluation = VideoClassifier(run).evaluate(f"{root}/list.csv", split="test")
        evaluation.save(tmp_path / f"{len(records)}")
        text = json.dumps(evaluation.records()).replace(root, "ROOT")
        records.append(text.replace("%20a%25", " a%"))
        assert (tmp_path / f"{len(records) - 1}" / "report.html").is_file()
    assert records[0] == records[1]


def test_clips_of_training_are_those_of_the_folder(folder, server, small):
    far, reader = batches(f"{server.root}/list.csv", small.clips)
    near, _ = batches(folder / "list.csv", small.clips)
    assert all((ours == theirs).all() for x, y in zip(far, near, strict=True)
               for ours, theirs in zip(x, y, strict=True))  # fmt: skip
    assert reader.problems == []
    opened = opening.open_source(f"{server.root}/list.csv", small.clips)
    inputs._copies.clear()
    server.always = 403
    with pytest.raises(tf.errors.OpError, match=r"0\.avi: the server refuses to give it"):
        next(iter(stream(opened, small.clips)))
    assert opened.reader.problems == [], "it is no video's fault"


# Failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.avi", r"gone\.avi: there is no such file\."),
        ("none.mp4", r"none\.mp4: it cannot be opened as a video"),
        ("empty.mp4", r"empty\.mp4: the file is empty"),
    ],
)
def test_what_is_no_video_is_one_s_own_problem(server, run, name, message):
    with pytest.raises(VideoError, match=message):
        VideoFile(f"{server.root}/{name}")
    found = list(VideoClassifier(run).predict([f"{server.root}/{n}" for n in (name, "red/0.avi")]))
    assert [one.status for one in found] == ["error", "ok"]
    assert server.root in found[0].detail


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, r"/red/0\.avi: the server refuses to give it \(403 Forbidden\)\. Check the cred"),
        (500, r"/red/0\.avi could not be read: .* 500 .*Asked 5 times"),
        ("cut", r"/red/0\.avi could not be read: .*before the answer was complete"),
    ],
)
def test_a_server_that_fails_ends_all_in_a_sentence(server, run, monkeypatch, fault, message):
    url = f"{server.root}/red/0.avi"
    inputs.learn([url])
    server.always = fault
    with pytest.raises(R3DError, match=message):
        VideoFile(url)
    code, out = commands.run(predict_command.main, url, "--model", run)
    assert (code, bool(re.search(f"^Error: .*{message}", out, re.MULTILINE))) == (1, True)
    assert "/tmp" not in out.replace(str(run), "")
    monkeypatch.setattr(workers, "run", ended)
    with pytest.raises(R3DError, match=message):
        scan(url)


def test_a_server_without_ranges_is_named(server):
    server.always = "whole"
    with pytest.raises(UnreachableError, match=r"/red/0\.avi: the server sends the whole file"):
        VideoFile(f"{server.root}/red/0.avi")


def ended(function, items, *, workers, limit_seconds):
    """Stands for `workers.run`, without processes."""
    for number, item in enumerate(items):
        result = prepared.call(function, item)
        if isinstance(result, R3DError):
            raise result
        yield number, result


def test_a_process_hands_on_that_a_server_refuses(server):
    server.always = 403
    running = workers.run(VideoFile, [f"{server.root}/a.avi"], workers=1, limit_seconds=60)
    with pytest.raises(UnreachableError, match=rf"{server.root}/a\.avi: the server refuses"):
        list(running)


def test_a_download_counts_for_the_time_limit(server):
    server.always = "silence"
    url = f"{server.root}/red/0.avi"
    (result,) = workers.run(VideoFile, [url], workers=1, limit_seconds=0.5)
    assert result[1].status == "time limit"


def test_nothing_is_left_of_a_process_that_is_killed(server, tmp_path):
    script = (
        "import os\n"
        "from keras_r3d.system.objects import inputs\n"
        f"copied = inputs.copy('{server.root}/red/0.avi')\n"
        "print(os.path.getsize(copied.path), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (-9, f"{len(server.files['/v/red/0.avi'])}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(server, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inputs.tempfile, "TemporaryFile", full)
    with pytest.raises(WriteError, match=r"Could not write .* \(No space.*free some space there"):
        VideoFile(f"{server.root}/red/0.avi")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("S3://bucket/a.avi", r"S3:// must be written s3://\."),
        ("ftp://host/a.avi", r"ftp:// is unknown; expected a folder, or one of s3://"),
        ("s3:///a.avi", "the bucket is missing"),
        ("s3://key:se/cret@bucket/a.avi", "no user's name and password"),
        ("https://me:secret@host/a.avi", r"https://host/a.avi: .*without a user's name and pass"),
        ("https://host/a.avi?secret", r"https://host/a.avi: .* named without a query"),
    ],
)
def test_urls_that_cannot_be_read(tmp_path, url, message):
    (tmp_path / "list.csv").write_text(f"path,label\n{url},red\n")
    for ask in (VideoFile, lambda url: listing.paths([url])):
        with pytest.raises(DataError, match=message) as raised:
            ask(url)
        assert "cret" not in str(raised.value)
    with pytest.raises(DataError, match=rf"list.csv, line 2: .*{message}") as raised:
        annotations.read(tmp_path / "list.csv", "auto")
    assert "cret" not in str(raised.value)


def test_a_folder_that_cannot_be_listed(server):
    with pytest.raises(DataError, match=r"/v is no clip store, and servers of http\(s\):// do not"):
        opening.open_videos(server.root)


def test_without_what_reads_there(monkeypatch):
    inputs._of_bucket.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=r"what reads videos from gs:// .*`pip install fsspec gcsf"):
        annotations.exists("gs://bucket/a.mp4")
