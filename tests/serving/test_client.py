"""The client of TensorFlow Serving: what it sends, what it makes of answers, what it prints."""

import dataclasses
import inspect
import itertools
import json
import pickle
import re
import socket
import sys
import threading
import types
from pathlib import Path

import commands
import numpy as np
import predictions
import pytest
from conftest import write_video
from hypothesis import given
from hypothesis import strategies as st
from serving_model import CLASSES, FRAMES, SIZE, ServedModel, probabilities, write_model
from serving_server import RestServer

from keras_r3d import VideoClassifier, recipe
from keras_r3d import client as client_command
from keras_r3d.applications import Metadata
from keras_r3d.data.annotations import Video
from keras_r3d.inference.models.classifier import Classifier
from keras_r3d.inference.prediction import result_table
from keras_r3d.serving import messages, remote, server
from keras_r3d.system import retrying
from keras_r3d.system.errors import ArgumentError, R3DError, ServingError
from keras_r3d.system.retrying import PassingError, retry

MANNER = remote.Manner("serving_default", 95, 3, 30.0, 2, None)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ServedModel:
    return ServedModel(write_model(tmp_path_factory.mktemp("toy") / "3"))


@pytest.fixture
def rest(model):
    with RestServer(model) as running:
        yield running


@pytest.fixture
def rpc(model):
    pytest.importorskip("tensorflow_serving", reason="tensorflow-serving-api is not installed")
    from serving_grpc_server import GrpcServer

    with GrpcServer(model) as running:
        yield running


@pytest.fixture(params=["rest", "rpc"])
def running(request):
    """A server of either protocol."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def experiment(small) -> recipe.Recipe:
    return recipe.override(small, ["eval.batch_size=4"])


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    shape = (20, FRAMES, SIZE, SIZE, 3)
    tints = np.random.default_rng(0).integers(0, 200, (20, 1, 1, 1, 3))
    return np.broadcast_to(tints, shape).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "red.avi", 18, tint=(1, 0.2, 0), base=60)
    write_video(root / "green.avi", 9, tint=(0.2, 1, 0), base=60)
    write_video(root / "short.avi", 3, tint=(0.2, 0.2, 1), base=60)
    (root / "none.mp4").write_bytes(b"no video")
    return root


@pytest.fixture(scope="module")
def exported(tmp_path_factory, experiment) -> Path:
    path = tmp_path_factory.mktemp("exported") / "toy" / "3"
    (path / "assets.extra").mkdir(parents=True)
    text = Metadata(CLASSES, (0, 0, 0), (1, 1, 1), recipe=recipe.to_dict(experiment)).to_json()
    (path / "assets.extra" / "model.json").write_text(text, encoding="utf-8")
    return path


def client(*words) -> tuple[int, str]:
    return commands.run(client_command.main, *words)


def open_model(running, experiment, manner=MANNER, name="toy", classes=CLASSES, version=None):
    connected = server.connect(running.url, name, version)
    return remote.classifier(connected, manner, classes, experiment.clips, experiment.eval, "")


# Addresses


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host", "http://host:8501"),
        ("HTTP://host:80/", "http://host:80"),
        ("grpc://host", "grpc://host:8500"),
        ("http://[::1]:8501", "http://[::1]:8501"),
        ("https://me:se%40cret@host/proxy", "https://host:443/proxy"),
    ],
)
def test_addresses(url, shown):
    address = server.parse_address(url)
    assert str(address) == shown
    assert "secret" not in repr(address)
    assert address.secret == ("me:se@cret" if "cret" in url else "")


@pytest.mark.parametrize(
    "url",
    [
        *("host:8501", "ftp://host", "http://", "http://host:port", "http://[", ""),
        *("http://host/v1/models/toy", "http://host?x=1", "grpc://me:secret@host", "grpc://host/x"),
        *("me:secret@host", "ftp://me:secret@host/x?secret"),
    ],
)
def test_what_is_no_address(url):
    with pytest.raises(ArgumentError, match=r"`url`|grpc://") as raised:
        server.parse_address(url)
    assert "secret" not in str(raised.value)


# Retries


def test_pauses_double_and_end_at_the_deadline(monkeypatch):
    now, asked = [0.0], []

    def ask(left: float):
        asked.append(left)
        raise PassingError("busy")

    def sleep(seconds: float):
        now[0] += seconds

    def tried(**limits) -> str:
        now[0] = 0.0
        asked.clear()
        with pytest.raises(ServingError) as raised:
            retry(ask, failure=ServingError, **limits)
        return str(raised.value)

    clock = types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(retrying, "time", clock)
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.25)
    monkeypatch.setattr(retrying.random, "random", lambda: 0.0)

    assert tried(retries=3, deadline_seconds=100.0) == "busy (Asked 4 times.)"
    assert asked == [100.0, 99.75, 99.25, 98.25]
    assert tried(retries=9, deadline_seconds=1.0) == "busy (Asked 3 times.)"
    assert tried(retries=0, deadline_seconds=1.0) == "busy (Asked once.)"
    assert tried(retries=8, deadline_seconds=1e6) == "busy (Asked 9 times.)"
    assert asked[-1] - asked[-2] == -8.0


def test_only_what_may_pass_is_asked_again():
    asked = []

    def ask(_):
        asked.append(1)
        raise ServingError("no")

    with pytest.raises(ServingError, match=r"^no$"):
        retry(ask, retries=5, deadline_seconds=10.0, failure=ServingError)
    assert len(asked) == 1


# Messages


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(50, 120), st.integers(1, 8))
def test_messages_hold_all_clips_in_order_and_no_more_than_they_may(sizes, most, count):
    parts = messages.pack(sizes, most, count)
    assert [size for part in parts for size in sizes[part]] == sizes
    for part in parts:
        assert 0 < len(sizes[part]) <= count
        assert sum(sizes[part]) <= most
    for part, following in itertools.pairwise(parts):
        full = len(sizes[part]) == count
        assert full or sum(sizes[part]) + sizes[following][0] > most


def test_a_clip_too_large_for_a_message(rest, experiment, clips):
    opened = open_model(rest, experiment, dataclasses.replace(MANNER, most_bytes=5000))
    with pytest.raises(ServingError, match=r"One clip is a message of 0\.0\d* MiB, and messages"):
        opened.score(clips[:1])


# Scores


def test_scores_are_those_of_the_model(running, experiment, clips):
    opened = open_model(running, experiment)
    assert opened.name == f"{running.url} toy/3"
    np.testing.assert_allclose(opened.score(clips), probabilities(clips), rtol=1e-5)
    small = dataclasses.replace(MANNER, most_bytes=40_000)
    many = open_model(running, experiment, small).score(clips)
    assert (many == opened.score(clips)).all()


def test_jpegs_are_almost_the_same(running, experiment, clips):
    opened = open_model(running, experiment, dataclasses.replace(MANNER, signature="jpeg"))
    np.testing.assert_allclose(opened.score(clips), probabilities(clips), atol=0.05)


def test_messages_are_small_and_connections_are_kept(rest, experiment, clips):
    rest.latency_seconds = 0.02
    opened = open_model(rest, experiment, dataclasses.replace(MANNER, most_bytes=30_000))
    for _ in range(3):
        opened.score(clips)
    assert max(one.size for one in rest.requests) <= 30_000
    assert len(rest.requests) > 10
    assert 1 < rest.busiest <= 3
    assert rest.connections <= 4  # one for each thread, and that of the beginning


def test_a_proxy_is_asked(rest, experiment, clips, monkeypatch):
    monkeypatch.setenv("http_proxy", rest.url)
    connected = server.connect("http://model.test", "toy", None)
    opened = remote.classifier(connected, MANNER, CLASSES, experiment.clips, experiment.eval, "")
    assert opened.score(clips) == pytest.approx(probabilities(clips), abs=1e-6)
    assert all(request.path.startswith("http://model.test:8501/v1/") for request in rest.requests)


def test_a_version_is_asked_for(running, experiment, clips):
    open_model(running, experiment, version=3).score(clips[:1])
    with pytest.raises(ServingError, match=r"has no such model 'toy': Servable not found"):
        open_model(running, experiment, version=2)
    if isinstance(running, RestServer):
        assert rest_paths(running)[1] == "/v1/models/toy/versions/3:predict"


def rest_paths(running: RestServer) -> list[str]:
    return [one.path for one in running.requests]


# What goes wrong


def test_what_passes_is_asked_again(rest, experiment, clips):
    rest.faults = [503, 429, None, 503, "close", None]
    opened = open_model(rest, experiment)
    np.testing.assert_allclose(opened.score(clips[:2]), probabilities(clips[:2]), rtol=1e-5)
    assert [one.status for one in rest.requests] == [503, 429, 200, 503, 200]


@pytest.mark.parametrize(
    ("fault", "count", "text"),
    [
        (400, 1, "answers 400: said 400$"),
        (500, 1, "answers 500: said 500$"),
        (504, 1, "took too long: said 504$"),
        (503, 3, r"answers 503: said 503 \(Asked 3 times\.\)$"),
        ("html", 1, "answers 502: no JSON: .* It sent: <html>Bad Gateway</html>$"),
        ("cut", 3, r"the connection ended before the answer was complete \(Asked 3 times\.\)$"),
        ('{"predictions": [[1, 2]]}', 1, r"sent scores of \(1, 2\) for 2 clips"),
        ('{"predictions": 1}', 1, r'does not answer as .* does\. It sent: \{"predictions": 1\}'),
        ('{"predictions": [{"a": 1}, {"a": 1}]}', 1, "does not answer as TensorFlow Serving does"),
        ("[]", 1, r"does not answer as TensorFlow Serving does\. It sent: \[\]"),
    ],
)
def test_answers_of_no_use(rest, experiment, clips, fault, count, text):
    opened = open_model(rest, experiment)
    rest.requests.clear()
    rest.always = fault
    with pytest.raises(ServingError, match=text) as raised:
        opened.score(clips[:2])
    assert "\n" not in str(raised.value)
    assert len(rest.requests) == count


def test_silence_ends_at_the_deadline(running, experiment, clips):
    opened = open_model(running, experiment, dataclasses.replace(MANNER, deadline_seconds=0.3))
    if isinstance(running, RestServer):
        running.always = "silence"
    else:
        running.silence.set()
    with pytest.raises(ServingError, match=r"no answer in 0\.[23]\d* s"):
        opened.score(clips[:1])


def test_no_server(experiment, model):
    quick = dataclasses.replace(MANNER, retries=1)
    with RestServer(model) as gone:
        pass
    with pytest.raises(ServingError, match=r"the connection is refused: .* \(Asked 2 times\.\)"):
        open_model(gone, experiment, quick)
    connected = server.connect("http://nowhere.invalid", "toy", None)
    with pytest.raises(ServingError, match="there is no such host"):
        remote.classifier(connected, quick, CLASSES, experiment.clips, experiment.eval, "")


def test_what_is_not_http(experiment):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(b"\0\0\x18\4\0\0\0\0\0" * 4)  # as HTTP/2 begins
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        connected = server.connect(f"http://127.0.0.1:{listening.getsockname()[1]}", "toy", None)
        with pytest.raises(ServingError, match=r"does not speak HTTP \(BadStatusLine\)"):
            connected.describe(5.0)


def test_a_server_that_dies_midway(model, experiment, folder):
    with RestServer(model) as dying:
        opened = open_model(dying, experiment, dataclasses.replace(MANNER, retries=0))
        paths = [str(folder / name) for name in ("red.avi", "green.avi")]
        dying.faults, dying.always = [None], "close"
        with pytest.raises(ServingError, match="the connection ended"):
            list(predictions.score_files(opened, [Video(path, "") for path in paths]))


def test_grpc_codes(rpc, experiment, clips):
    import grpc

    codes = grpc.StatusCode
    opened = open_model(rpc, experiment)
    rpc.faults = [codes.UNAVAILABLE, codes.RESOURCE_EXHAUSTED]
    np.testing.assert_allclose(opened.score(clips[:1]), probabilities(clips[:1]), rtol=1e-5)
    assert len(rpc.requests) == 4
    for code, times in ((codes.INVALID_ARGUMENT, 1), (codes.INTERNAL, 1), (codes.UNAVAILABLE, 3)):
        rpc.requests.clear()
        rpc.always = code
        with pytest.raises(ServingError, match=f"answers {code.name}: said {code.name}"):
            opened.score(clips[:1])
        assert len(rpc.requests) == times


def test_grpc_messages_keep_below_what_servers_take(rpc, experiment):
    large = np.zeros((3, FRAMES, 600, 600, 3), np.uint8)  # 4.1 MiB each
    connected = server.connect(rpc.url, "toy", None)
    with pytest.raises(ServingError, match=r"of 4\.12 MiB, and messages may have 4: raise"):
        remote.scorer(connected, MANNER)(large)
    beyond = remote.scorer(connected, dataclasses.replace(MANNER, most_bytes=2**24))
    with pytest.raises(ServingError, match=r"RESOURCE_EXHAUSTED: .*larger than max.*Lower `max_m"):
        beyond(large)
    assert not rpc.requests  # it was refused at once, and once
    half = np.zeros((3, FRAMES, 400, 400, 3), np.uint8)  # 1.8 MiB each
    assert remote.scorer(connected, MANNER)(half).shape == (3, len(CLASSES))
    assert [r.inputs["clip"].tensor_shape.dim[0].size for r in rpc.requests] in ([2, 1], [1, 2])
    assert not any(request.output_filter for request in rpc.requests)


def test_what_is_no_grpc(rpc, rest, experiment):
    quick = dataclasses.replace(MANNER, retries=0)
    for url, text in (
        (rest.url.replace("http:", "grpc:"), "does not speak gRPC: REST is asked by http://"),
        (
            rpc.url.replace("grpc:", "http:"),
            r"does not speak HTTP \(BadStatusLine\)\. .* by grpc://",
        ),
        ("grpc://nowhere.invalid", "there is no such host"),
    ):
        connected = server.connect(url, "toy", None)
        with pytest.raises(ServingError, match=text):
            remote.classifier(connected, quick, CLASSES, experiment.clips, experiment.eval, "")


def test_grpc_without_its_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    monkeypatch.delitem(sys.modules, "keras_r3d.serving.grpc_server", raising=False)
    with pytest.raises(ServingError, match=r'pip install "keras_r3d\[serving\]"'):
        server.connect("grpc://localhost", "toy", None)


def test_another_model_than_the_run_s(running, experiment, tmp_path):
    with pytest.raises(ServingError, match="6 scores, and 5 classes are named"):
        open_model(running, experiment, classes=CLASSES[1:])
    longer = recipe.override(experiment, ["clips.frames=8"])
    with pytest.raises(ServingError, match=r"takes 'clip' of \(any, 4, any, any, 3\)"):
        open_model(running, longer)
    with pytest.raises(ServingError, match=r"takes 'jpegs' of \(any, 4\) .* cuts \(any, 8\)"):
        open_model(running, longer, dataclasses.replace(MANNER, signature="jpeg"))
    with pytest.raises(ServingError, match="has no such model 'other'"):
        open_model(running, experiment, name="other")


def test_a_model_without_the_signature(tmp_path, experiment):
    few = ServedModel(write_model(tmp_path / "1", ["clip", "features"]))
    text = r"no signature 'jpeg'\. .*: features, serving_default\."
    with RestServer(few) as running, pytest.raises(ServingError, match=text):
        open_model(running, experiment, dataclasses.replace(MANNER, signature="jpeg"))


# The command


def expected(experiment, paths, top=5) -> tuple[list[str], list[dict]]:
    """Returns the table and the records of `predict` with the same model."""
    data, of = experiment.clips, experiment.eval
    local = Classifier("", "", CLASSES, data, of, probabilities, None, "")
    found = list(predictions.score_files(local, [Video(str(path), "") for path in paths]))
    table = result_table.Table([str(path) for path in paths], CLASSES, None)
    rows = [line for one in found for line in table.rows(one, top)]
    return [table.heading(), *rows], [one.record(top) for one in found]


def test_it_prints_what_predict_prints(running, exported, experiment, folder, tmp_path):
    paths = sorted(folder.iterdir())
    written = tmp_path / "out.json", tmp_path / "out.csv"
    code, out = client(
        *(*paths, "--export", exported, "--url", running.url, "--top", 3),
        *("--json", written[0], "--csv", written[1]),
    )
    table, records = expected(experiment, paths, 3)
    assert code == 1  # one of them is no video
    first, *rest = out.splitlines()
    assert first.startswith(f"{running.url} toy/3 (model.json of {exported}): all windows of 4 fr")
    assert rest[: len(table)] == table
    assert rest[len(table)] == "4 videos: 3 ok, 0 partial, 1 error."
    found = json.loads(written[0].read_text(encoding="utf-8"))
    assert [one["video"] for one in found] == [str(path) for path in paths]
    for one, ours in zip(records, found, strict=True):
        assert {**one, "top": 0} == {**ours, "top": 0}
        for theirs, mine in zip(one["top"], ours["top"], strict=True):
            assert theirs["label"] == mine["label"]
            assert abs(theirs["score"] - mine["score"]) < 1e-6
    assert len(written[1].read_text(encoding="utf-8").splitlines()) == 5


def test_a_run_says_how_clips_are_cut(rest, experiment, folder, tmp_path):
    (tmp_path / "recipe.toml").write_text(recipe.dumps(experiment), encoding="utf-8")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    (tmp_path / "summary.json").write_text("{}", encoding="utf-8")
    words = (folder / "red.avi", "--workdir", tmp_path, "--url", rest.url)
    code, out = client(*words, "--model", "toy", "--signature", "jpeg", "--protocol", "2x3")
    assert code == 0
    assert "at most 2 windows of 4 frames, evenly placed; 3 views" in out
    code, out = client(*words)
    assert code == 1
    assert "--model is missing" in out


def test_a_password_is_sent_and_not_shown(rest, exported, folder):
    url = rest.url.replace("//", "//me:secret@")
    code, out = client(folder / "red.avi", "--export", exported, "--url", url)
    assert code == 0
    assert "secret" not in out
    assert {one.authorization for one in rest.requests} == {"Basic bWU6c2VjcmV0"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Missing: VIDEOS"),
        (["{red}"], "--url is missing"),
        (["rtsp://me:secret@camera/1"], "rtsp://camera/1: the client sends files"),
        (["{red}", "--url", "http://localhost"], "Name what the model was exported from"),
        (["{red}", "--url", "http://localhost", "--export", "{red}"], "damaged|model.json"),
        (
            ["{red}", "--url", "http://localhost", "--export", "{folder}"],
            "There is no .*model.json",
        ),
        (["{red}", "--url", "localhost:1", "--export", "{exported}"], "--url must be http://"),
        (["{red}", "--json", "{red}"], "already exists"),
    ],
)
def test_what_the_command_refuses(exported, folder, words, text):
    names = {"red": folder / "red.avi", "folder": folder, "exported": exported}
    code, out = client(*(word.format(**names) for word in words))
    assert code == 1
    assert re.search(text, out)
    assert "secret" not in out


# The front door


def test_requests_are_by_default_as_python_makes_them():
    asked = inspect.signature(VideoClassifier.served).parameters
    manner = dataclasses.asdict(remote.Manner())
    manner["jpeg_quality"] = manner.pop("quality")
    manner["max_message_mib"] = manner.pop("most_bytes")
    assert manner == {name: asked[name].default for name in manner}


def test_a_served_model_is_a_classifier(running, exported, folder, experiment):
    served = VideoClassifier(f"{running.url}/toy", exported_from=exported)
    assert served.classes == list(CLASSES)
    options = {"signature": "jpeg", "jpeg_quality": 90, "protocol": "2x3"}
    jpegs = VideoClassifier.served(running.url, exported_from=exported, **options)
    assert "3 views" in jpegs.described
    assert str(jpegs).startswith(f"{running.url} toy/3 (model.json of {exported}): ")
    again = pickle.loads(pickle.dumps(jpegs))  # as machines of a cluster get it
    assert again.made_of.keywords.items() >= options.items()
    assert set(inspect.signature(VideoClassifier.served).parameters) == {
        *("url", "model", *again.made_of.keywords)
    }
    path = folder / "red.avi"
    (expected,) = predictions.score_files(open_model(running, experiment), [Video(str(path), "")])
    assert served.predict(path).scores == pytest.approx(expected.scores)
    for call, message in (
        (lambda: served.explain(path), "is a served model, which has scores but no gradients"),
        (lambda: served.fit(folder), "cannot be trained"),
        (lambda: VideoClassifier(running.url, exported_from=exported), "must end in the name"),
        (lambda: VideoClassifier(f"{running.url}/toy", exported_from=folder), "must be a run, or"),
        (lambda: VideoClassifier(f"{running.url}/toy"), "pass `exported_from`"),
    ):
        with pytest.raises(R3DError, match=message):
            call()


def test_it_names_several_labels(running, experiment, folder, tmp_path):
    path = tmp_path / "toy" / "3"
    (path / "assets.extra").mkdir(parents=True)
    about = Metadata(CLASSES, recipe=recipe.to_dict(experiment), thresholds=(0.0,) * len(CLASSES))
    for limits, named in (((0.0,) * len(CLASSES), set(CLASSES)), ((1.1,) * len(CLASSES), set())):
        text = dataclasses.replace(about, thresholds=limits).to_json()
        (path / "assets.extra" / "model.json").write_text(text, encoding="utf-8")
        written = tmp_path / f"{limits[0]}.json"
        words = [folder / "red.avi", "--export", path, "--url", running.url, "--json", written]
        code, out = client(*words)
        assert code == 0
        assert bool(re.search(r"\d \*$", out, re.MULTILINE)) == bool(named)
        (record,) = json.loads(written.read_text(encoding="utf-8"))
        assert set(record["named"]) == named
    text = dataclasses.replace(about, thresholds=(0.5,)).to_json()
    (path / "assets.extra" / "model.json").write_text(text, encoding="utf-8")
    code, out = client(*words[:-1], tmp_path / "other.json")
    assert code == 1
    assert f"must have a threshold, a number, for each of {len(CLASSES)} classes" in out
