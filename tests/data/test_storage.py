import concurrent.futures
import errno
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from range_server import RangeServer

from keras_r3d.data.store import storage
from keras_r3d.data.store.storage import Storage, is_url
from keras_r3d.system import files, retrying
from keras_r3d.system.errors import StoreError, UnreachableError
from keras_r3d.system.objects import remote

ROOT = Path(__file__).parents[2]
SHARD = np.random.default_rng(0).bytes(3_000_000)
FILES = {
    "store.json": '{"größe": 1}\n'.encode(),
    "index/clip.u32": np.arange(1000, dtype="<u4").tobytes(),
    "shards/00000.jpegs": SHARD,
    "a b+%.txt": b"a name",
    "latin1.txt": "Müll".encode("latin-1"),
    "empty": b"",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def patience(monkeypatch, tmp_path):
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "store"


@pytest.fixture
def server():
    with RangeServer({f"/store/{name}": content for name, content in FILES.items()}) as running:
        yield running


@pytest.fixture(params=["disk", "http"])
def store(request):
    if request.param == "disk":
        return Storage(request.getfixturevalue("folder"))
    return Storage(request.getfixturevalue("server").address + "/store")


# Both kinds ---------------------------------------------------------------------------------------


def test_reads_exact_ranges(store):
    assert store.read("shards/00000.jpegs", 1_234_567, 100_000) == SHARD[1_234_567:1_334_567]
    assert store.read("shards/00000.jpegs", 0, 5) == SHARD[:5]
    assert store.read("shards/00000.jpegs", 2_999_999, 1) == SHARD[-1:]
    assert store.read("shards/00000.jpegs", 10, 0) == b""
    assert np.frombuffer(store.read("index/clip.u32", 40, 8), "<u4").tolist() == [10, 11]


def test_knows_what_is_there(store):
    assert store.exists("store.json")
    assert store.exists("empty")
    assert not store.exists("stor.json")
    assert not store.exists("store.json/x")
    assert store.size("shards/00000.jpegs") == 3_000_000
    assert store.size("empty") == 0
    assert store.read("empty", 0, 0) == b""


def test_reads_text(store):
    assert store.text("store.json") == '{"größe": 1}\n'
    assert store.text("a b+%.txt") == "a name"
    assert store.text("empty") == ""
    with pytest.raises(StoreError, match=r"latin1\.txt is not UTF-8 text \(byte 1 is 0xfc\)"):
        store.text("latin1.txt")


def test_a_range_behind_the_end(store):
    said = r"00000\.jpegs ends at byte 3,000,000; bytes {} were asked for: is the file cut short\?"
    with pytest.raises(StoreError, match=said.format("2,999,990 to 3,000,010")):
        store.read("shards/00000.jpegs", 2_999_990, 20)
    with pytest.raises(StoreError, match=said.format("4,000,000 to 4,000,001")):
        store.read("shards/00000.jpegs", 4_000_000, 1)


def test_a_missing_file(store):
    for ask in (store.size, store.text, lambda name: store.read(name, 0, 1)):
        with pytest.raises(StoreError, match=r"no\.json.*is the store there, and complete\?"):
            ask("no.json")
    with pytest.raises(StoreError, match=r"no\.json.*is the store there, and complete\?"):
        store.local_copy("no.json", 3, sha256(b"abc"))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "", "."])
def test_names_stay_inside_the_folder(store, name):
    with pytest.raises(StoreError, match="is not the name of a file inside a store"):
        store.read(name, 0, 1)
    with pytest.raises(StoreError, match="is not the name of a file inside a store"):
        store.exists(name)


def test_local_copy_of_another_size(store):
    said = r"store\.json has 15 bytes, 16 were expected: is it of another store"
    with pytest.raises(StoreError, match=said):
        store.local_copy("store.json", 16, sha256(FILES["store.json"]))


def test_reads_from_many_threads(store):
    def read(seed: int) -> bool:
        start = int(np.random.default_rng(seed).integers(0, 2_900_000))
        return store.read("shards/00000.jpegs", start, 80_000) == SHARD[start : start + 80_000]

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(read, range(300)))


def test_reads_inside_a_tf_data_pipeline(store):
    import tensorflow as tf

    def read(start):
        return np.frombuffer(store.read("shards/00000.jpegs", int(start), 50_000), np.uint8)

    clips = tf.data.Dataset.range(0, 1_000_000, 20_000).map(
        lambda start: tf.numpy_function(read, [start], tf.uint8), num_parallel_calls=8
    )
    for start, clip in zip(range(0, 1_000_000, 20_000), clips, strict=True):
        assert clip.numpy().tobytes() == SHARD[start : start + 50_000]


# Opening ------------------------------------------------------------------------------------------


def test_storage_tells_folders_from_urls(folder, server):
    local = Storage(f"{folder}/")
    assert (local.root, local.remote) == (str(folder), False)
    far = Storage(f"{server.address}/store//")
    assert (far.root, far.remote) == (f"{server.address}/store", True)
    assert is_url("s3://bucket/x")
    assert is_url("ftp://host/x")
    assert not is_url("/data/x")
    assert server.requests == []


def test_an_unknown_scheme():
    with pytest.raises(StoreError, match=r"ftp:// is unknown; .* s3://, gs://, .*https://\."):
        Storage("ftp://host/store")


@pytest.mark.parametrize("root", ["http:///store", "https://me:secret@host/store"])
def test_a_url_without_host_or_with_a_password(root):
    with pytest.raises(StoreError, match="with a host, and without a user's name") as raised:
        Storage(root)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("root", ["s3://", "s3:///store"])
def test_a_url_without_a_bucket(root):
    with pytest.raises(StoreError, match=r"the bucket is missing, as in s3://bucket/folder"):
        Storage(root)


@pytest.fixture
def _no_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setenv("GCS_READAHEAD_BUFFER_SIZE_BYTES", "0")


@pytest.mark.parametrize("scheme", ["s3", "az", "hdfs"])
@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.usefixtures("_no_fsspec")
def test_without_what_reads_a_scheme(monkeypatch, scheme, installed):
    import tensorflow as tf

    # One that does not fit TensorFlow registers nothing.
    monkeypatch.setitem(sys.modules, "tensorflow_io", tf if installed else None)
    monkeypatch.setattr(tf.io.gfile, "get_registered_schemes", lambda: ["file", "gs"])
    package = {"s3": "s3fs", "az": "adlfs", "hdfs": "pyarrow"}[scheme]
    with pytest.raises(StoreError, match=rf"{scheme}://b/x: .*`pip install fsspec {package}`, or"):
        Storage(f"{scheme}://b/x")


@pytest.mark.usefixtures("_no_fsspec")
def test_google_storage_must_not_read_ahead(monkeypatch):
    assert Storage("gs://bucket/store/").root == "gs://bucket/store"
    monkeypatch.delenv("GCS_READAHEAD_BUFFER_SIZE_BYTES")
    with pytest.raises(StoreError, match="set GCS_READAHEAD_BUFFER_SIZE_BYTES=0 in the shell"):
        Storage("gs://bucket/store")


@pytest.mark.usefixtures("_no_fsspec")
def test_what_tensorflow_reads(folder, monkeypatch):
    """No server speaks gs:// here: the same calls, on files of the disk."""
    store = Storage("gs://bucket/store")
    monkeypatch.setattr(store, "place", lambda name: str(folder / name))
    assert store.read("shards/00000.jpegs", 1_234_567, 100_000) == SHARD[1_234_567:1_334_567]
    assert store.text("store.json") == '{"größe": 1}\n'
    assert not store.exists("no.json")
    assert not store.exists("index")
    with pytest.raises(StoreError, match=r"no\.json: there is no such file"):
        store.size("no.json")
    with pytest.raises(StoreError, match="ends at byte 15"):
        store.read("store.json", 10, 10)


@pytest.mark.parametrize(
    ("error", "said", "count"),
    [
        ("UnavailableError", r"could not be read: why not \(Asked 5 times", 5),
        ("PermissionDeniedError", r"the server refuses to give it \(why not\)", 1),
        (None, r"could not be read: why not \(Asked 5 times", 5),
    ],
)
@pytest.mark.usefixtures("_no_fsspec")
def test_errors_of_tensorflow_become_sentences(monkeypatch, error, said, count):
    import tensorflow as tf

    asked = []

    def fail(url):
        asked.append(url)
        if error is None:
            raise RuntimeError("why not")  # what becomes of a C++ exception
        raise getattr(tf.errors, error)(None, None, "why\n\tnot.")

    monkeypatch.setattr(tf.io.gfile, "stat", fail)
    with pytest.raises(UnreachableError, match=said):
        Storage("gs://bucket/store").exists("store.json")
    assert asked == ["gs://bucket/store/store.json"] * count


# The disk -----------------------------------------------------------------------------------------


def test_local_copy_on_the_disk_is_the_file(folder):
    path = Storage(folder).local_copy("index/clip.u32", 4000, "not looked at")
    assert path == folder / "index" / "clip.u32"


def test_few_files_stay_open(folder, monkeypatch):
    monkeypatch.setattr(storage, "OPEN_FILES", 3)
    for number in range(20):
        (folder / f"{number}.txt").write_text(str(number))
    local = Storage(folder)

    def opened() -> list[str]:
        places = Path("/proc/self/fd").iterdir()
        return [x for x in map(os.path.realpath, places) if x.startswith(str(folder.resolve()))]

    for _ in range(2):
        for number in range(20):
            assert local.read(f"{number}.txt", 0, 1) == str(number)[:1].encode()
    assert len(opened()) == 3

    def read(number: int) -> bool:
        return local.read(f"{number % 20}.txt", 0, 1) == str(number % 20)[:1].encode()

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(read, range(2000)))
    assert len(opened()) == 3


def test_a_disk_that_fails(folder, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    local = Storage(folder)
    with pytest.raises(StoreError, match=r"Could not read .*xxx \(File name too long\)"):
        local.exists("x" * 300)
    with pytest.raises(StoreError, match="there is no such file"):
        Storage(folder.parent).read("store", 0, 1)
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(StoreError, match=r"Could not read .*store\.json \(Input/output error\)"):
        local.read("store.json", 0, 1)


# The web ------------------------------------------------------------------------------------------


def test_a_range_is_one_request_of_its_size(server):
    web_store = Storage(server.address + "/store")
    web_store.size("shards/00000.jpegs")
    web_store.read("shards/00000.jpegs", 1_000_000, 100_000)
    web_store.read("shards/00000.jpegs", 2_000_000, 100_000)
    asked = [(one.method, one.range, one.status, one.sent) for one in server.requests]
    assert asked == [
        ("GET", "bytes=0-0", 206, 1),
        ("GET", "bytes=1000000-1099999", 206, 100_000),
        ("GET", "bytes=2000000-2099999", 206, 100_000),
    ]
    assert server.connections == 1


def test_threads_share_connections(server):
    server.latency_seconds = 0.005
    web_store = Storage(server.address + "/store")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: web_store.read("shards/00000.jpegs", at, 1000), range(200)))
    assert server.connections <= 8


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, "cut"])
def test_what_may_pass_is_tried_again(server, fault):
    web_store = Storage(server.address + "/store")
    web_store.size("store.json")
    server.requests.clear()
    server.faults = [fault, fault]
    assert web_store.read("store.json", 3, 5) == FILES["store.json"][3:8]
    assert len(server.requests) == 3
    assert server.faults == []
    server.requests.clear()
    server.always = fault
    with pytest.raises(UnreachableError, match=r"store\.json could not be read: .*Asked 5 times"):
        web_store.read("store.json", 3, 5)
    assert len(server.requests) == 1 + remote.RETRIES == 5


@pytest.mark.parametrize("fault", [401, 403])
def test_a_refusal_is_final_and_not_a_missing_file(server, fault):
    server.always = fault
    web_store = Storage(server.address + "/store")
    for ask in (web_store.exists, web_store.size, web_store.text):
        with pytest.raises(
            UnreachableError, match=rf"store\.json: .*refuses to give it \({fault} .*cre"
        ):
            ask("store.json")
    assert len(server.requests) == 3


def test_existence_is_not_guessed(server):
    web_store = Storage(server.address + "/store")
    server.always = 500
    with pytest.raises(UnreachableError, match="the server answered 500 Internal Server Error"):
        web_store.exists("store.json")
    server.always = None
    server.faults = [500, 503]
    assert web_store.exists("store.json")
    assert not web_store.exists("no.json")


def test_a_silent_server_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.1)
    server.always = "silence"
    with pytest.raises(
        UnreachableError, match=r"no answer in .* s \(Asked 5 times\.\) Check the ad"
    ):
        Storage(server.address + "/store").exists("store.json")


def test_a_slow_server_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(remote, "SLOWEST_BYTES_PER_SECOND", 10**9)
    web_store = Storage(server.address + "/store")
    web_store.size("shards/00000.jpegs")
    server.always = "slow"
    with pytest.raises(UnreachableError, match="the answer comes too slowly"):
        web_store.read("shards/00000.jpegs", 0, 2_000_000)


def test_no_server_at_all():
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9/x could.* refused"):
        Storage("http://127.0.0.1:9").exists("x")
    with pytest.raises(UnreachableError, match=r"//nowhere\.invalid/x.* there is no such host"):
        Storage("http://nowhere.invalid").exists("x")


def test_what_is_not_http():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(b"\0\0\x18\4\0\0\0\0\0" * 4)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(UnreachableError, match="it does not speak HTTP"):
            Storage(address).exists("x")


def test_the_wait_for_a_dead_server_stays_below_a_minute():
    seconds = remote.SILENCE_SECONDS + 100_000 / remote.SLOWEST_BYTES_PER_SECOND
    assert (1 + remote.RETRIES) * seconds < 60  # of all requests, and the pauses between them


def test_a_server_that_closes_idle_connections(server):
    web_store = Storage(server.address + "/store")
    web_store.size("store.json")
    server.hang_up()
    assert web_store.read("store.json", 0, 4) == b'{"gr'
    assert len(server.requests) == server.connections == 2


def test_a_child_process_has_connections_of_its_own(server):
    web_store = Storage(server.address + "/store")
    web_store.size("store.json")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(web_store.read("store.json", 0, 4) != b'{"gr')
        finally:
            os._exit(code)  # whatever happens: it is pytest's process, too
    assert os.waitpid(child, 0)[1] == 0
    assert web_store.read("store.json", 0, 4) == b'{"gr'
    assert server.connections == 2


def test_a_server_without_ranges(server):
    server.always = "whole"
    with pytest.raises(StoreError, match=r"sends the whole file where a range.*200, not 206"):
        Storage(server.address + "/store").text("store.json")


def test_redirects_are_followed(server):
    web_store = Storage(server.address + "/store")
    server.faults = ["elsewhere", None, "elsewhere"]
    assert web_store.read("a b+%.txt", 0, 6) == b"a name"
    assert server.requests[-1].path == "/moved/store/a%20b%2B%25.txt"
    server.always = "elsewhere"
    with pytest.raises(StoreError, match="the server answered 302 Found"):
        web_store.read("store.json", 0, 6)


def test_a_signature_is_sent_and_not_shown(server):
    web_store = Storage(server.address + "/store?sig=secret")
    assert web_store.text("a b+%.txt") == "a name"
    assert server.requests[0].path == "/store/a%20b%2B%25.txt?sig=secret"
    with pytest.raises(StoreError) as raised:
        web_store.text("no.txt")
    assert "secret" not in str(raised.value)


def test_a_proxy(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    assert Storage("http://store.invalid/store").text("a b+%.txt") == "a name"
    assert server.requests[0].path == "http://store.invalid/store/a%20b%2B%25.txt"


# Copies -------------------------------------------------------------------------------------------


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_local_copy_is_made_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PIECE_BYTES", 1000)
    content = FILES["index/clip.u32"]
    web_store = Storage(server.address + "/store")
    path = web_store.local_copy("index/clip.u32", 4000, sha256(content))
    assert np.memmap(path, "<u4", "r").tolist() == list(range(1000))
    assert cached(tmp_path) == [path]
    assert [one.sent for one in server.requests] == [1, 1000, 1000, 1000, 1000]
    assert (
        Storage(server.address + "/store").local_copy("index/clip.u32", 4000, sha256(content))
        == path
    )
    assert len(server.requests) == 5
    other = Storage(server.address + "/store?x=1").root
    assert other == web_store.root


def test_local_copies_from_many_threads(server, tmp_path):
    web_store = Storage(server.address + "/store")
    content = FILES["index/clip.u32"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        paths = set(
            pool.map(
                lambda _: web_store.local_copy("index/clip.u32", 4000, sha256(content)), range(32)
            )
        )
    assert cached(tmp_path) == list(paths)
    assert len(server.requests) == 2


def test_a_download_survives_faults_and_leaves_nothing_of_a_failure(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PIECE_BYTES", 1000)
    content = FILES["index/clip.u32"]
    web_store = Storage(server.address + "/store")
    web_store.size("index/clip.u32")
    for fault in (403, 500, "cut"):
        server.faults = [None, None, fault]
        server.always = fault
        with pytest.raises(UnreachableError):
            web_store.local_copy("index/clip.u32", 4000, sha256(content))
        assert cached(tmp_path) == []
    server.always = None
    server.faults = [503, "cut", 500]
    path = web_store.local_copy("index/clip.u32", 4000, sha256(content))
    assert path.read_bytes() == content


def test_local_copy_of_another_file(server, tmp_path):
    web_store = Storage(server.address + "/store")
    said = rf"SHA-256 begins with {sha256(FILES['index/clip.u32'])[:8]}, not 00000000"
    with pytest.raises(StoreError, match=said):
        web_store.local_copy("index/clip.u32", 4000, "0" * 64)
    assert cached(tmp_path) == []


def test_a_cut_copy_is_made_again(server):
    web_store = Storage(server.address + "/store")
    content = FILES["index/clip.u32"]
    path = web_store.local_copy("index/clip.u32", 4000, sha256(content))
    path.write_bytes(content[:100])
    assert web_store.local_copy("index/clip.u32", 4000, sha256(content)).read_bytes() == content


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "file"))
    web_store = Storage(server.address + "/store")
    with pytest.raises(files.WriteError, match="Could not write"):
        web_store.local_copy("index/clip.u32", 4000, sha256(FILES["index/clip.u32"]))


# S3 -----------------------------------------------------------------------------------------------

READERS = {
    "fsspec": ("s3fs", lambda: True),
    "TensorFlow": (
        "tensorflow_io",
        lambda: importlib.metadata.version("tensorflow").startswith("2.16."),
    ),
}


@pytest.fixture(params=["fsspec", pytest.param("TensorFlow", marks=pytest.mark.slow)])
def in_process(request, tmp_path):
    """Runs code that reads from an S3 in a process of its own, and returns what it gave as JSON.

    TensorFlow looks at the environment once, and aborts a process that ends.
    """
    package, fits = READERS[request.param]
    if importlib.util.find_spec(package) is None or not fits():
        pytest.skip(f"{package} is not installed, or does not fit TensorFlow")

    def run(code: str, address: str, **environment: str):
        setting = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "S3_"))},
            **{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"},
            **{"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"},
            **{"S3_ENDPOINT": address, "KERAS_R3D_CACHE": str(tmp_path / "cache")},
            **{"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)},
            **environment,
        }
        head = f"""
            import concurrent.futures, hashlib, json, os, sys
            import numpy as np
            if {request.param!r} == "TensorFlow":
                sys.modules["fsspec"] = None
            from keras_r3d.system.objects import remote
            from keras_r3d.data.store.storage import Storage
            from keras_r3d.system import retrying
            from keras_r3d.system.errors import R3DError

            retrying.FIRST_PAUSE_SECONDS = 0.01

            def raised(call, *arguments):
                try:
                    return f"no error, {{call(*arguments)}}"
                except R3DError as error:
                    return str(error)
        """
        end = "\nprint(json.dumps(found), flush=True)\nos._exit(0)"
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code) + end],
            env=setting,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    run.reader = request.param
    return run


@pytest.fixture(scope="module")
def s3():
    """A server that speaks S3's protocol, with the store in it; yields its address."""
    pytest.importorskip("moto")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="bucket")
    for name, content in FILES.items():
        client.put_object(Bucket="bucket", Key=f"sets/store/{name}", Body=content)
    return address  # its thread ends with the process; `stop` waits for kept connections


def test_s3_reads(s3, in_process, tmp_path):
    found = in_process(
        """
        store = Storage("s3://bucket/sets/store/")
        shard = store.read("shards/00000.jpegs", 0, 3_000_000)

        def right(start, size=80_000):
            return store.read("shards/00000.jpegs", start, size) == shard[start : start + size]

        starts = np.random.default_rng(0).integers(0, 2_900_000, 60).tolist()
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            threads = all(pool.map(right, starts))
        index = store.read("index/clip.u32", 0, 4000)
        digest = hashlib.sha256(index).hexdigest()
        found = {
            "root": store.root,
            "remote": store.remote,
            "shard": hashlib.sha256(shard).hexdigest(),
            "threads": threads,
            "exists": [store.exists(name) for name in ("store.json", "empty", "no.json", "index")],
            "texts": [store.text(name) for name in ("store.json", "a b+%.txt", "empty")],
            "sizes": [store.size("shards/00000.jpegs"), store.size("empty")],
            "short": raised(store.read, "shards/00000.jpegs", 2_999_990, 20),
            "missing": raised(store.read, "no.json", 0, 1),
            "damaged": raised(store.text, "latin1.txt"),
            "bucket": raised(Storage("s3://other/store").text, "store.json"),
            "copy": np.memmap(store.local_copy("index/clip.u32", 4000, digest), "<u4").tolist(),
            "wrong": raised(store.local_copy, "index/clip.u32", 4000, "0" * 64),
        }
        """,
        s3,
    )
    assert (found["root"], found["remote"]) == ("s3://bucket/sets/store", True)
    assert found["shard"] == sha256(SHARD)
    assert found["threads"]
    assert found["exists"] == [True, True, False, False]
    assert found["texts"] == ['{"größe": 1}\n', "a name", ""]
    assert found["sizes"] == [3_000_000, 0]
    assert "jpegs ends at byte 3,000,000; bytes 2,999,990 to 3,000,010 were" in found["short"]
    assert found["missing"].startswith("s3://bucket/sets/store/no.json: there is no such file")
    assert "latin1.txt is not UTF-8 text" in found["damaged"]
    assert "s3://other/store/store.json: there is no such file" in found["bucket"]
    assert found["copy"] == list(range(1000))
    assert "is not the file that was expected" in found["wrong"]
    assert [path.name for path in cached(tmp_path)] == [
        f"{sha256(FILES['index/clip.u32'])[:16]}-index-clip.u32"
    ]


def test_s3_that_fails(in_process):
    found = in_process(
        """
        from range_server import RangeServer

        remote.SILENCE_SECONDS = 0.3
        content = bytes(range(256)) * 1000
        with RangeServer({"/bucket/a": content}) as server:
            os.environ["S3_ENDPOINT"] = server.address
            store = Storage("s3://bucket")
            store.size("a")

            def answers(call, faults, always=None):
                server.requests.clear()
                server.faults, server.always = list(faults), always
                return raised(call), len(server.requests)

            def read():
                return store.read("a", 100_000, 80_000) == content[100_000:180_000]

            def exists():
                return Storage("s3://bucket").exists("a")

            found = {"read right": answers(read, [])}
            for fault in (403, 404, 429, 500, 503, "cut", "silence"):
                found[f"read {fault}"] = answers(read, [], fault)
                found[f"exists {fault}"] = answers(exists, [], fault)
            found["read again"] = answers(read, [500, "cut"])
            found["exists again"] = answers(exists, [500, 503])
        """,
        "set in the code",
        S3_REQUEST_TIMEOUT_MSEC="1000",
    )
    direct = in_process.reader == "fsspec"
    assert found["read right"][0] == "no error, True"
    assert found["read again"][0] == "no error, True"
    assert found["exists again"][0] == "no error, True"
    if direct:
        assert found["read right"][1] == 1
        assert found["read again"][1] == 3
    for fault in (429, 500, 503, "cut", "silence"):
        said, count = found[f"read {fault}"]
        assert "bucket/a could not be read: " in said, fault
        assert "(Asked 5 times.) Check the address and the network" in said
        assert count == (0 if fault == "silence" else 5) or not direct
    for fault in (429, 500, 503, "silence"):
        assert "could not be read" in found[f"exists {fault}"][0]
    refused = "bucket/a: the server refuses to give it"
    assert refused in found["read 403"][0]
    assert refused in found["exists 403"][0]
    assert "a: there is no such file" in found["read 404"][0]
    assert found["exists 404"][0] == "no error, False"
