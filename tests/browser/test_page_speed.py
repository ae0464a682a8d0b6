"""How fast the page is, on a machine that does nothing else.

`.venv-browser/bin/python -m pytest -s -m "browser and slow" tests/browser/test_page_speed.py`
"""

from pathlib import Path

import pytest
from browser import Page, serving, write_camera

from keras_r3d import VideoClassifier
from keras_r3d.applications import R3D18
from keras_r3d.data import Clips

pytest_plugins = ["web_pages"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

# How many clips a second another worker scores, with at most as many threads as it is told.
MEASURE = """
    const [threads, count, done] = arguments;
    (async () => {
      const { openModel } = await import("./model.js");
      const { Network } = await import("./network.js");
      const model = await openModel("model.tflite");
      const network = await Network.start(model, { threads, useGpu: false });
      const { frames, size } = model.clips;
      const clip = () => new Uint8Array(frames * size * size * 3).fill(100);
      let milliseconds = 0;
      for (let n = 0; n < count; n += 1) {
        milliseconds += (await network.score([clip()])).milliseconds;
      }
      network.worker.terminate();
      return [network.threads, 1000 * count / milliseconds];
    })().then(done, (error) => done([0, String(error)]));
"""


def export(classifier: VideoClassifier, videos: Path, folder: Path) -> Path:
    return classifier.export("web", folder, data=videos, videos=4, min_agreement=0.0).path


@pytest.fixture(scope="module")
def motion(classifier, videos, tmp_path_factory) -> Path:
    """The folder of a page of the weights "motion", int8."""
    return export(classifier, videos, tmp_path_factory.mktemp("motion") / "page")


def rates(folder: Path, count: int) -> dict[int, float]:
    """Returns windows a second by threads, which are as many as the page takes, and one."""
    with serving(folder) as address, Page(address) as page:
        page.ready()
        page.driver.set_script_timeout(300)
        found = [page.driver.execute_async_script(MEASURE, most, count) for most in (4, 1)]
    print(folder.parent.name, {threads: f"{rate:.1f} windows/s" for threads, rate in found})
    return dict(found)


def test_windows_a_second_of_motion(motion):
    assert rates(motion, 300)[1] >= 100


def test_windows_a_second_of_r3d18(videos, tmp_path):
    clips = Clips(frames=16, size=112)
    labels = sorted(path.name for path in videos.iterdir())
    network = R3D18(input_shape=clips.shape, labels=labels, clips=clips)
    folder = export(VideoClassifier(network), videos, tmp_path / "page")
    assert rates(folder, 12)[1] >= 2


def test_the_page_is_ready_and_keeps_the_rate_of_the_camera(motion, videos, tmp_path):
    camera = tmp_path / "camera.y4m"
    write_camera(camera, videos / "left" / "1.mp4", 1, 1)  # 24 frames a second
    with serving(motion) as address:
        seconds = []
        for _ in range(3):
            with Page(address, camera=camera) as page:
                seconds.append(page.ready())
                page.start_camera()
                page.until("performance.now() > 15000")
                said = page.text("speed")
    print(f"ready in {seconds} s; {said}")
    assert min(seconds) < 2
    assert float(said.split()[-2]) > 0.9 * 24
