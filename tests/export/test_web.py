"""The folder of a page, and its server; what the page does is in tests/browser."""

import base64
import hashlib
import json
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from exports import source_of

from keras_r3d import VideoClassifier, recipe
from keras_r3d.applications import R3D10
from keras_r3d.export.web import litert, serving, web
from keras_r3d.inference.models.runtimes import load_export
from keras_r3d.system.errors import ArgumentError, ExportError

FILES = ("core/dist/index.js", "wasm-utils/dist/index.js")


def integrity(contents: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(contents).digest()).decode()}"


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch) -> Path:
    """A node_modules with a small LiteRT.js; there is no npm, and nothing in the cache."""
    folder, hashes = tmp_path / "node_modules", {}
    for name in FILES:
        path = folder / "@litertjs" / name
        path.parent.mkdir(parents=True)
        path.write_text(f"// {name}\n")
        package, _, rest = name.partition("/")
        hashes[f"{package}@1.2.3/{rest}"] = integrity(path.read_bytes())
    manifest = {"base": "https://cdn.example/", "files": hashes}
    (tmp_path / "litert.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(litert, "__file__", str(tmp_path / "litert.py"))
    monkeypatch.setattr(litert.shutil, "which", lambda name: None)
    monkeypatch.setenv("KERAS_R3D_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def classifier(small) -> VideoClassifier:
    labels = ["green", "red"]
    network = R3D10(input_shape=small.clips.shape, width=0.0625, labels=labels)
    return VideoClassifier(network, clips=small.clips)


def test_the_folder_has_all_that_a_page_needs(classifier, modules, class_folders, tmp_path):
    options = {"data": class_folders, "litert": str(modules), "min_agreement": 0.0}
    exported = classifier.export("web", tmp_path / "web", **options)
    names = {path.name for path in web.PAGE.iterdir()}
    assert names | {"model.tflite", "litert.json", "example.json", "export.json", "README.md"} <= {
        path.name for path in exported.path.iterdir()
    }
    assert f"LiteRT.js 1.2.3 is in the folder, from {modules}." in str(exported)
    manifest = json.loads((exported.path / "litert.json").read_text())
    assert manifest["base"] == "litert/"
    for name, wanted in manifest["files"].items():
        assert integrity((exported.path / "litert" / name).read_bytes()) == wanted
    example = json.loads((exported.path / "example.json").read_text())
    clip = np.frombuffer(base64.b64decode(example["clip"]), np.uint8).reshape(
        1, *classifier.model.input_shape[1:]
    )
    assert clip.std() > 10
    scores = load_export(exported.path / "model.tflite").score(1)(clip)[0]
    assert example["scores"] == pytest.approx(scores.tolist(), abs=1e-6)
    assert "python -m keras_r3d.web web" in (exported.path / "README.md").read_text()
    assert exported.record["quantize"] == "int8"


def test_without_npm_the_page_loads_litert_from_elsewhere(tmp_path):
    said = litert.add(tmp_path, None)
    manifest = json.loads((tmp_path / "litert.json").read_text())
    assert manifest["base"] == "https://cdn.example/"
    assert said == [
        "The page loads LiteRT.js 1.2.3 from https://cdn.example/: there is no npm to fetch it "
        "with."
    ]


def test_another_litert_is_an_error(tmp_path, modules):
    (modules / "@litertjs" / FILES[0]).write_text("other")
    with pytest.raises(ExportError, match=r"`litert` must be a node_modules .* or not that of ver"):
        litert.add(tmp_path, str(modules))
    with pytest.raises(ExportError, match=r"nowhere/@litertjs/core/dist/index.js is missing"):
        litert.add(tmp_path, str(tmp_path / "nowhere"))


def test_the_hashes_are_of_files_that_the_worker_asks_for():
    manifest = json.loads((web.PAGE.parent / "litert.json").read_text())
    for variant in ("internal", "compat_internal", "threaded_internal"):
        for suffix in ("js", "wasm"):
            assert f"core@2.5.3/wasm/litert_wasm_{variant}.{suffix}" in manifest["files"]
    assert all(len(base64.b64decode(text[7:])) == 48 for text in manifest["files"].values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["clips.input=dis", "model.mean=[128.0, 128.0]", "model.std=[1.0, 1.0]"],
            "`form` web is for models of RGB",
        ),
        (["eval.views=3"], "`form` web scores 1 or 2 views of a window, and this model 3: open it"),
    ],
)
def test_what_a_page_cannot_do_is_an_error(tmp_path, small, changes, said):
    experiment = recipe.override(small, changes)
    network = R3D10(input_shape=experiment.clips.shape, width=0.0625, classes=2)
    source = source_of(network, ["green", "red"], experiment)
    with pytest.raises(ExportError, match=said):
        web.write(source, tmp_path / "page", "none")
    assert not (tmp_path / "page").exists()


def test_litert_is_for_pages(classifier):
    with pytest.raises(ExportError, match=r"`litert` is for `form` web. Received: tflite"):
        classifier.export("tflite", litert="node_modules")


def test_the_server_isolates_and_knows_its_types(tmp_path):
    for name in ("index.html", "a.wasm", "a.js", "model.tflite"):
        (tmp_path / name).write_text("x")
    types = {"": "text/html", "a.wasm": "application/wasm", "a.js": "text/javascript"}
    with serving.open_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        assert server.server_address[0] == "127.0.0.1"
        for name, kind in types.items():
            with urllib.request.urlopen(f"http://localhost:{server.server_port}/{name}") as answer:
                assert answer.headers["Content-Type"].startswith(kind)
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        with pytest.raises(
            ArgumentError, match=r"`port` \d+ is in use or reserved: choose another"
        ):
            serving.open_server(tmp_path, server.server_port)
        server.shutdown()


def test_other_folders_are_no_pages(tmp_path):
    with pytest.raises(
        ArgumentError, match=r"`folder` .* must be a page, as .* it has no index.html"
    ):
        serving.serve(str(tmp_path), port=0)
    (tmp_path / "index.html").write_text("x")
    with pytest.raises(ArgumentError, match=r"`port` must be from 0 to 65535"):
        serving.serve(str(tmp_path), port=-1)
