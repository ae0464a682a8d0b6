"""The lists of Kinetics, ActivityNet, UCF101 and HMDB51, and of the authors' code."""

import json

import pytest

from keras_r3d.data import annotations
from keras_r3d.data.annotations import Video
from keras_r3d.data.opening import open_source
from keras_r3d.recipe import Clips, VideoList
from keras_r3d.system.errors import DataError

HEADER = "label,youtube_id,time_start,time_end,split\n"


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(found, split="train"):
    return sorted((video.path.rpartition("/")[2], video.label) for video in found.splits[split])


def notes(found) -> str:
    return "\n".join(found.notes)


def test_kinetics_from_two_files_in_a_folder(tmp_path):
    touch(
        tmp_path,
        "train/abc_000001_000011.mp4",  # as CVDF lays them out
        "train/playing piano/-x_y_000100_000110.mkv",
        "val/zz_000000_000010.mp4",
        "val/other.mp4",
    )
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.csv").write_text(
        HEADER
        + 'playing piano,-x_y,100,110,train\n"abseiling",abc,1,11,train\n'
        + "abseiling,gone,5,15,train\nabseiling,abc,1,11,train\n"
    )
    (lists / "validate.csv").write_text(HEADER + "abseiling,zz,0,10,validate\n")
    (lists / "test.csv").write_text("youtube_id,time_start,time_end,split\nq,0,10,test\n")
    (lists / "readme.csv").write_text("something,else\n")
    found = annotations.read(tmp_path, "lists")
    assert found.classes == ["abseiling", "playing piano"]
    assert names(found) == [
        ("-x_y_000100_000110.mkv", "playing piano"),
        ("abc_000001_000011.mp4", "abseiling"),
    ]
    assert names(found, "validation") == [("zz_000000_000010.mp4", "abseiling")]
    for note in (
        "train 2 of 3 (66.7 %), validation 1 of 1 (100.0 %)",
        "1 listed videos are missing: gone_000005_000015",
        "1 listed videos have no label",
        "1 videos are listed twice and count once: abc_000001_000011",
        "1 videos are not listed and skipped: ",
    ):
        assert note in notes(found)


def test_a_whole_kinetics_video_is_cut(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "k.csv").write_text(HEADER + "x,a,30,40,train\ny,b,5,15,train\n")
    found = annotations.read(tmp_path, "k.csv")
    assert found.splits["train"] == [
        Video(str(tmp_path / "a.mp4"), "x", 30.0, 40.0),
        Video(str(tmp_path / "b.mp4"), "y", 5.0, 15.0),
    ]
    assert annotations.read(tmp_path / "k.csv", "auto") == found


def test_a_video_of_two_splits_stays_in_the_first(tmp_path):
    touch(tmp_path, "a_000000_000010.mp4", "b_000000_000010.mp4")
    rows = "x,a,0,10,train\ny,b,0,10,train\nx,a,0,10,validate\nx,gone,0,10,test\n"
    (tmp_path / "k.csv").write_text(HEADER + rows)
    found = annotations.read(tmp_path, "k.csv")
    assert {split: len(videos) for split, videos in found.splits.items()} == {"train": 2}
    assert "train 2 of 2 (100.0 %), test 0 of 1 (0.0 %)." in notes(found)
    assert "1 videos are listed twice and count once: a_000000_000010" in notes(found)
    assert "k.csv, line 4" in notes(found)


def test_classes_without_training_videos_are_skipped(tmp_path):
    touch(tmp_path, *(f"{name}_000000_000010.mp4" for name in "abcd"))
    rows = "x,a,0,10,train\ny,b,0,10,train\nz,c,0,10,validate\nx,d,0,10,validate\n"
    (tmp_path / "k.csv").write_text(HEADER + rows)
    found = annotations.read(tmp_path, "k.csv")
    assert names(found, "validation") == [("d_000000_000010.mp4", "x")]
    assert "1 classes without training videos are skipped: z." in notes(found)


def activitynet(path, database):
    path.write_text(json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": database}))


def test_activitynet_s_segments_are_its_samples(tmp_path):
    touch(tmp_path, "v_one.mp4", "two.mp4")
    first = {"label": "Surfing", "segment": [10.5, 20]}
    second = {"label": "Ironing clothes", "segment": [30, 40]}
    activitynet(
        tmp_path / "activity_net.json",
        {
            "one": {"subset": "training", "annotations": [first, second], "duration": 50},
            "two": {"subset": "validation", "annotations": [first]},
            "gone": {"subset": "training", "annotations": [first]},
            "secret": {"subset": "testing", "annotations": []},
        },
    )
    found = annotations.read(tmp_path, "activity_net.json")
    path = str(tmp_path / "v_one.mp4")
    assert found.splits["train"] == [
        Video(path, "Surfing", 10.5, 20),
        Video(path, "Ironing clothes", 30, 40),
    ]
    assert names(found, "validation") == [("two.mp4", "Surfing")]
    assert "train 2 of 3 (66.7 %)" in notes(found)
    assert "missing: gone [10.5-20 s]" in notes(found)
    assert "1 listed videos have no label" in notes(found)


def test_the_authors_json_has_trimmed_videos(tmp_path):
    touch(tmp_path, "jpg/a/a1.avi", "jpg/b/b1.avi", "jpg/b/b2.avi")
    activitynet(
        tmp_path / "ucf101_01.json",
        {
            "a1": {"subset": "training", "annotations": {"label": "a"}},
            "b1": {"subset": "training", "annotations": {"label": "b"}},
            "b2": {"subset": "validation", "annotations": {"label": "b"}},
        },
    )
    found = annotations.read(tmp_path, "ucf101_01.json")
    assert names(found) == [("a1.avi", "a"), ("b1.avi", "b")]
    assert found.splits["train"][0].name == str(tmp_path / "jpg" / "a" / "a1.avi")


def test_the_splits_of_ucf101(tmp_path):
    touch(tmp_path, "Archery/v_Archery_g01_c01.avi", "Biking/v_Biking_g02_c01.avi", "v_t.avi")
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\r\n2 Biking\r\n")
    (lists / "trainlist02.txt").write_text(
        "Archery/v_Archery_g01_c01.avi 1\r\nBiking/v_Biking_g02_c01.avi 2\r\n"
    )
    (lists / "testlist02.txt").write_text("Biking/v_t.avi\r\n")
    found = annotations.read(tmp_path, "ucfTrainTestlist/2")
    assert [label for _, label in names(found)] == ["Archery", "Biking"]
    assert names(found, "test") == [("v_t.avi", "Biking")]
    assert annotations.has(tmp_path, "ucfTrainTestlist/2")
    assert not annotations.has(tmp_path, "ucfTrainTestlist/1")
    for half in ("ucfTrainTestlist", "ucfTrainTestlist/1", "ucfTrainTestlist/trainlist02.txt"):
        with pytest.raises(DataError, match=r"such as ucfTrainTestlist/2\. There are 2\."):
            annotations.read(tmp_path, half)
    for wrong, message in [("Archery", "holds no lists"), ("no.json", "does not exist")]:
        with pytest.raises(DataError, match=message):
            annotations.read(tmp_path, wrong)
    (lists / "testlist02.txt").unlink()
    with pytest.raises(DataError, match=r"testlist02\.txt is missing beside"):
        annotations.read(tmp_path, "ucfTrainTestlist/2")


def test_the_splits_of_hmdb51(tmp_path):
    odd = "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi"
    touch(tmp_path, f"clap/{odd}", "clap/same.avi", "wave/same.avi", "wave/out.avi", "wave/t.avi")
    lists = tmp_path / "splits"
    lists.mkdir()
    (lists / "clap_test_split1.txt").write_text(f"{odd} 1 \nsame.avi 1\n")
    (lists / "wave_test_split1.txt").write_text("same.avi 1 \nout.avi 0 \nt.avi 2 \n")
    (lists / "wave_test_split2.txt").write_text("same.avi 2 \n")
    found = annotations.read(tmp_path, "splits/1")
    assert names(found) == [(odd, "clap"), ("same.avi", "clap"), ("same.avi", "wave")]
    assert len({video.path for video in found.splits["train"]}) == 3
    assert names(found, "test") == [("t.avi", "wave")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,,0,10,train", r"line 2: youtube_id must not be empty.*Received: '' and 'train'"),
        ("x,a,0,10,trian", r"line 2: .*split must be one of .*Received: 'a' and 'trian'"),
        ("x,a,ten,20,train", "line 2: time_start and time_end must be seconds.*'ten' and '20'"),
        ("x,a,20,10,train", "line 2: time_start and time_end must be seconds.*'20' and '10'"),
        ("x,a,0", "line 2: .*Received: 'a' and ''"),
        ("x,nowhere,0,10,train", r"None of the 1 labeled .*: nowhere_000000_000010\.mp4, for one"),
        ("x,a,0,10,train\nX ,b,0,10,train", "labels 'X' and 'x' differ only by case or spaces"),
        ("x,twice,0,10,train", r"line 2: twice_000000_000010 lies in two places: .*Remove one"),
    ],
)
def test_broken_rows_of_kinetics_are_named(tmp_path, row, message):
    touch(tmp_path, "a_000000_000010.mp4", "b_000000_000010.mp4")
    touch(tmp_path, "one/twice_000000_000010.mp4", "two/twice_000000_000010.mp4")
    (tmp_path / "k.csv").write_text(HEADER + row + "\n")
    with pytest.raises(DataError, match=message):
        annotations.read(tmp_path, "k.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file in UTF-8"),
        ("[" * 100_000, "is not a JSON file in UTF-8"),
        ("[]", 'must have a "database"'),
        ('{"database": []}', 'must have a "database"'),
        ('{"database": {"a": 3}}', """video 'a': "subset" must be one of"""),
        ('{"database": {"a": {"subset": "holdout"}}}', '"subset" must be one of'),
        ('{"database": {"a": {"subset": "test", "annotations": 3}}}', "must be a list of segments"),
        (
            '{"database": {"a": {"subset": "training", "annotations": [{"segment": [1, 0]}]}}}',
            r"video 'a', segment 1: \"segment\" must be two numbers .*Received: \[1, 0\]",
        ),
        (
            '{"database": {"a": {"subset": "training", "annotations": [{"segment": ["1", 2]}]}}}',
            r"\"segment\" must be two numbers",
        ),
        (
            '{"database": {"a": {"subset": "training", "annotations": [{"segment": [1, 2]}]}}}',
            '"label" must be a line of text. Received: None',
        ),
        (
            '{"database": {"a": {"subset": "training", "annotations": {"label": "x\\ny"}}}}',
            '"label" must be a line of text',
        ),
    ],
)
def test_broken_json_is_named(tmp_path, content, message):
    touch(tmp_path, "a.mp4")
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=message):
        annotations.read(tmp_path, "a.json")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        (
            "trainlist01.txt",
            "v_Archery.avi 1",
            r"01\.txt, line 2: expected CLASS/video\.avi",
        ),
        (
            "clap_test_split1.txt",
            "a.avi",
            r"split1\.txt, line 2: expected video\.avi and",
        ),
        ("clap_test_split1.txt", "a.avi 3", "line 2: expected video.avi and 0, 1 or 2"),
    ],
)
def test_broken_lines_of_official_splits_are_named(tmp_path, file, line, message):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "testlist01.txt").write_text("")
    (tmp_path / "lists" / file).write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=message):
        annotations.read(tmp_path, "lists/1")


def test_segments_that_cannot_be_are_left_aside_or_clipped(tmp_path):
    touch(tmp_path, "v_a.mp4", "v_b.mp4")
    segments = [[0.5, 2.5], [0, 0], [2, 1], [-1, 1], [2, 9], [3, 4], [-3, -1], [None, 2]]
    listed = [{"segment": segment, "label": "x"} for segment in segments]
    activitynet(
        tmp_path / "net.json",
        {
            "a": {"duration": 3, "subset": "training", "annotations": listed},
            "b": {
                "subset": "training",
                "annotations": [{"segment": [1, 2], "label": label} for label in ("y", "z", "")],
            },
            "c": {"subset": "holdout"},
        },
    )
    found = annotations.read(tmp_path, "net.json")
    assert [(v.label, v.start_seconds, v.end_seconds) for v in found.splits["train"]] == [
        ("x", 0.5, 2.5),
        ("x", 0, 1),
        ("x", 2, 3),
        ("y", 1, 2),
    ]
    assert "2 segments reach out of their videos and are clipped: a [-1-1 s], a [2-9 s]." in notes(
        found
    )
    assert "8 entries cannot be used and are skipped: " in notes(found)
    assert (
        "video 'a', segment 2: \"segment\" must be two numbers of seconds of a video of 3 s, the "
        "first below the second. Received: [0, 0]"
    ) in notes(found)


def test_bad_rows_of_kinetics_do_not_stop_the_others(tmp_path):
    touch(tmp_path, "a_000000_000010.mp4", "b_000000_000010.mp4")
    rows = "x,a,0,10,train\ny,b,0,10,train\nz,b,0,10,train\nx,q,ten,20,train\nx,,0,1,train\n"
    (tmp_path / "k.csv").write_text(HEADER + rows)
    found = annotations.read(tmp_path, "k.csv")
    assert names(found) == [("a_000000_000010.mp4", "x"), ("b_000000_000010.mp4", "y")]
    assert "3 entries cannot be used and are skipped: " in notes(found)
    assert "000010.mp4 is labeled 'z', but 'y' in" in notes(found)


def test_files_that_are_trimmed_already_are_whole(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "k.csv").write_text(HEADER + "x,a,30,40,train\ny,b,5,15,train\n")
    found = annotations.read(tmp_path, "k.csv", trimmed=True)
    assert found.splits["train"] == [
        Video(str(tmp_path / "a.mp4"), "x"),
        Video(str(tmp_path / "b.mp4"), "y"),
    ]
    listed = VideoList("k.csv", 0.1, trimmed=True)
    opened = open_source(tmp_path, Clips(), listed, seed=1)
    assert opened.annotations.splits == found.splits
