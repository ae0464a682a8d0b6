import json

import evaluations
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation import submission

CLASSES = [f"class {number}" for number in range(6)]
SCORES = [[0.3, 0.25, 0.2, 0.15, 0.06, 0.04]]


def make(paths, windows=None, **other):
    count = len(paths)
    return evaluations.make(CLASSES, [0] * count, windows or [SCORES] * count, paths=paths, **other)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/k/abseiling/-3B32lodo2M_000059_000069.mp4", "-3B32lodo2M"),
        ("/a/v_wONwHYy59Tc.mp4", "wONwHYy59Tc"),
        ("/a/wONwHYy59Tc.mkv", "wONwHYy59Tc"),
        ("/a/v_abcdefghi.mp4", "v_abcdefghi"),  # an ID that begins with v_
        ("/a/v_v_abcdefghi.mp4", "v_abcdefghi"),
        ("/u/v_Archery_g01_c02.avi", "v_Archery_g01_c02"),
        ("/x/my holiday.mov", "my holiday"),
        ("/x/video.of.me.mp4", "video.of.me"),
    ],
)
def test_ids(path, name):
    assert submission.video_id(path) == name


@given(st.from_regex(r"[A-Za-z0-9_-]{11}", fullmatch=True))
def test_every_youtube_id_is_found_in_all_the_names_of_its_files(name):
    stems = (name, f"v_{name}", f"{name}_000010_000020")
    assert {submission.video_id(f"/d/{stem}.mp4") for stem in stems} == {name}


def test_the_file_of_kinetics(tmp_path):
    evaluation = make(
        ["/k/-3B32lodo2M_000059_000069.mp4", "/k/broken.mp4"], [SCORES, []], errors={1: "broken"}
    )
    notes = submission.write(evaluation, "kinetics", tmp_path / "s.json", "ImageNet: first weights")
    written = json.loads((tmp_path / "s.json").read_text())
    assert set(written) == {"version", "results", "external_data"}
    assert written["version"] == "KINETICS VERSION 1.0"
    assert written["external_data"] == {"used": True, "details": "ImageNet: first weights"}
    assert list(written["results"]) == ["-3B32lodo2M"]
    top = written["results"]["-3B32lodo2M"]
    assert [one["label"] for one in top] == CLASSES[:5]
    assert top[0]["score"] == pytest.approx(0.3)
    assert len(notes) == 1
    assert notes[0].startswith("1 videos without a score are not in the file")
    assert notes[0].endswith("broken")


def test_the_file_of_activitynet_has_all_scores():
    content, notes = submission.results(make(["/a/v_wONwHYy59Tc.mp4"]), "activitynet")
    assert content["version"] == "VERSION 1.3"
    assert content["external_data"] == {"used": False, "details": ""}
    assert [one["label"] for one in content["results"]["wONwHYy59Tc"]] == CLASSES
    assert notes == []


def test_segments_of_a_video_are_averaged_and_said():
    path = "/a/v_wONwHYy59Tc.mp4"
    segments = [Video(path, CLASSES[0], 0, 5), Video(path, CLASSES[1], 7, 9)]
    other = [[0.1, 0.75, 0.0, 0.05, 0.06, 0.04]]
    content, notes = submission.results(make(segments, [SCORES, other]), "activitynet")
    first, second = content["results"]["wONwHYy59Tc"][:2]
    assert first == {"label": "class 1", "score": pytest.approx(0.5)}
    assert second == {"label": "class 0", "score": pytest.approx(0.2)}
    assert "1 videos have several segments, whose scores were averaged" in notes[0]


def test_two_files_of_one_id_are_an_error():
    evaluation = make(["/a/one/video.mp4", "/a/two/video.mp4"])
    with pytest.raises(submission.SubmissionError, match="2 files have the id 'video': /a/one/"):
        submission.results(evaluation, "kinetics")


def test_an_unknown_challenge_is_an_error():
    with pytest.raises(submission.SubmissionError, match=r"one of .*'kinetics'.*Received: ucf101"):
        submission.results(make(["/a/b.mp4"]), "ucf101")
