"""Commands on a real Ray cluster: three raylets on this machine's loopback. `make test-cluster`."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_noise
from prepared import content

import keras_r3d
from keras_r3d import applications, data
from keras_r3d.system import cluster
from keras_r3d.system.errors import ArgumentError, R3DError

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def ray_cluster():
    """Three machines of one CPU; Ray takes the machine's own address unless it is told."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    # With its own niceness other work leaves it no time.
    os.environ |= {"PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0"}
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    made = cluster_utils.Cluster()
    for _ in range(3):
        made.add_node(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Sixty videos of noise, which makes large frames, two of them broken."""
    root, random = tmp_path_factory.mktemp("videos"), np.random.default_rng(1)
    for number in range(60):
        write_noise(root / "ab"[number % 2] / f"{number:02d}.avi", 6 + number % 5, random)
    for number in (7, 30):
        (root / "ab"[number % 2] / f"{number:02d}.avi").write_bytes(b"no video")
    return root


def start(command: str, *words: object) -> subprocess.Popen:
    arguments = [sys.executable, "-m", f"keras_r3d.{command}", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # As a user calls it, with an address of loopback.
    ours = {k: v for k, v in os.environ.items() if k != "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    return subprocess.Popen(arguments, cwd=ROOT, env=ours, **pipes)


def run(command: str, *words: object, code: int = 0) -> str:
    process = start(command, *words)
    said = process.communicate()[0]
    assert process.returncode == code, said
    return said


def prepare(videos: Path, store: Path) -> tuple[object, ...]:
    return (videos, "--output", store, "--levels=240,160", "--shard_gib=0.001")


def test_nothing_listens_beyond_loopback(ray_cluster):
    numbers = {str(pid) for node in ray_cluster.list_all_nodes() for pid in processes(node)}
    sockets = {
        os.readlink(link)
        for number in numbers
        for link in Path("/proc", number, "fd").iterdir()
        if link.is_symlink() and os.path.lexists(link)
    }
    listening = [
        row.split()
        for name in ("tcp", "tcp6")
        for row in Path("/proc/net", name).read_text().splitlines()[1:]
        if row.split()[3] == "0A" and f"socket:[{row.split()[9]}]" in sockets
    ]
    loopback = ("0100007F:", "0000000000000000FFFF00000100007F:", "0" * 24 + "01000000:")
    assert listening
    assert [row[1] for row in listening if not row[1].startswith(loopback)] == []


def processes(node) -> list[int]:
    return [info.process.pid for some in node.all_processes.values() for info in some]


def test_scan_and_features_are_those_of_one_machine(ray_cluster, videos, tmp_path):
    address = ("--cluster", ray_cluster.address)
    run("scan", videos, "--json", tmp_path / "one.json", code=1)
    said = run("scan", videos, "--json", tmp_path / "many.json", *address, code=1)
    assert "3 machines, 3 shares of 1 CPUs at a time." in said
    assert re.search(r"^60 of 60 videos, .*/s, 0 s left$", said, re.MULTILINE), said
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "many.json").read_bytes()
    network = applications.R3D10(width=0.0625, classes=2, input_shape=(4, 32, 32, 3))
    network.save(tmp_path / "m.keras")
    given = (videos, "--model", tmp_path / "m.keras", "--output")
    run("features", *given, tmp_path / "one.npz", code=1)
    said = run("features", *given, tmp_path / "many.npz", *address, code=1)
    assert "2 videos without embedding" in said
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "many.npz").read_bytes()


def test_a_raylet_that_is_killed_costs_its_parts_only(ray_cluster, videos, tmp_path):
    run("prepare", *prepare(videos, tmp_path / "one"))
    victim = ray_cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    store = tmp_path / "many"
    process = start("prepare", *prepare(videos, store), "--cluster", ray_cluster.address)
    parts = wait_for_parts(process, store, 2)
    share = stop_within_a_part(process, victim, store)
    worker = int(status(Path(f"/proc/{share}/stat"))[1])
    stop(worker)  # so that it says nothing of it before the machine is gone
    os.kill(share, signal.SIGKILL)
    ray_cluster.remove_node(victim, allow_graceful=False)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    made = {path: path.stat().st_mtime_ns for path in parts}
    last = {path: path.stat().st_mtime_ns for path in made if path.exists()}
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "4 machines, 4 shares of 1 CPUs at a time." in said
    assert "1 times a share was started again; 1 parts were made again." in said
    assert re.search(r"^60 of 60 videos", said, re.MULTILINE), said
    assert last == made, "what was made is not made again"
    assert content(store) == content(tmp_path / "one")


def stop_within_a_part(process: subprocess.Popen, node, store: Path) -> int:
    """Stops a share of a machine between the begin and the end of a part; returns its process."""
    while True:
        for pid, share in shares(node).items():
            stop(pid)
            if any(store.glob(f".partial-{share}/*.begun")):
                return pid
            os.kill(pid, signal.SIGCONT)
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def shares(*nodes) -> dict[int, str]:
    """Returns the processes below those of machines that make shares, with the shares."""
    below, found = {pid for node in nodes for pid in processes(node)}, {}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):  # it has ended
            pid = int(path.name)
            if int(status(path / "stat")[1]) in below:
                below.add(pid)
                last = (path / "cmdline").read_text().rstrip("\0").rpartition("\0")[2]
                found |= {pid: last} if re.fullmatch(r"\d+-of-\d+", last) else {}
    return found


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    while {status(path)[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")} - {"T", "Z"}:
        time.sleep(0.001)


def status(path: Path) -> list[str]:
    """Returns the state of a process or thread, and its parent."""
    return path.read_text().rpartition(") ")[2].split()[:2]


def test_calls_from_python_are_those_of_one_machine(ray_cluster, videos, tmp_path):
    address = ray_cluster.address
    shape = {"input_shape": (4, 32, 32, 3), "classes": 2, "labels": ["a", "b"]}
    network = applications.R3D10(width=0.0625, **shape)
    model = keras_r3d.VideoClassifier(network, clips=data.Clips(frames=4, size=32))  # in memory
    for name, more in (("one", {}), ("many", {"cluster": address})):
        list(model.predict(str(videos), json=str(tmp_path / f"{name}.json"), **more))
        place = tmp_path / f"{name}.e"
        evaluation = model.evaluate(videos, split="train", output=place, **more)
        evaluation.save(place)
        data.prepare_store(videos, tmp_path / name, levels="240", shard_gib=0.001, **more)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "many.json").read_bytes()
    records = [tmp_path / f"{name}.e" / "evaluation.json" for name in ("one", "many")]
    one, many = (json.loads(path.read_text())["records"] for path in records)
    assert one == many
    assert content(tmp_path / "many") == content(tmp_path / "one")
    with pytest.raises(ArgumentError, match="`cluster` stands alone: pass no `shard_index`"):
        data.scan(videos, json=str(tmp_path / "s.json"), cluster=address, finish=True)
    with pytest.raises(ArgumentError, match=r"cannot be sent to other machines .*pass names"):
        model.predict((str(path) for path in [videos]), json="s.json", cluster=address)
    with pytest.raises(R3DError, match=r"failed 3 times:(.|\n)*`csv` is missing"):
        data.scan(videos, cluster=address)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75)])
def test_after_a_kill_of_the_driver_only_missing_parts_are_made(
    ray_cluster, videos, tmp_path, number, code
):
    run("prepare", *prepare(videos, tmp_path / "one"))
    store = tmp_path / "many"
    command = (*prepare(videos, store), "--cluster", ray_cluster.address)
    process = start("prepare", *command)
    wait_for_parts(process, store, 3)
    process.send_signal(number)
    said = process.communicate()[0]
    assert process.returncode == code, said
    assert "PC: @" not in said, "Ray's own trace of the signal"
    while shares(*ray_cluster.list_all_nodes()):  # Ray ends them
        time.sleep(0.05)
    made = {path: path.stat().st_mtime_ns for path in finished(store)}
    assert len(made) >= 3
    run("prepare", *command)
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert content(store) == content(tmp_path / "one")


def wait_for_parts(process: subprocess.Popen, store: Path, count: int) -> list[Path]:
    while len(found := finished(store)) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return found


def finished(store: Path) -> list[Path]:
    """Returns the shards whose parts are made."""
    return [store / "shards" / f"{x.stem}.jpegs" for x in (store / "parts").glob("*.npz")]


@pytest.fixture
def connected(ray_cluster):
    ray = cluster._connect(ray_cluster.address)
    yield ray
    ray.shutdown()


def test_machines_that_are_not_fit_are_said_before_work_begins(connected, tmp_path, monkeypatch):
    nodes = [node for node in connected.nodes() if node["Alive"]]
    assert cluster._check(connected, nodes, [str(tmp_path)]) == nodes
    with pytest.raises(R3DError, match=r"127\.0\.0\.1 does not see /gone: each machine"):
        cluster._check(connected, nodes, ["/gone"])
    monkeypatch.setattr(cluster, "__version__", "9.9")
    with pytest.raises(R3DError, match=r"another keras_r3d than the 9\.9 here: 0\.1"):
        cluster._check(connected, nodes, [])


def test_a_machine_that_has_just_gone_is_left_out(ray_cluster, connected, capsys):
    victim = ray_cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    nodes = [node for node in connected.nodes() if node["Alive"]]
    gone = [node for node in nodes if node["NodeID"] == victim.node_id]
    ray_cluster.remove_node(victim, allow_graceful=False)
    left = cluster._check(connected, nodes, [])
    assert [node for node in nodes if node not in left] == gone != []
    assert "127.0.0.1 is gone, and left out.\n" in capsys.readouterr().out
    with pytest.raises(R3DError, match="No machine of the cluster is left"):
        cluster._check(connected, gone, [])


@pytest.mark.parametrize("text", ["raise ImportError('half installed')", "import no_such_package"])
def test_a_machine_whose_keras_r3d_is_broken_is_refused(ray_cluster, tmp_path, monkeypatch, text):
    (tmp_path / "keras_r3d").mkdir()
    (tmp_path / "keras_r3d" / "__init__.py").write_text(text)
    monkeypatch.chdir(tmp_path.parent)  # Ray's processes look in the driver's folder first
    broken = {"PYTHONPATH": str(tmp_path)}
    node = ray_cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", env_vars=broken)
    ray = cluster._connect(ray_cluster.address)
    try:
        nodes = [n for n in ray.nodes() if n["NodeID"] == node.node_id]
        with pytest.raises(
            R3DError, match=r"127\.0\.0\.1 has another .*none that can be used \("
        ) as e:
            cluster._check(ray, nodes, [])
        print(e.value)
    finally:
        ray.shutdown()
        ray_cluster.remove_node(node)


def test_a_share_that_fails_everywhere_is_named(ray_cluster, videos, tmp_path):
    given = (videos, "--model", tmp_path / "gone.keras", "--output", tmp_path / "f.npz")
    said = run("features", *given, "--cluster", ray_cluster.address, code=1)
    assert "Shares that failed 3 times:" in said
    assert "gone.keras" in said
    assert "run again to make what is missing" in said


def test_an_address_that_does_not_answer_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "nonsense"):
            with pytest.raises(ArgumentError, match="does not answer as a Ray cluster does"):
                cluster._connect(address)


def test_a_server_that_is_no_ray_is_said(videos, tmp_path):
    """One that takes connections and says nothing; Ray itself would try for ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        said = run("scan", videos, "--json", tmp_path / "s.json", "--cluster", address, code=1)
    assert f"Error: --cluster {address} does not answer as a Ray cluster does (nothing for" in said
    assert "Traceback" not in said


def test_another_ray_is_said(ray_cluster, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "__version__", "9.9")
    with pytest.raises(ArgumentError, match=r"Version mismatch: .* head of one with .* Ray 9\.9,"):
        cluster._connect(ray_cluster.address)
