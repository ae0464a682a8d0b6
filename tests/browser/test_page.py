"""The exported page in Chromium (`make test-browser`), on videos of the demo."""

import base64
import contextlib
import functools
import http.server
import json
import re
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from browser import HTML, Page, serving, write_camera

from keras_r3d import VideoClassifier
from keras_r3d.data.decoding import pixels
from keras_r3d.data.sampling import cropping, temporal
from keras_r3d.inference.embeddings.ridge import STRENGTHS, Ridge, _temperature
from keras_r3d.system import files

pytest_plugins = ["web_pages"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

# Largest difference of a video's score from `predict`'s: a browser converts colors otherwise, and
# may leave out frames.
SCALING = 0.1
# Keeps the clips that go to the worker, and what comes back.
RECORD = """
    const post = Worker.prototype.postMessage;
    window.sent = new Map();
    Worker.prototype.postMessage = function (message, transfer) {
        const { task, id, clips } = message;
        if (task === "score") sent.set(id, clips.map((clip) => Array.from(clip)));
        if (!this.heard) this.addEventListener("message", ({ data }) => {
            if (sent.has(data.id)) window.scored = { clips: sent.get(data.id), ...data.result };
            sent.delete(data.id);
        });
        this.heard = true;
        return post.call(this, message, transfer);
    };
"""


@pytest.fixture(scope="module")
def opened(page):
    """The page, with nothing but files to score."""
    with serving(page) as address, Page(address) as opened:
        opened.ready()
        yield opened


def test_dropped_videos_are_scored_as_predict_scores_them(page, opened, videos):
    classifier = VideoClassifier(page / "model.tflite")
    for video in sorted(videos.rglob("*.mp4")):
        expected = classifier.predict(video)
        scores = opened.score(video)
        best, share = expected.top(1)[0]
        assert best == video.parent.name
        assert max(scores, key=scores.__getitem__) == best, video
        assert scores[best] == pytest.approx(share, abs=SCALING), video


def test_the_page_says_what_it_computes_by_what(page, opened):
    assert "WebAssembly" in opened.text("device")
    assert "TensorFlow Lite's on a test clip" in opened.text("device")
    assert "67 classes; " in opened.text("trained")
    assert (
        opened.text("clips") == "16 frames spread over a movement; the whole picture at 64 pixels"
    )
    assert opened.run("return crossOriginIsolated")


def test_class_names_are_text(opened, videos):
    opened.score(videos / HTML / "1.mp4")
    assert opened.text("label") == HTML
    assert HTML in opened.scores()
    assert opened.run("return document.querySelectorAll('img').length") == 0


def test_what_no_browser_plays_is_said(opened, tmp_path, videos):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    opened.driver.find_element("id", "file").send_keys(str(broken))
    assert opened.complaint() == (
        "broken.mp4 is no video that this browser plays. It plays MP4 (H.264), MP4 (AV1), "
        "WebM (VP9)."
    )
    opened.score(next(videos.rglob("*.mp4")))  # it goes on


def test_the_camera_is_scored_as_tensorflow_lite_scores_it(page, videos, tmp_path):
    interpreter = tf.lite.Interpreter(str(page / "model.tflite"))
    score = interpreter.get_signature_runner()
    camera = tmp_path / "camera.y4m"
    for label in ("circle_clockwise", HTML):  # which go round and round, as the camera's file does
        seconds = write_camera(camera, videos / label / "1.mp4")
        with serving(page) as address, Page(address, camera=camera) as opened:
            opened.ready()
            opened.run(RECORD)
            opened.run("seconds.value = arguments[0]; seconds.oninput()", f"{seconds:.1f}")
            opened.start_camera()
            opened.until("window.scored")
            scored = opened.run("return window.scored")
            clips = np.array(scored["clips"], np.uint8).reshape(-1, 1, 16, 64, 64, 3)
            assert len(clips) == 2  # the whole frame, and its center
            for clip, found in zip(clips, scored["scores"], strict=True):
                expected = score(clip=clip)["probabilities"][0]
                assert found == pytest.approx(expected.tolist(), abs=1e-4)
            opened.watch_labels()
            time.sleep(2 * seconds)
            named, scores = opened.named()
            assert scores[named] >= max(scores.values()) - 0.1 - 1e-6, label  # it does not flicker
            if label != HTML:  # that one is another movement where the camera's file begins anew
                assert opened.longest_label() == label
            assert "camera" in opened.text("speed")
            opened.click("camera")
            assert opened.text("label") == ""


@contextlib.contextmanager
def watching(page, video, tmp_path):
    """The page, whose camera plays a video."""
    camera = tmp_path / "camera.y4m"
    write_camera(camera, video)
    with serving(page) as address, Page(address, camera=camera) as opened:
        opened.ready()
        opened.start_camera()
        yield opened


def test_memory_stays_as_it_is(page, videos, tmp_path):
    with watching(page, videos / "up" / "1.mp4", tmp_path) as opened:
        opened.until("document.getElementById('label').textContent")
        sizes = []
        for _ in range(3):
            opened.driver.set_script_timeout(60)
            measure = (
                "const done = arguments[0]; setTimeout(() => performance"
                ".measureUserAgentSpecificMemory().then(({ bytes }) => done(bytes)), 5000)"
            )
            sizes.append(opened.driver.execute_async_script(measure))
        assert sizes[2] - sizes[0] < 10e6, sizes


@pytest.mark.parametrize("frozen", [True, False])
def test_a_tab_that_slept_goes_on_without_what_it_had_seen(page, videos, tmp_path, frozen):
    with watching(page, videos / "left" / "1.mp4", tmp_path) as opened:
        opened.until("label.textContent !== ''")
        opened.run(
            "window.told = []; window.froze = false;"
            "document.addEventListener('freeze', () => { froze = true; });"
            "new MutationObserver(() => told.push([performance.now(), label.textContent]))"
            ".observe(label, {childList: true});"
        )
        opened.sleep(2, frozen=frozen)
        assert opened.run("return window.froze") == frozen
        opened.until("told.some(([, name]) => !name) && told.at(-1)[1]")
        script = "const n = told.findLastIndex(([, name]) => !name); return told.slice(n, n + 2)"
        (cleared, _), (again, _) = opened.run(script)
    assert again - cleared > 1500, "ms: a window of 2 seconds of frames that came since"


def test_a_file_waits_while_its_tab_sleeps(opened, videos):
    path = videos / "left" / "1.mp4"
    expected = opened.score(path)
    opened.run("document.getElementById('status').textContent = ''")
    opened.driver.find_element("id", "file").send_keys(str(path))
    opened.until("document.getElementById('status').textContent.includes('% seen')")
    opened.run("document.getElementById('video').playbackRate = 0.2")
    opened.sleep(1, frozen=True)
    assert opened.text("status").endswith("% seen")
    opened.until("document.getElementById('status').textContent.includes(': scored.')")
    assert opened.scores() == pytest.approx(expected, abs=SCALING)


def test_a_phone_shows_all_of_it(page):
    with serving(page) as address, Page(address, size=(360, 740)) as opened:
        opened.ready()
        assert opened.run("return document.documentElement.scrollWidth") <= 360
        for name in ("camera", "bars", "timeline", "trained"):
            box = opened.run(
                "return document.getElementById(arguments[0]).getBoundingClientRect()", name
            )
            assert 0 <= box["left"] < box["right"] <= 360, name
            assert box["height"] > 10, name


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "There is no camera: plug one in, or choose a video."),
        (
            ("--use-fake-device-for-media-stream", "--deny-permission-prompts"),
            "The camera was not allowed: allow it for this page (in the address bar), or choose a "
            "video.",
        ),
    ],
)
def test_a_camera_that_cannot_be_had_is_said(page, flags, said):
    with serving(page) as address, Page(address, flags=flags) as opened:
        opened.ready()
        opened.click("camera")
        assert opened.complaint() == said
        assert opened.text("camera") == "Start the camera"


def damage_model(folder: Path) -> None:
    path = folder / "model.tflite"
    contents = bytearray(path.read_bytes())
    contents[1000] ^= 1
    path.write_bytes(contents)


def other_file(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"no model" * 100)


def other_model(folder: Path) -> None:
    contents = (folder / "model.tflite").read_bytes()
    (folder / "model.tflite").write_bytes(contents[: contents.index(b"PK\3\4")])


def damage_runtime(folder: Path) -> None:
    (path,) = folder.rglob("core*/dist/index.js")
    path.write_text(path.read_text().replace("LiteRt", "LiteRT", 1))


def other_scores(folder: Path) -> None:
    path = folder / "example.json"
    values = json.loads(path.read_text())
    files.write_json(path, values | {"scores": values["scores"][::-1]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            damage_model,
            "model.tflite is damaged: the model inside is not the one that was exported.",
        ),
        (other_file, "model.tflite is no .tflite file: a model that `python -m keras_r3d.export`"),
        (other_model, "model.tflite does not say what its classes are and how its clips are cut:"),
        (damage_runtime, "index.js cannot be loaded, or is not the file it should be."),
        (other_scores, "The network does not compute here what it should: other scores than"),
    ],
)
def test_a_page_that_is_not_as_it_should_be_says_so(changed, change, said):
    change(changed)
    with serving(changed) as address:
        assert said in complaint_of(address)


def complaint_of(address: str) -> str:
    """Returns what a page says is wrong with it; then nothing can be done there."""
    with Page(address) as page:
        text = page.complaint()
        assert page.run("return document.getElementById('camera').disabled")
        page.driver.get_log("browser")  # which says so, too
    return text


@contextlib.contextmanager
def other_server(folder: Path, header: str, value: str):
    """Serves a folder with another header; gives its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header(header, value)
            super().end_headers()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()


def test_any_server_does_though_without_threads(page):
    with other_server(page, "X-Nothing", "") as address, Page(address) as opened:
        opened.ready()
        assert opened.text("device").startswith("WebAssembly, 1 thread: ")


def test_where_webassembly_is_not_allowed_that_is_said(page):
    policy = "script-src 'self' blob:; worker-src 'self' blob:"
    with other_server(page, "Content-Security-Policy", policy) as address:
        assert "it needs WebAssembly with SIMD" in complaint_of(address)


def test_litert_may_come_from_another_server(changed):
    manifest = json.loads((changed / "litert.json").read_text())
    folder = (changed / "litert").rename(changed.parent / "elsewhere")
    with other_server(folder, "Access-Control-Allow-Origin", "*") as elsewhere:
        files.write_json(changed / "litert.json", manifest | {"base": elsewhere})
        with serving(changed) as address, Page(address) as opened:
            opened.ready()
            assert opened.run("return crossOriginIsolated")


def test_a_gpu_is_compared_and_its_loss_is_survived(changed, videos):
    """Here the CPU computes what a GPU would, so that it is slower; it is made to seem faster."""
    worker = changed / "worker.js"
    text = worker.read_text().replace(
        "a.milliseconds - b.milliseconds", 'a.device === "wasm" ? 1 : -1'
    )
    lose = """
        const hear = onmessage;
        onmessage = (event) => {
            if (event.data.task === "score") litert.getWebGpuDevice().destroy();
            hear(event);
        };
    """
    worker.write_text(text + lose)
    video = videos / "up" / "1.mp4"
    with serving(changed) as address, Page(address, gpu=True) as opened:
        opened.ready()
        gpu, cpu = opened.text("device").split("; ")
        assert re.fullmatch(
            r"WebGPU: \d+ ms a clip, scores within \de-\d of TensorFlow Lite's .*", gpu
        )
        assert cpu.startswith("WebAssembly, ")
        scores = opened.score(video)
        assert max(scores, key=scores.__getitem__) == "up"
        assert opened.text("device").startswith("WebGPU (not used): ")


def in_page(opened: Page, script: str, *values):
    """Runs JavaScript with modules of the page, which finds the values in `given`."""
    run = f"(async (given) => {{ {script} }})([...arguments])"
    done = "const done = arguments[arguments.length - 1];"
    return opened.driver.execute_async_script(
        f"{done} {run}.then(done, (e) => done(String(e)))", *values
    )


WINDOWS = """
    const { wholeVideo } = await import('./windows.js');
    return wholeVideo(given[0], given[1], { windows: given[2] });
"""


def clips_of(kind: str, **sampling) -> dict:
    return {"frames": 8, "sampling": {"kind": kind, **sampling}}


@pytest.mark.parametrize("count", [1, 5, 8, 30, 97])
def test_windows_are_those_of_python(opened, count):
    shares = (1.0, 0.667, 0.5)
    snippets = temporal.snippets(count, 8, 4, lambda n, parts: [temporal.spread(n, parts)])
    times = (3 + np.arange(count) / 29.97).tolist()
    for clips, windows, expected in [
        (clips_of("uniform"), "all", [temporal.spread(count, 8)]),
        (clips_of("uniform", spans=shares), "all", temporal.spans(count, 8, shares)),
        (clips_of("uniform"), "3", temporal.even_spreads(count, 8, 3)),
        (clips_of("consecutive", stride=2), "1", [temporal.middle_window(count, 8, 2)]),
        (clips_of("consecutive", stride=1), "4", temporal.even_windows(count, 8, 1, 4)),
        (clips_of("consecutive", stride=1), "all", temporal.sliding_clips(count, 8, 1, 1.0)),
        (clips_of("segments", snippet=4), "all", snippets),
    ]:
        found = in_page(opened, WINDOWS, times, clips, windows)
        # A last window that is not full is looped here, and left out there.
        assert found[: len(expected)] == [row.tolist() for row in expected], (clips, windows)
        assert len(found) <= len(expected) + (count > 8), (clips, windows)


def test_frames_that_the_browser_left_out_are_filled(opened):
    times = [0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9]
    clips = {"frames": 10, "sampling": {"kind": "uniform"}}
    assert in_page(opened, WINDOWS, times, clips, "all") == [[0, 1, 2, 2, 3, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("size", [(480, 640), (300, 200), (40, 60), (1080, 1920)])
@pytest.mark.parametrize("whole", [True, False])
def test_frames_are_cut_as_python_cuts_them(opened, size, whole):
    height, width = size
    image = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8), (width, height)
    )
    rgba = np.dstack([image, np.full(size, 255, np.uint8)])
    clips = {"size": 64, "short_side": 80, "crop": {"kind": "whole" if whole else "multiscale"}}
    script = """
        const { FrameCutter } = await import('./frames.js');
        const [pixels, width, height, clips] = given;
        const canvas = new OffscreenCanvas(width, height);
        const bytes = Uint8ClampedArray.from(atob(pixels), (letter) => letter.charCodeAt(0));
        canvas.getContext('2d').putImageData(new ImageData(bytes, width, height), 0, 0);
        Object.assign(canvas, { videoWidth: width, videoHeight: height });
        return Array.from(new FrameCutter(clips, 1).cut(canvas));
    """
    packed = base64.b64encode(rgba.tobytes()).decode()
    found = np.array(in_page(opened, script, packed, width, height, clips)).reshape(64, 64, 3)
    shrunk = pixels.resize(image, *pixels.shrunk(image, 80))
    crop = (cropping.whole if whole else cropping.center)(*shrunk.shape[:2])
    expected = np.empty((64, 64, 3), np.uint8)
    pixels.fill(expected, shrunk, crop.top, crop.left, crop.height, crop.width, False)
    off = np.abs(found - expected)
    assert off.mean() < 1.5, off.mean()
    assert np.percentile(off, 99) <= 6


def test_the_head_is_the_ridge_regression_of_few(opened):
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [4, 5, 3])
    rows = rng.normal(size=(12, 40)) + 0.7 * rng.normal(size=(3, 40))[labels]
    rows[:, 3] = 2.0
    found = in_page(
        opened,
        "return (await import('./ridge.js')).fit(given[0], given[1], 3)",
        rows.tolist(),
        labels.tolist(),
    )
    ridge = Ridge(rows, 2.0 * np.eye(3)[labels] - 1)
    candidates = []
    for strength in STRENGTHS:
        scores = ridge.held_out(np.arange(12), strength)
        temperature, loss = _temperature(scores, labels)
        candidates.append((loss, strength, temperature, scores))
    _, strength, temperature, scores = min(candidates, key=lambda row: row[0])
    kernel, bias = ridge.linear(strength)
    assert pytest.approx(temperature * kernel, rel=1e-6, abs=1e-9) == np.array(found["kernel"]).T
    assert found["bias"] == pytest.approx((temperature * bias).tolist(), rel=1e-6)
    assert found["heldOut"] == scores.argmax(axis=1).tolist()
