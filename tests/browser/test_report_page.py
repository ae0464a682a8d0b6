"""What the scripts of a report do, in Chromium (`make test-browser`)."""

import evaluations
import numpy as np
import predictions
import pytest
from browser import HTML, Page
from conftest import write_video

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation import report
from keras_r3d.inference.segments.finding import Segment
from keras_r3d.inference.segments.segmenting import VideoSegments

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
HELPERS = """
const q = (selector) => document.querySelector(selector);
const put = (selector, value, kind) => {
  q(selector).value = value;
  q(selector).dispatchEvent(new Event(kind));
};
const count = (section) => q(`${section} .tools .dim`).textContent;
"""


def test_tables_sort_and_filter_and_the_matrix_picks_videos(tmp_path):
    classes = ["<b>one</b>", *(f"class {number}" for number in range(1, 40))]
    labels = [*range(40)] * 2
    answers = [*range(40), 1, *range(1, 40)]  # one of class 0 is taken for class 1
    rows = [np.where(np.arange(40) == answer, 0.61, 0.01)[None] for answer in answers]
    page = tmp_path / "report.html"
    page.write_text(report.page(evaluations.make(classes, labels, rows), None), encoding="utf-8")
    script = """
        const told = [count("#videos"), count("#confusion")];
        put("#videos input", "<B>ONE", "input");
        told.push(count("#videos"));
        put("#videos input", "", "input");
        put("#videos select", "wrong", "change");
        told.push(count("#videos"));
        put("#videos select", "", "change");
        const recall = () => {
          q("#classes th:nth-child(4) button").click();
          return q("#classes td").textContent;
        };
        told.push(recall(), recall());
        put("#confusion input", "one", "input");
        told.push(count("#confusion"), q("#confusion td button").textContent);
        q("#confusion td button").click();
        told.push(count("#videos"));
        return told;
        """
    with Page(page.as_uri()) as opened:
        found = opened.run(HELPERS + script)
    assert found == [
        "1–25 of 80 videos",
        "30 of 40 classes, those with the most mistakes",
        "1–2 of 2 videos",
        "1–1 of 1 videos",
        "class 1",  # the best recall first
        "<b>one</b>",
        "1 of 40 classes",
        "1",
        "1–1 of 1 videos",
    ]


def test_a_segment_is_gone_to_and_marked_where_it_is(tmp_path):
    path = write_video(tmp_path / "v.avi", 40)  # 4 seconds
    seconds = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    scored = predictions.make(
        Video(str(path), ""), ["a", HTML], [[0.9, 0.1], [0.2, 0.8]] * 2, seconds=seconds
    )
    found = [Segment(1.0, 2.0, HTML, 0.8), Segment(3.0, 4.0, HTML, 0.8), Segment(1.5, 3, "a", 0.6)]
    page = VideoSegments(**vars(scored), segments=found).save(tmp_path / "p.html")
    script = """
        const video = q("#video"), at = () => q(".strips").style.getPropertyValue("--at");
        const parts = [...document.querySelectorAll(".strips button")];
        window.told = [count("#segments"), parts.map((part) => part.style.left).join()];
        const tops = parts.map((part) => part.getBoundingClientRect().top);
        told.push(tops.map((top) => top - tops[0] > 20).join(), q(".strips div").clientHeight > 40);
        const tell = () => told.push(video.currentTime, at(), parts[2].textContent);
        video.addEventListener("seeked", tell);
        parts[2].click();
        """
    with Page(page.as_uri()) as opened:
        opened.run(HELPERS + script)
        opened.until("window.told.length === 7")
        assert opened.run("return told") == [
            *("1–3 of 3 segments", "25%,37.5%,75%", "false,true,false", True),
            *(3, "75%", HTML),
        ]


def test_the_scores_of_the_moment_follow_the_video(tmp_path):
    path = write_video(tmp_path / "v.avi", 40)  # 4 seconds
    seconds = np.array([[0.0, 2.0], [2.0, 4.0]])
    prediction = predictions.make(
        Video(str(path), ""), ["a", "b"], [[0.9, 0.1], [0.2, 0.8]], seconds=seconds
    )
    page = prediction.save(tmp_path / "p.html")
    script = """
        const video = q("#video"), now = () => q("#now td").textContent;
        window.told = [now()];
        const second = () => video.currentTime.toFixed(1);
        video.addEventListener("seeked", () => told.push(second(), now()));
        const chart = q("#chart svg").getBoundingClientRect();
        const x = chart.left + 48 + 0.75 * (chart.width - 58);
        q("#chart svg").dispatchEvent(new PointerEvent("pointerdown", { clientX: x }));
        """
    with Page(page.as_uri()) as opened:
        opened.run(HELPERS + script)
        opened.until("window.told.length === 3")
        assert opened.run("return told") == ["90.0 %", "3.0", "20.0 %"]
