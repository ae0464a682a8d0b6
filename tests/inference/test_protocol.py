import json

import pytest
from color_model import classifier_of, color_model
from conftest import write_video

from keras_r3d.data.annotations import Video
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.evaluation.evaluating import evaluate_videos
from keras_r3d.system.errors import DataError


def evaluated(videos, clips, batch_size=3):
    classifier = classifier_of(color_model(), clips, batch_size)
    return evaluate_videos(classifier, VideoReader(0, 0), videos, split="test")


@pytest.fixture
def videos(tmp_path) -> list[Video]:
    made = [
        Video(str(write_video(tmp_path / f"r{n}.avi", n, tint=(1, 0, 0), base=100)), "red")
        for n in (3, 10, 17)
    ]
    # Labeled "red", but green.
    wrong = write_video(tmp_path / "g.avi", 8, tint=(0, 1, 0), base=100)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    return [*made, Video(str(broken), "green"), Video(str(wrong), "red")]


def test_every_video_is_scored_once_and_errors_count_wrong(videos, small):
    evaluation = evaluated(videos, small.clips)
    figures = evaluation.figures()
    assert figures["videos"] == 5
    assert figures["errors"] == 1
    assert figures["windows"] == 1 + 3 + 5 + 2
    assert figures["clip_top1"] == pytest.approx(9 / 11)
    assert figures["video_top1"] == pytest.approx(3 / 5)
    assert figures["readable_video_top1"] == pytest.approx(3 / 4)
    assert figures["clip_top5"] == 1
    assert figures["video_top5"] == pytest.approx(4 / 5)
    records = evaluation.records()
    assert [r["video"] for r in records] == [v.name for v in videos]
    assert [r["windows"] for r in records] == [1, 3, 5, 0, 2]
    assert [r["status"] for r in records] == ["ok", "ok", "ok", "error", "ok"]
    assert "cannot be opened" in records[3]["detail"]
    assert [r.get("correct") for r in records] == [True, True, True, None, False]
    assert evaluation.confusion().tolist() == [[0, 0], [1, 3]]


def test_scores_do_not_depend_on_batches(videos, small):
    first, second = (evaluated(videos, small.clips, n) for n in (1, 4))
    assert first.video_scores == pytest.approx(second.video_scores, abs=1e-6, nan_ok=True)


def test_the_report_is_written(videos, small, tmp_path):
    evaluation = evaluated(videos, small.clips)
    text = str(evaluation)
    assert "81.8%" in text
    assert "60.0%" in text
    assert "broken.mp4" in text
    evaluation.save(tmp_path / "out")
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    keys = {"videos", "errors", "clip_top1", "clip_top5", "video_top1", "video_top5"}
    assert keys <= set(written)
    assert written["split"] == "test"
    assert len(written["records"]) == 5
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "mistakes.png").is_file()


def test_an_unknown_class_is_named(videos, small):
    message = r"1 of the 1 videos of split 'test' have .*: 'blue' \(1\); for example, .*r3\.avi"
    with pytest.raises(DataError, match=message):
        evaluated([Video(videos[0].path, "blue")], small.clips)


def test_no_readable_video_is_an_error(videos, small):
    with pytest.raises(DataError, match=r"None of the 1 videos of split .test. can be read"):
        evaluated([videos[3]], small.clips)


def test_a_looped_video_is_said(videos, small):
    evaluation = evaluated(videos[:2], small.clips)
    first, second = evaluation.records()
    assert first["status"] == second["status"] == "ok"
    assert first["detail"].endswith("r3.avi: 3 frames, repeated to the 4 of a clip.")
    assert "detail" not in second
    assert "Shorter than a clip:" in str(evaluation)
