import io

import av
import evaluations
import numpy as np
import pytest
from conftest import frame_numbers, write_video
from html_pages import Page

from keras_r3d.data.decoding import video_writer
from keras_r3d.data.decoding.video_reader import VideoReader
from keras_r3d.inference.evaluation import mistakes, report

ODD = ["<script>alert('a')</script>", '\u202eمشي & "b"</td>', "{{ 7 * 7 }}"]


def page(evaluation) -> Page:
    return Page(report.page(evaluation, mistakes.read(evaluation)))


def test_names_that_are_html_stay_names(tmp_path):
    path = write_video(tmp_path / "<img src=x onerror=alert(1)>.avi", 12)
    wrong = [[[0.1, 0.9, 0.0]]]
    odd = evaluations.make(ODD, [0], wrong, paths=[path], reader=VideoReader(0, 0), split="<b>")
    plain = evaluations.make(
        ["a", "b", "c"], [0], wrong, paths=[path], reader=VideoReader(0, 0), split="x"
    )
    found = page(odd)
    assert found.tags == page(plain).tags
    assert found.tags["video"] == 1
    assert not found.tags["img"]
    assert {ODD[0], ODD[1], path.name, "Evaluation · <b>"} <= set(found.texts)
    assert found.values("classes", "class") == ODD
    assert found.values("videos", "video") == [path.name]
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_the_page_has_the_figures_and_every_video():
    evaluation = evaluations.make(
        ["a", "b"],
        [0, 0, 1],
        [[[0.8, 0.2]], [[0.3, 0.7]], []],
        errors={2: "cannot be opened"},
        paths=["/set/a/1.avi", "/set/a/2.avi", "/set/b/3.avi"],
    )
    found = page(evaluation)
    assert found.values("videos", "video") == ["a/1.avi", "a/2.avi", "b/3.avi"]
    assert found.values("videos", "true") == ["a", "a", "b"]
    assert found.values("videos", "predicted") == ["a", "b", ""]
    assert found.values("videos", "score") == [0.8, 0.7, None]
    assert found.values("videos", "") == ["right", "wrong", "no score"]
    assert found.values("videos", "remark") == ["", "", "cannot be opened"]
    assert found.values("classes", "recall") == [0.5, 0.0]
    assert found.data["confusion"] == [[0, 0, 1], [0, 1, 1]]
    assert sum(found.data["bins"]["counts"]) == 2
    assert {"video top-1", "33.3 %", "(6.1 – 79.2)"} <= set(found.texts)
    assert evaluation.floor() in found.texts


def test_without_any_score_the_page_says_so():
    evaluation = evaluations.make(["a", "b"], [0, 1], [[], []], errors={0: "gone", 1: "gone"})
    found = page(evaluation)
    assert found.values("videos", "") == ["no score"] * 2
    assert found.data["confusion"] == []
    assert "–" in found.texts  # accuracy of those that can be read
    assert not found.tags["video"]


@pytest.mark.parametrize(("videos", "classes"), [(2000, 1000), (1, 1)])
def test_any_number_of_classes_and_videos(videos, classes):
    evaluation = evaluations.random(np.random.default_rng(0), videos, classes)
    html = report.page(evaluation, None)
    assert len(html) < 500_000
    assert len(Page(html).values("videos", "video")) == videos
    assert len(Page(html).values("classes", "class")) == classes


def test_mistakes_play_at_the_pace_of_the_video(tmp_path):
    path = write_video(tmp_path / "v.avi", 20)  # at 10 frames a second
    evaluation = evaluations.make(
        ["a", "b"], [0], [[[0.1, 0.9]]], paths=[path], reader=VideoReader(0, 0)
    )
    (mistake,) = mistakes.read(evaluation).shown
    clip = video_writer.encode(zip(mistake.seconds, mistake.frames, strict=True))
    frames = list(av.open(io.BytesIO(clip)).decode(video=0))
    assert [round(frame.time, 2) for frame in frames] == [n / 10 for n in range(20)]
    shown = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    assert frame_numbers(shown) == list(range(20))


def test_curves_are_those_of_the_log(tmp_path):
    log = "epoch,loss,val_loss,clip_top1,val_clip_top1,learning_rate\n1,2.0,3.0,0.5,,0.1\n"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(log)
    loss, accuracy, rate = report.curves({"a": tmp_path / "a", "b": tmp_path / "b"})
    names = ["a training", "a validation", "b training", "b validation"]
    assert [line["name"] for line in loss["series"]] == names
    assert [line["y"].tolist() for line in loss["series"]] == [[2.0], [3.0]] * 2
    assert [line["name"] for line in accuracy["series"]] == ["a training", "b training"]
    assert [line["name"] for line in rate["series"]] == ["a", "b"]
    assert report.curves({"": tmp_path}) == []


def test_odd_bytes_and_passwords_of_names_are_not_written(tmp_path):
    paths = ["/set/\udcff.avi", "https://me:secret@host/store/a.avi"]
    evaluation = evaluations.make(
        *(["a", "b"], [0, 0], [[[0.9, 0.1]], []]),
        paths=paths,
        errors={1: "https://me:secret@host/store/a.avi: gone"},
        described={"data_dir": "https://me:secret@host/store"},
    )
    evaluation.save(tmp_path / "out")
    for name in ("report.html", "evaluation.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "\\xff.avi" in text
        assert 'me:secret@host/store/a.avi"' not in text
    html = (tmp_path / "out" / "report.html").read_text()
    assert "https://host/store" in html
