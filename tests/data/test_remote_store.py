"""A whole store under a URL: the same clips as from the disk, and what happens when it fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import write_video
from prepared import prepare
from range_server import RangeServer
from store_batches import batches, stream

from keras_r3d import recipe
from keras_r3d.data.opening import open_source
from keras_r3d.data.store import Store
from keras_r3d.inference.evaluation.evaluating import evaluate_videos
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.system import retrying
from keras_r3d.system.errors import R3DError, StoreError, UnreachableError
from keras_r3d.system.objects import remote
from keras_r3d.training import run as training

TESTS = Path(__file__).parents[1]


@pytest.fixture
def data(small):
    return small.clips


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("remote")
    for number in range(6):
        label = "red" if number % 2 else "green"
        tint = (1, 0.2 + number / 10, 0.2) if number % 2 else (0.2, 1, 0.2 + number / 10)
        write_video(folder / "videos" / label / f"{number}.avi", 20, 48, 64, tint)
    prepare(folder / "videos", folder / "store", 48, 32, shard_bytes=10_000)  # several
    return folder / "store"


@pytest.fixture
def server(store, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    paths = [path for path in store.rglob("*") if path.is_file()]
    files = {f"/a/store/{path.relative_to(store)}": path.read_bytes() for path in paths}
    with RangeServer(files) as running:
        yield running


def test_clips_are_those_of_the_disk(store, server, data):
    far, reader = batches(server.address + "/a/store", data)
    near, _ = batches(store, data)
    for x, y in zip(far, near, strict=True):
        assert (x[0] == y[0]).all()
        assert (x[1] == y[1]).all()
    assert reader.problems == []


def test_only_the_frames_of_a_clip_are_read(store, server, data):
    opened = open_source(server.address + "/a/store", data)
    before = len(server.requests)
    opened.reader.check(opened.annotations.split("train")[0])
    ranges = [r for r in server.requests[before:] if r.method == "GET" and "shards" in r.path]
    assert [r.status for r in ranges] == [206, 206]
    assert ranges[0].sent == 1  # the first time, to know the size of the file
    assert ranges[1].sent < 5_000


def test_the_index_is_downloaded_once(server, data):
    open_source(server.address + "/a/store", data)
    before = len(server.requests)
    open_source(server.address + "/a/store", data)
    asked = {Path(r.path).name for r in server.requests[before:]}
    assert asked == {"store.json", "quarantine.txt", "problems.csv"}


def test_a_shard_cut_short_is_named_replaced_and_counted(store, server, data):
    path = next(path for path in server.files if path.endswith("shards/00001.jpegs"))
    server.files[path] = server.files[path][:500]
    taken, reader = batches(server.address + "/a/store", data, 6)
    assert len(taken) == 6
    assert reader.problems
    assert all("cut short?" in problem.detail for problem in reader.problems)
    assert all(p.name.startswith(server.address) for p in reader.problems)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, r"refuses to give it"),
        (500, r"could not be read: .*Asked 5 times"),
        ("silence", r"could not be read: .*Asked 5 times"),
    ],
)
def test_a_server_that_fails_meanwhile_ends_the_stream_in_one_sentence(
    server, data, fault, message, monkeypatch
):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.1)
    opened = open_source(server.address + "/a/store", data)
    server.always = fault
    with pytest.raises(UnreachableError, match=message):
        opened.reader.check(opened.annotations.split("train")[0])
    assert opened.reader.problems == []  # it is no video's fault
    with pytest.raises(tf.errors.OpError, match=message):
        next(iter(stream(opened, data)))


def test_what_passes_is_tried_again(server, data):
    opened = open_source(server.address + "/a/store", data)
    server.faults = [500, 503, 500]
    before = len(server.requests)
    opened.reader.check(opened.annotations.split("train")[0])
    assert server.faults == []
    assert [one.status for one in server.requests[before:]][:4] == [500, 503, 500, 206]


def test_no_store_there(server):
    with pytest.raises(StoreError, match=r"is no clip store: it has no store\.json"):
        Store(server.address + "/b")


@pytest.mark.slow
def test_a_query_is_kept_to_itself_and_videos_are_recognized(
    server, store, data, small, tmp_path, monkeypatch
):
    said: list[str] = []
    url = f"{server.address}/a/store"
    short = recipe.override(small, ["train.epochs=1"])
    run = training.train_network(short, f"{url}?key=secret", tmp_path / "run", say=said.append)
    assert "secret" not in (tmp_path / "run" / "summary.json").read_text() + "".join(said)
    for data_dir in (None, url, store, store.parent / "videos"):
        found, _ = run.open_split("test", data_dir)
        assert len(found) == 2, data_dir


def test_quarantine_is_heeded_there_too(store, server, data):
    server.files["/a/store/quarantine.txt"] = b"red/1.avi\n"
    opened = open_source(server.address + "/a/store", data)
    videos = [video for split in opened.annotations.splits.values() for video in split]
    assert len(videos) == 5
    assert "1 videos are skipped by" in opened.annotations.notes[0]


def test_an_evaluation_that_loses_its_server_ends_in_one_sentence(server, data):
    opened = open_source(server.address + "/a/store", data)
    videos = opened.annotations.split("train")
    opened.reader.check(videos[0])

    def fail(*_) -> None:
        server.always = 500

    opened.reader.require_readable = fail
    of = recipe.Eval("train", 2, "all", 1, "probabilities")
    classes = opened.annotations.classes
    model = Classifier("m", "Keras", classes, data, of, np.empty, None, "")
    with pytest.raises(R3DError, match=r"could not be read: .*Asked 5 times"):
        evaluate_videos(model, opened.reader, videos, split="train")


def test_a_hash_is_no_path(store, server):
    path = "/a/store/store.json"
    text = server.files[path].decode()
    hashes = re.findall(r'"sha256": "([0-9a-f]{64})"', text)
    server.files[path] = text.replace(hashes[0], "../../../outside").encode()
    with pytest.raises(StoreError, match=r"store\.json is damaged"):
        Store(server.address + "/a/store")


@pytest.fixture(params=["fsspec", pytest.param("TensorFlow", marks=pytest.mark.slow)])
def reader(request) -> str:
    """What reads s3://, which must be installed."""
    pytest.importorskip({"fsspec": "s3fs", "TensorFlow": "tensorflow_io"}[request.param])
    return request.param


def test_from_s3(store, tmp_path, data, reader):
    """In a process of its own: TensorFlow looks at the environment once, and aborts at the end."""
    pytest.importorskip("moto")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="bucket")
    for path in (path for path in store.rglob("*") if path.is_file()):
        client.upload_file(str(path), "bucket", f"sets/{path.relative_to(store)}")
    expected, _ = batches(store, data)
    np.savez(tmp_path / "expected.npz", *[array for batch in expected for array in batch])
    script = (
        "import os, sys, numpy as np\n"
        f"sys.path[:0] = {[str(TESTS), str(TESTS / 'helpers')]!r}\n"
        f"if {reader!r} == 'TensorFlow': sys.modules['fsspec'] = None\n"
        "from store_batches import batches\n"
        "from conftest import small_recipe\n"
        "taken, reader = batches('s3://bucket/sets', small_recipe().clips)\n"
        "assert not reader.problems, reader.problems\n"
        f"expected = np.load({str(tmp_path / 'expected.npz')!r})\n"
        "for number, array in enumerate(a for batch in taken for a in batch):\n"
        "    assert (expected[f'arr_{number}'] == array).all()\n"
        "print('the same clips', flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=TESTS.parent,
        env={
            **os.environ,
            "S3_ENDPOINT": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "KERAS_R3D_CACHE": str(tmp_path / "cache"),
        },
    )
    assert done.returncode == 0, done.stderr
    assert "the same clips" in done.stdout
