"""What the scripts of a page do, in Chromium; skipped where there is none."""

import json
import re
import shutil
import subprocess

import evaluations
import numpy as np
import predictions
import pytest
from conftest import write_video

from keras_r3d.data.annotations import Video
from keras_r3d.inference.evaluation import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=5000", "--dump-dom"),
)
HELPERS = """
const q = (selector) => document.querySelector(selector);
const put = (selector, value, kind) => {
  q(selector).value = value;
  q(selector).dispatchEvent(new Event(kind));
};
const count = (section) => q(`${section} .tools .dim`).textContent;
const tell = (values) => { document.title = JSON.stringify(values); };
"""


def run(tmp_path, html: str, script: str):
    """Runs a script in a page once it is loaded; returns what it tells."""
    added = f"<script>{HELPERS}addEventListener('load', () => {{ {script} }})</script></body>"
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", added), encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr
    return json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_tables_sort_and_filter_and_the_matrix_picks_videos(tmp_path):
    classes = ["<b>one</b>", *(f"class {number}" for number in range(1, 40))]
    labels = [*range(40)] * 2
    answers = [*range(40), 1, *range(1, 40)]  # one of class 0 is taken for class 1
    rows = [np.where(np.arange(40) == answer, 0.61, 0.01)[None] for answer in answers]
    html = report.page(evaluations.make(classes, labels, rows), None)
    found = run(
        tmp_path,
        html,
        """
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
        tell(told);
        """,
    )
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


def test_the_scores_of_the_moment_follow_the_video(tmp_path):
    path = write_video(tmp_path / "v.avi", 40)  # 4 seconds
    seconds = np.array([[0.0, 2.0], [2.0, 4.0]])
    prediction = predictions.make(
        Video(str(path), ""), ["a", "b"], [[0.9, 0.1], [0.2, 0.8]], seconds=seconds
    )
    html = prediction.save(tmp_path / "p.html").read_text()
    found = run(
        tmp_path,
        html,
        """
        const video = q("#video"), now = () => q("#now td").textContent;
        const told = [now()];
        const second = () => video.currentTime.toFixed(1);
        video.addEventListener("seeked", () => tell([...told, second(), now()]));
        const chart = q("#chart svg").getBoundingClientRect();
        const x = chart.left + 48 + 0.75 * (chart.width - 58);
        q("#chart svg").dispatchEvent(new PointerEvent("pointerdown", { clientX: x }));
        """,
    )
    assert found == ["90.0 %", "3.0", "20.0 %"]
