"""Jobs over all videos, from Python; what each does is tested with its room and its command."""

import pytest
from conftest import write_video

from keras_r3d import R3DError, data
from keras_r3d.data import Clips, Whole, open_videos

CLIPS = Clips(frames=4, size=16, flip=False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for name, tint in (("green", (0.2, 1, 0)), ("red", (1, 0.2, 0))):
        for number in range(3):
            write_video(root / name / f"{number}.avi", 20 + number, tint=tint, base=10 * number)
    (root / "red" / "broken.mp4").write_bytes(b"none")
    return root


def test_scan(videos, tmp_path):
    said: list[str] = []
    found = data.scan(videos, min_side=16, say=said.append)
    findings = {one.path.rsplit("/", 1)[1]: set(one.findings) for one in found.examinations}
    assert findings["broken.mp4"] == {"unreadable"}
    assert found.annotations.classes == ["green", "red"]
    for name in ("min_frames", "min_side", "time_limit", "processes"):
        with pytest.raises(R3DError, match=f"`{name}` must be at least 1. Received: 0"):
            data.scan(videos, **{name: 0})
    for path, message in ((videos / "none", "does not exist"), (videos / "red" / "x", "not exist")):
        with pytest.raises(R3DError, match=message):
            data.scan(path)
    (tmp_path / "mine.json").write_text("mine")
    with pytest.raises(R3DError, match=r"mine\.json already exists; choose another `json`"):
        data.scan(videos, json=tmp_path / "mine.json")
    assert (tmp_path / "mine.json").read_text() == "mine"


def test_contact_sheet(videos):
    found = open_videos(videos)
    (page,) = data.contact_sheet(found, CLIPS, per_class=2)
    assert page.get_axes()
    with pytest.raises(R3DError, match="`split` must be one of"):
        data.contact_sheet(found, CLIPS, split="test")


def test_a_store_is_prepared_and_read(videos, tmp_path):
    prepared = data.prepare_store(videos, tmp_path / "store", clips=CLIPS)
    assert prepared.description.videos == 6
    assert [one.status for one in prepared.problems] == ["unreadable"]
    with pytest.raises(R3DError, match="`output` must be a path, or s3://BUCKET"):
        data.prepare_store(videos, "https://b/store", clips=CLIPS)
    with pytest.raises(R3DError, match="is a clip store already"):
        data.prepare_store(tmp_path / "store", tmp_path / "other")
    with pytest.raises(R3DError, match=r"lies in .*, where it would be taken for a class"):
        data.prepare_store(videos, videos / "store")
    with pytest.raises(R3DError, match="and these are whole: pass `levels`, such as 240,120"):
        data.prepare_store(videos, tmp_path / "other", clips=Clips(crop=Whole()))
    with pytest.raises(R3DError, match=r"these are of \[32, 48\] pixels: pass `levels`, such as"):
        data.prepare_store(videos, tmp_path / "other", clips=Clips(size=(32, 48)))
    stored = open_videos(tmp_path / "store")
    ((pixels, labels),) = list(stored.dataset("train", CLIPS.center(), 8))
    assert pixels.shape == (6, 4, 16, 16, 3)
    assert sorted(labels.numpy().tolist()) == [0, 0, 0, 1, 1, 1]
    with pytest.raises(R3DError, match="which holds pictures"):
        stored.dataset("train", Clips(input="dis", flip=False), 4)


def test_flow_is_stored_and_read(videos, tmp_path):
    with pytest.raises(R3DError, match=r"`short_side` must be at least 0\. Received: -1"):
        data.store_flow(videos, tmp_path / "flow", input="dis", short_side=-1)
    flow = data.store_flow(videos, tmp_path / "flow", input="dis", short_side=16)
    assert len(flow.problems) == 1
    clips = Clips(frames=4, size=16, flip=False, input="dis", short_side=16)
    stored = open_videos(tmp_path / "flow")
    ((pixels, _),) = list(stored.dataset("train", clips.center(), 8))
    assert pixels.shape == (6, 4, 16, 16, 2)
    with pytest.raises(R3DError, match="holds flow already"):
        data.store_flow(tmp_path / "flow", tmp_path / "other", input="dis", short_side=16)
