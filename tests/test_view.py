"""`python -m keras_r3d.view`: a sheet of training clips."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parent.parent
SMALL = (
    "--recipe=demo",
    "--set=data.size=24",
    "--set=data.frames=4",
    "--set=data.colour_jitter=0.0",
)


def view(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "keras_r3d.view", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_sheet_shows_each_class_in_its_colours(class_folders, tmp_path):
    (class_folders / "red" / "bad.avi").write_text("nothing")
    done = view(class_folders, *SMALL, f"--output={tmp_path / 'a.png'}")
    assert done.returncode == 0, done.stderr
    assert "4 frames of 24x24 pixels, drawn with seed 1" in done.stdout
    picture = cv2.imread(str(tmp_path / "a.png"))[..., ::-1].astype(int)
    red = (picture[..., 0] > 2 * picture[..., 1] + 10).sum()
    green = (picture[..., 1] > 2 * picture[..., 0] + 10).sum()
    blue = (picture[..., 2] > 2 * picture[..., 1] + 10).sum()
    assert min(red, green) > 1000 > blue
    view(class_folders, *SMALL, "--seed=5", f"--output={tmp_path / 'b.png'}")
    other = cv2.imread(str(tmp_path / "b.png"))[..., ::-1]
    assert picture.shape != other.shape or not np.array_equal(picture, other)


def test_what_cannot_be_drawn_is_one_sentence(class_folders, tmp_path):
    (tmp_path / "there.png").write_bytes(b"mine")
    for arguments, message in [
        ([class_folders, f"--output={tmp_path / 'there.png'}"], "exists and is left as it is"),
        ([class_folders, "--output=clips.jpg"], "--output must end in .png. Received: clips.jpg"),
        ([class_folders, "--recipe=dmo"], "Unknown recipe 'dmo'. Did you mean 'demo'?"),
        ([tmp_path / "nowhere", f"--output={tmp_path / 'n.png'}"], "nowhere does not exist"),
        ([], "Missing: SOURCE"),
    ]:
        done = view(*arguments)
        assert done.returncode == 1
        assert message in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "there.png").read_bytes() == b"mine"
