"""Results at s3://, by fsspec, and a server that now and then fails. `make test-remote`."""

import errno
import http.server
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from conftest import write_classes, write_noise
from prepared import content

from keras_r3d import VideoClassifier, applications
from keras_r3d.data.decoding.flow_video import StoredFlow
from keras_r3d.system import text
from keras_r3d.system.errors import ArgumentError, R3DError, WriteError
from keras_r3d.system.files import explain
from keras_r3d.system.objects import outputs

ROOT = Path(__file__).parents[2]
FAILS = 20  # of so many requests one fails
pytestmark = pytest.mark.timeout(900)  # of eight commands
SECRET = "wJalrXUtnFEMI"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}


class Failing(http.server.BaseHTTPRequestHandler):
    """Hands requests on to `target`, but for every twentieth, which gets an error of S3."""

    protocol_version = "HTTP/1.1"
    target = ""
    count = itertools.count(1)
    refused: ClassVar[list[str]] = []

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if next(self.count) % FAILS == 0:
            self.refused.append(f"{self.command} {self.path}")
            content = b"<Error><Code>InternalError</Code><Message>Try again.</Message></Error>"
            return self.answer(500, {}, content)
        alone = ("connection", "expect", "transfer-encoding", "content-length")
        headers = {"Content-Type": "application/octet-stream"}  # or urllib makes a form of it
        headers |= {k: v for k, v in self.headers.items() if k.lower() not in alone}
        request = urllib.request.Request(
            self.target + self.path, body, headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request) as answer:
                self.answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.headers, error.read())

    def answer(self, status, headers, content):
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                self.send_header(key, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one  # noqa: N815 (http.server's names)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture(scope="module")
def s3():
    """A bucket behind a server that fails now and then; yields a client that asks none of it."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    Failing.target = "http://{}:{}".format(*moto.get_host_and_port())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in KEYS.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=Failing.target, region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield client
    server.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_classes(root, 5)
    (root / "red" / "broken.mp4").write_bytes(b"none")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.keras"
    shape = {"classes": 2, "labels": ["green", "red"], "input_shape": (4, 32, 32, 3)}
    applications.R3D10(width=0.0625, **shape).save(path)
    return path


def run(command: str, *words: object, code: int) -> str:
    arguments = [sys.executable, "-m", f"keras_r3d.{command}", *map(str, words)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert SECRET not in said
    assert "/tmp/keras_r3d-" not in said
    return said


def stored(s3, prefix: str) -> dict[str, bytes]:
    """Returns what the bucket holds."""
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", ())
    names = [row["Key"] for row in found]
    answers = (s3.get_object(Bucket="bucket", Key=name)["Body"].read() for name in names)
    return {name.removeprefix(prefix): body for name, body in zip(names, answers, strict=True)}


def test_results_are_those_of_a_folder(s3, videos, model, tmp_path):
    of_model = (videos, "--model", model)
    given = {
        "scan": ((videos,), {"csv": "s.csv", "json": "s.json"}),
        "features": ((*of_model, "--neighbors=2"), {"output": "f.npz"}),
        "predict": (of_model, {"csv": "p.csv", "json": "p.json"}),
        "evaluate": (of_model, {"output": "e"}),
    }
    refused = len(Failing.refused)
    for command, (words, files) in given.items():
        here = [f"--{flag}={tmp_path / name}" for flag, name in files.items()]
        run(command, *words, *here, code=1)
        there = [f"--{flag}=s3://bucket/all/{name}" for flag, name in files.items()]
        said = run(command, *words, *there, code=1)
        assert "s3://bucket/all/" in said
    assert len(Failing.refused) > refused + 2
    found = stored(s3, "all/")
    wanted = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert found.keys() == wanted.keys(), "all files, and no parts, are there"
    for name in ("s.csv", "s.json", "f.npz", "f.neighbors.csv", "p.csv", "p.json"):
        assert found[name] == wanted[name], name
    figures = [json.loads(files["e/evaluation.json"])["records"] for files in (found, wanted)]
    assert figures[0] == figures[1]
    said = run("features", videos, "--model", model, "--output=s3://bucket/all/f.npz", code=1)
    assert "s3://bucket/all/f.npz already exists; choose another --output" in said
    said = run("features", "--output=s3://bucket/all/f.npz", "--neighbors=3", code=1)
    assert "f.neighbors.csv already exists" in said


def test_machines_that_see_no_common_folder_share(s3, videos, model, tmp_path):
    run("features", videos, "--model", model, "--output", tmp_path / "f.npz", code=1)
    command = ("features", videos, "--model", model, "--output=s3://bucket/shared/f.npz")
    said = run(*command, "--shard_index=0", "--shard_count=2", code=0)
    assert "6 of 11 parts are made; 5 are missing." in said
    first = stored(s3, "shared/")
    assert len(first) == 7, "a plan and parts"
    said = run(*command, "--finish", code=1)
    assert "s3://bucket/shared/f.npz.parts lacks 5 of its 11 parts: 1, 3, 5, 7, 9." in said
    said = run(*command, "--layer=conv4_1_relu1", code=1)
    assert "s3://bucket/shared/f.npz.parts was begun with something else, and is left" in said
    last = sorted(first)[-2]  # the plan is behind it
    s3.delete_object(Bucket="bucket", Key=f"shared/{last}")
    run(*command, code=1)  # which also makes what is missing
    assert stored(s3, "shared/") == {"f.npz": (tmp_path / "f.npz").read_bytes()}


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """Seven videos of noise, which makes several shards of a MB, and one that is broken."""
    root, random = tmp_path_factory.mktemp("noise"), np.random.default_rng(1)
    for number in range(7):
        write_noise(root / "ab"[number % 2] / f"{number}.avi", 8, random)
    (root / "a" / "broken.mp4").write_bytes(b"none")
    return root


def test_a_clip_store_is_that_of_a_folder(s3, noise, tmp_path):
    words = ("prepare", noise, "--levels=240,160", "--shard_gib=0.001")
    run(*words, "--output", tmp_path / "store", code=0)
    wanted = content(tmp_path / "store")
    there = (*words, "--output=s3://bucket/stores/one")
    assert "a shard at a time lies in /" in run(*there, code=0)
    assert stored(s3, "stores/one/") == wanted
    said = run(*there, code=1)
    assert "s3://bucket/stores/one holds a store already, which is left as it is" in said
    said = run("prepare", "--verify=s3://bucket/stores/one", code=0)
    assert "7 videos" in said
    assert "0 damaged" in said

    shared = (*words, "--output=s3://bucket/stores/two")
    assert " are missing." in run(*shared, "--shard_index=1", "--shard_count=2", code=0)
    half = stored(s3, "stores/two/")
    shards = sorted(name for name in half if name.startswith("shards/"))
    assert shards == [f"shards/{number:05d}.jpegs" for number in range(1, 2 * len(shards), 2)]
    assert "store.json" not in half
    said = run(*shared, "--finish", code=1)
    assert "s3://bucket/stores/two lacks" in said
    s3.delete_object(Bucket="bucket", Key=f"stores/two/{shards[0]}")  # a part whose shard is gone
    before = changed(s3, "stores/two/shards/")
    run(*shared, code=0)
    assert before.items() <= changed(s3, "stores/two/shards/").items(), "what is there stays"
    assert stored(s3, "stores/two/") == wanted
    s3.put_object(Bucket="bucket", Key="mine/notes.txt", Body=b"mine")
    said = run(*words, "--output=s3://bucket/mine", code=1)
    assert "s3://bucket/mine is not empty and is left as it is" in said
    assert stored(s3, "mine/") == {"notes.txt": b"mine"}


def test_flow_is_that_of_a_folder(s3, noise, tmp_path):
    words = ("flow", noise, "--input=dis", "--short_side=120")
    run(*words, "--output", tmp_path / "flow", code=1)
    wanted = content(tmp_path / "flow")
    there = (*words, "--output=s3://bucket/flow")
    assert "Written: s3://bucket/flow: flow by dis" in run(*there, code=1)
    found = stored(s3, "flow/")
    assert found.keys() == wanted.keys()
    for name, body in found.items():
        if name.endswith(".avi"):  # Matroska has a random number
            (tmp_path / "there.mkv").write_bytes(body)
            films = [StoredFlow(str(tmp_path / place)) for place in ("there.mkv", f"flow/{name}")]
            frames = [[frame for _, frame in film.frames(film.index())] for film in films]
            assert np.array_equal(*map(np.stack, frames))
        else:
            assert body == wanted[name], name
    before = changed(s3, "flow/a/")
    s3.delete_object(Bucket="bucket", Key="flow/b/1.avi")
    run(*there, code=1)
    after = changed(s3, "flow/a/")
    assert {name for name in after if after[name] != before[name]} == {"flow/a/broken.mp4"}
    assert stored(s3, "flow/").keys() == wanted.keys()


def test_a_run_is_trained_and_used_there(s3, tmp_path):
    videos, test = tmp_path / "videos", tmp_path / "videos" / "test"
    write_classes(videos / "train", 6)
    write_classes(test, 2)
    words = (videos, "--recipe=demo", "--deterministic", "--workdir", "s3://bucket/runs/one")
    for change in ("train.epochs=3", "clips.size=32", "clips.frames=8", "model.width=0.0625"):
        words += ("--set", change)
    command = [sys.executable, "-m", "keras_r3d.train", *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        next(line for line in process.stdout if line.startswith("Epoch 1/3"))
        process.terminate()
        process.stdout.read()
    assert process.returncode == 75
    assert any(name.startswith("state/step_") for name in stored(s3, "runs/one/"))
    said = run("train", *words, code=0)
    assert "Resuming after epoch " in said
    assert "Run folder: s3://bucket/runs/one " in said
    folder = ("--workdir", tmp_path / "run")
    run("train", *words[:3], *folder, *words[5:], code=0)
    there, here = stored(s3, "runs/one/"), content(tmp_path / "run")
    several = ("tensorboard/", "state/step_")  # as many as there were starts and interrupts
    names = [{x for x in found if not x.startswith(several)} for found in (there, here)]
    assert names[0] == names[1]
    assert b"/tmp/keras_r3d-" not in b"".join(there.values())
    last = max(name for name in here if name.startswith("state/step_"))
    arrays = [dict(np.load(io.BytesIO(found[last]))) for found in (there, here)]
    del arrays[0]["about.json"]  # has times
    assert all(np.array_equal(array, arrays[1][name]) for name, array in arrays[0].items())

    said = run("evaluate", "--model=s3://bucket/runs/one", "--split=train", code=0)
    assert "Written into s3://bucket/runs/one/evaluations/train:" in said
    model = VideoClassifier("s3://bucket/runs/one/best.keras")
    assert repr(model).startswith("VideoClassifier(s3://bucket/runs/one/best.keras, ")
    scores = model.predict(test / "red" / "0.avi").scores
    other = VideoClassifier(tmp_path / "run").predict(test / "red" / "0.avi").scores
    assert np.array_equal(scores, other)
    for _ in range(2):
        run("export", "--model=s3://bucket/runs/one", "--format=saved_model", code=0)
    there = stored(s3, "runs/one/")
    assert "evaluations/train/report.html" in there
    exported = {name.split("/")[2] for name in there if name.startswith("export/one/")}
    assert exported == {"1", "2", "batching.config", "models.config", "serving.md"}
    assert "takes no --fresh" in run("train", *words[:5], "--fresh", code=1)
    said = run("evaluate", "--model=s3://bucket/gone", code=1)
    assert "--model s3://bucket/gone: there is nothing there" in said
    said = run("view", videos, "--output=s3://bucket/sheet.png", code=1)
    assert "--output must be a path, not a URL. Received: s3://bucket/sheet.png" in said
    said = run("convert", "m.keras", "s3://bucket/m.npz", code=1)
    assert "DESTINATION must be a path, not a URL. Received: s3://bucket/m.npz" in said
    first, second = "s3://bucket/runs/one/evaluations/train", "s3://bucket/two"
    said = run("evaluate", "--compare", first, second, code=1)
    assert "--compare s3://bucket/two/evaluation.json: there is nothing there" in said
    body = there["evaluations/train/evaluation.json"]
    s3.put_object(Bucket="bucket", Key="two/evaluation.json", Body=body)
    said = run("evaluate", "--compare", first, second, code=0)
    assert f"Written into {first}/evaluations/compared-with-two_" in said
    run("evaluate", "--compare", first, second, "--output=s3://bucket/compared", code=0)
    assert stored(s3, "compared/").keys() == {"comparison.json", "report.html"}


def test_a_folder_is_mirrored_while_it_changes(s3, monkeypatch):
    monkeypatch.setattr(outputs, "_MIRROR_SECONDS", 0.05)
    s3.put_object(Bucket="bucket", Key="mirror/before.txt", Body=b"before")
    folder = outputs.local("s3://bucket/mirror")

    def wait_for(names):
        while changed(s3, "mirror/").keys() != {f"mirror/{name}" for name in names}:
            time.sleep(0.05)

    with outputs.mirrored(folder):
        assert content(folder) == {"before.txt": b"before"}
        (folder / "a").mkdir()
        (folder / "a" / "new.txt").write_text("new")
        (folder / ".partial-1-x.txt").write_text("half")
        wait_for({"before.txt", "a/new.txt"})
        (folder / "before.txt").unlink()
        wait_for({"a/new.txt"})
        (folder / "a" / "new.txt").write_text("newer")
    assert stored(s3, "mirror/") == {"a/new.txt": b"newer"}

    bucketless = outputs.mirrored(outputs.local("s3://no/run"))
    with pytest.raises(WriteError, match=r"^s3://no/run: there is no such bucket"), bucketless:
        pytest.fail("hours of work begin")

    def refuse(*_):
        raise WriteError("s3://bucket/mirror could not be used: no answer.")

    monkeypatch.setattr(outputs, "_MIRROR_SECONDS", 1000)
    monkeypatch.setattr(outputs, "_put", refuse)
    monkeypatch.setattr(text, "shown_as", dict(text.shown_as))
    with pytest.raises(WriteError) as raised, outputs.mirrored(folder):
        (folder / "last.txt").write_text("kept")
    kept = f"no answer. The files are kept in {folder}: copy them to s3://bucket/mirror, then run "
    assert kept in str(raised.value)
    assert (folder / "last.txt").read_text() == "kept"


def changed(s3, prefix: str) -> dict[str, object]:
    """Returns when each file was written."""
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", ())
    return {row["Key"]: row["LastModified"] for row in found}


def test_a_large_file_is_put_in_pieces_that_may_fail(s3, tmp_path):
    path = outputs.local("s3://bucket/large/file")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(np.random.default_rng(1).bytes(220 * 2**20))
    refused = len(Failing.refused)
    while len(Failing.refused) == refused:  # of each twenty requests one is refused
        outputs.publish([path])
        body = s3.get_object(Bucket="bucket", Key="large/file")["Body"].read()
        assert body == path.read_bytes()
    outputs.release(path)
    assert not path.exists()


def test_only_missing_parts_are_made_again(s3, videos):
    command = ("scan", videos, "--json=s3://bucket/again/s.json")
    run(*command, "--shard_index=0", "--shard_count=2", code=0)
    before = changed(s3, "again/")
    run(*command, "--shard_index=0", "--shard_count=2", code=0)
    run(*command, "--shard_index=1", "--shard_count=2", code=0)
    after = changed(s3, "again/")
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert "Written: s3://bucket/again/s.json" in run(*command, "--finish", code=1)
    assert [*stored(s3, "again/")] == ["s.json"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://none/f.npz", r"s3://none/.*: there is no such bucket: make it, then run again"),
        ("ftp://host/f.npz", r"`output` must be a path, or s3://BUCKET/NAME or gs://BUCKET/NAME"),
        ("s3://f.npz", r"`output` must be a path, or s3://BUCKET/NAME"),
        (f"s3://key:{SECRET}@bucket/f.npz", r"without a password. Received: s3://bucket/f.npz"),
    ],
)
def test_where_nothing_can_be_written(s3, url, message):
    def write():
        path = outputs.local(url)
        path.write_text("some")
        outputs.publish([path])

    with pytest.raises(R3DError, match=message) as raised:
        write()
    assert SECRET not in str(raised.value)
    assert "/tmp/" not in str(raised.value)


def test_without_what_writes_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    outputs._system.cache_clear()
    with pytest.raises(ArgumentError, match=r"`csv`: what writes gs:// is not .*fsspec gcsfs`"):
        outputs.local("gs://bucket/some.csv", "csv")


def test_a_disk_here_that_is_full_is_named(s3, monkeypatch):
    s3.put_object(Bucket="bucket", Key="full/run/a", Body=b"some")
    full = OSError(errno.ENOSPC, "No space left on device")

    def write_bytes(*_):
        raise full

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    folder, here = outputs.local("s3://bucket/full/run"), re.escape(tempfile.gettempdir())
    with pytest.raises(WriteError, match=rf"^s3://bucket/full/run .* to {here} \(No space"):
        outputs.fetch(folder)
    assert re.match(rf"Could not write {here} \(No space", explain(folder / "b", full))


def test_missing_credentials_are_no_matter_of_the_network(s3, videos, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    for words in (["s3://bucket/none"], [videos, "--json=s3://bucket/none.json"]):
        said = run("scan", *words, code=1)
        assert "Unable to locate credentials" in said
        assert "Check the credentials of this machine" in said
        assert "Asked" not in said


def test_what_is_not_there_is_named_by_its_flag(s3, videos):
    gone = "s3://bucket/gone"
    said = run("features", "--output=n.npz", "--neighbors=1", f"--gallery={gone}.npz", code=1)
    assert f"--gallery {gone}.npz: there is nothing there" in said
    said = run("train", videos, "--recipe=few", f"--weights={gone}.keras", code=1)
    assert f"--weights {gone}.keras: there is nothing there" in said
    said = run("convert", f"{gone}.pth", "n.keras", code=1)
    assert f"SOURCE {gone}.pth: there is nothing there" in said


def test_a_server_that_only_fails_is_said(s3, monkeypatch):
    from keras_r3d.system import retrying

    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(Failing, "count", itertools.repeat(FAILS))
    path = outputs.local("s3://bucket/down/f.npz")
    with pytest.raises(R3DError, match=r"s3://bucket/down/f.npz could not .*Asked 6 times"):
        outputs.exists(path)
