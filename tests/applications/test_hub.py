"""Weights from the Hugging Face hub, from a server on this machine that stands in for it."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import local_server
import pth
import pytest
from checkpoint_values import moved, state_dict

from keras_r3d import applications
from keras_r3d.applications import WeightsError
from keras_r3d.applications.weights import hub

ROOT = Path(__file__).parents[2]
TOKEN = "hf_ofthisuseronly0123456789"
COMMITS = {"main": "1" * 40, "refs/pr/1": "2" * 40}
# What another process finds of each address, by every way that weights are named.
ASKING = """
import json, sys, warnings
warnings.simplefilter("ignore")
import keras_r3d
from keras_r3d import applications, inference, recipe
from keras_r3d.training import finetune

def bias(model):
    return model.get_layer("predictions").bias.numpy().tolist()

def settled(address):
    part = recipe.load("finetune", [f'model.weights="{address}"']).model
    return finetune.settle(part, lambda line: None).name

def converted(address):
    return applications.convert(address, sys.argv[1], overwrite=True).network

def embedded(address):
    inference.extract_features(videos=[sys.argv[1]], model=address, output=f"{sys.argv[1]}.npz")

WAYS = {
    "embed": embedded,
    "build": lambda address: bias(applications.R3D10(weights=address)),
    "classify": lambda address: bias(keras_r3d.VideoClassifier(address).model),
    "train": settled,
    "convert": converted,
}
answers = []
for way, address in json.load(sys.stdin):
    try:
        answers.append(WAYS[way](address))
    except keras_r3d.R3DError as error:
        answers.append(f"{type(error).__name__}: {error}")
print("ANSWERS" + json.dumps(answers))
"""


class Hub(local_server.LocalServer):
    """Has one public repository, one that needs TOKEN, and one that is gated."""

    class handler(local_server.Handler):  # noqa: N801
        ERRORS: ClassVar = {"RepoNotFound": 401, "GatedRepo": 403}

        def reply(self, fault, body):
            self.owner.requests.append((self.command, self.path))
            self.owner.tokens.add(self.headers.get("Authorization"))
            if fault:
                self.refuse("", fault)
                return
            owner, name, _, revision, file = self.path.strip("/").split("/", 4)
            revision = revision.replace("%2F", "/")
            private = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if name == "gated":
                self.refuse("GatedRepo", 403)
            elif (owner, name) != ("me", "r3d") and not (name == "private" and private):
                self.refuse("RepoNotFound", 401)
            elif revision not in COMMITS:
                self.refuse("RevisionNotFound", 404)
            elif (content := self.owner.files.get((revision, file))) is None:
                self.refuse("EntryNotFound", 404)
            else:
                headers = {"X-Repo-Commit": COMMITS[revision]}
                headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
                self.begin(200, len(content), **headers)
                if self.command == "GET":
                    self.wfile.write(content)

        def refuse(self, code: str, status: int) -> None:
            # Whatever a server says, it is not repeated: here, what it was sent.
            said = f"you sent {self.headers.get('Authorization')}"
            content = said.encode()
            self.begin(status, len(content), **{"X-Error-Code": code, "X-Error-Message": said})
            if self.command == "GET":
                self.wfile.write(content)

    def __init__(self):
        super().__init__()
        self.files: dict[tuple[str, str], bytes] = {}
        self.tokens: set[str | None] = set()


@pytest.fixture(scope="module")
def network():
    return moved(applications.R3D10(width=0.05, classes=2))


@contextlib.contextmanager
def running_hub(folder: Path, network) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    path = pth.write_zip(folder / "w.pth", state_dict(network))
    with Hub() as running:
        running.files["main", "sub/w.pth"] = path.read_bytes()
        two = {"model": state_dict(network), "ema": state_dict(network)}
        two["ema"]["fc.bias"] = two["ema"]["fc.bias"] + 1
        path = pth.write_zip(folder / "two.pth", two)
        running.files["refs/pr/1", "two.pth"] = path.read_bytes()
        yield running


@pytest.fixture
def server(tmp_path, network):
    with running_hub(tmp_path, network) as running:
        yield running


def ask(server: Hub, folder: Path, questions, **environment: str) -> tuple[list, str]:
    """Returns the answers to questions, (way, address), and all that was printed."""
    variables = {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "hf")} | environment
    done = subprocess.run(
        [sys.executable, "-c", ASKING, folder / "c.keras"],
        input=json.dumps(questions),
        text=True,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_DISABLE_XET": "1"} | variables,
        timeout=250,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return json.loads(done.stdout.partition("ANSWERS")[2]), output


ADDRESS = "hf://me/r3d/sub/w.pth"
RIGHT = [
    ("build", ADDRESS),
    ("classify", ADDRESS),
    ("train", ADDRESS),
    ("convert", ADDRESS),
    ("build", "hf://me/r3d@refs%2Fpr%2F1/two.pth#ema"),
    ("build", "hf://me/private/sub/w.pth"),
]
WRONG = {
    "hf://me/r3d/no.pth": r"cannot be had: the repository has no file no\.pth in this revision",
    "hf://me/r3d@old/sub/w.pth": "cannot be had: the repository has no revision old",
    "hf://me/none/w.pth": "no repository me/none, or it is private: then `hf auth login`, or set",
    "hf://me/gated/w.pth": "its owner grants access: ask on the page of me/gated, then `hf auth lo",
    "hf://me/r3d..x/w.pth": r"me/r3d\.\.x is no name of a repository",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory, network):
    """A hub, the folder of a process that asked it for all of these, its answers and its output."""
    folder = tmp_path_factory.mktemp("hub")
    questions = [*RIGHT, *(("build", address) for address in WRONG)]
    questions += [("classify", "hf://me/none/w.pth"), ("convert", "hf://me/r3d/no.pth")]
    questions += [("train", "hf://me/r3d/no.pth"), ("embed", "hf://me/r3d/no.keras")]
    with running_hub(folder, network) as running:
        yield running, folder, *ask(running, folder, questions, HF_TOKEN=TOKEN)


def test_weights_come_from_the_hub_by_every_way_and_only_once(asked, network, monkeypatch):
    server, folder, answers, _ = asked
    bias = network.get_layer("predictions").bias.numpy()
    assert answers[0] == answers[1] == pytest.approx(bias.tolist())
    assert answers[2:4] == ["r3d10", "r3d10"]
    assert answers[4] == pytest.approx((bias + 1).tolist())
    assert answers[5] == answers[0]
    fetched = [path for command, path in server.requests if command == "GET"]
    assert sum(path.startswith("/me/r3d/resolve/") and "sub/w" in path for path in fetched) == 1
    assert f"Bearer {TOKEN}" in server.tokens  # or the last answer would prove nothing
    # Later, without the hub; what is not in the cache is not to be had.
    monkeypatch.setattr(server, "always", 503)
    server.requests.clear()
    questions = [("build", ADDRESS), ("build", "hf://me/r3d/w.pth")]
    (found, missing), _ = ask(server, folder, questions, HF_HUB_OFFLINE="1")
    assert found == pytest.approx(bias.tolist())
    assert "the hub cannot be reached" in missing
    assert "and the file is not in the cache: try again where it can" in missing
    assert server.requests == []


def test_what_is_wrong_is_said_without_the_token(asked):
    server, _, answers, output = asked
    answers = answers[len(RIGHT) :]
    for answer, message in zip(answers, WRONG.values(), strict=False):
        assert re.search(message, answer), answer
    assert all(answer.startswith("WeightsError: hf://me/") for answer in answers)
    assert f"Bearer {TOKEN}" in server.tokens
    assert TOKEN not in output
    assert "you sent" not in output
    assert "Traceback" not in output


@pytest.mark.slow  # huggingface_hub asks for half a minute
@pytest.mark.parametrize("variables", [{}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_a_hub_that_fails_or_is_not_there(server, tmp_path, variables):
    server.always = 500
    variables = {"HF_TOKEN": TOKEN} | variables
    (answer,), output = ask(server, tmp_path, [("build", "hf://me/r3d/w.pth")], **variables)
    assert "cannot be had: the hub cannot be reached (" in answer
    assert TOKEN not in output


@pytest.mark.parametrize("address", ["hf://", "hf://me/w.pth", "hf://me/r3d@/w.pth", "hf://a/b/#x"])
def test_an_address_is_of_one_form(address):
    with pytest.raises(WeightsError, match=r"must be hf://OWNER/NAME/FILE or .* Received: hf://"):
        applications.R3D10(weights=address)


def test_where_the_package_is_missing_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        WeightsError, match=r"^hf://me/r3d/w\.pth needs huggingface_hub, .*r3d\[hub"
    ):
        applications.R3D10(weights="hf://me/r3d/w.pth")
    assert hub.fetch("w.pth") == "w.pth"
