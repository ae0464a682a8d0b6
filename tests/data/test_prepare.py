"""Preparing: interrupted and gone on with, what is refused, what is left out; and the command."""

import csv
import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import commands
import cv2
import numpy as np
import pytest
from conftest import frame_numbers, read, write_video
from prepared import content, inline, job, prepare, prepare_job

from keras_r3d import data
from keras_r3d import prepare as prepare_command
from keras_r3d.data import annotations
from keras_r3d.data.opening import open_source
from keras_r3d.data.store import Store, StoreReader, encoding, format, planning
from keras_r3d.data.store.verifying import verify
from keras_r3d.system import files, workers
from keras_r3d.system.command import INTERRUPTED
from keras_r3d.system.errors import R3DError, StoreError
from keras_r3d.system.work import Spread

ROOT = Path(__file__).parents[2]


def command(*words, code: int = 0) -> str:
    return commands.output(prepare_command.main, *words, code=code)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Eight sound videos and two broken ones; not to be changed."""
    root = tmp_path_factory.mktemp("source")
    for number in range(4):
        write_video(root / "red" / f"{number}.avi", 8 + number, 48, 64, tint=(1, 0.2, 0.2))
        write_video(root / "green" / f"{number}.avi", 8 + number, 64, 48, tint=(0.2, 1, 0.2))
    (root / "green" / "1b.avi").write_bytes(b"")
    (root / "red" / "0b.avi").write_text("no video")
    return root


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> dict[str, bytes]:
    """The files of a store that nothing interrupted."""
    store = tmp_path_factory.mktemp("whole") / "store"
    prepare(source, store, shard_bytes=30_000)
    return content(store)


def test_broken_videos_are_left_out_and_named(source, whole, tmp_path):
    prepared = prepare(source, tmp_path / "store", shard_bytes=30_000)
    assert content(tmp_path / "store") == whole
    assert prepared.description.videos == 8
    assert prepared.partial == []
    assert [Path(p.name).name for p in prepared.problems] == ["1b.avi", "0b.avi"]
    rows = list(csv.DictReader(whole["problems.csv"].decode().splitlines()))
    assert [(row["video"], row["status"]) for row in rows] == [
        (str(source / "green/1b.avi"), "unreadable"),
        (str(source / "red/0b.avi"), "unreadable"),
    ]
    assert rows[0]["detail"].endswith("the file is empty.")
    assert sum(name.startswith("shards/") for name in whole) > 2
    store = Store(tmp_path / "store")
    assert store.names == sorted(f"{c}/{n}.avi" for c in ("red", "green") for n in range(4))


def test_any_number_of_processes_makes_the_same_bytes(source, whole, tmp_path):
    for processes in (1, 3):
        store = tmp_path / str(processes)
        prepare_job(job(source), store, workers.run, processes=processes, shard_bytes=30_000)
        assert content(store) == whole


class Killed(BaseException):
    """Stands for a kill: nothing is caught, and nothing tidied."""


@pytest.fixture
def kill(monkeypatch):
    """Ends a process "at once" at the n-th file operation: what would tidy up does nothing more."""

    def arm(at: int) -> list[int]:
        count = [0]

        def counted(function):
            def call(*arguments, **options):
                count[0] += 1
                if count[0] >= at:
                    raise Killed
                return function(*arguments, **options)

            return call

        for place, name in [
            (shutil, "copyfileobj"),
            (shutil, "rmtree"),
            (os, "fsync"),
            (os, "replace"),
            (os, "link"),
            (Path, "unlink"),
            (Path, "mkdir"),
        ]:
            monkeypatch.setattr(place, name, counted(getattr(place, name)))
        return count

    return arm


def interrupted(source: Path, store: Path, kill, monkeypatch, at: int) -> bool:
    """Prepares until the n-th file operation; returns whether there was one."""
    with monkeypatch.context():
        kill(at)
        try:
            prepare(source, store, shard_bytes=30_000)
        except Killed:
            return True
        finally:
            monkeypatch.undo()
    return False


@pytest.mark.parametrize(
    ("step", "twice"),
    [
        pytest.param(13, False, marks=pytest.mark.slow),
        (17, True),
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_operation_is_resumed_from(
    source, whole, tmp_path, kill, monkeypatch, step, twice
):
    at = 1
    while interrupted(source, tmp_path / "store", kill, monkeypatch, at):
        if (tmp_path / "store").exists() and (tmp_path / "store" / "store.json").exists():
            Store(tmp_path / "store")  # it is complete then
        if not twice or interrupted(source, tmp_path / "store", kill, monkeypatch, at):
            prepare(source, tmp_path / "store", shard_bytes=30_000)
        assert content(tmp_path / "store") == whole, at
        shutil.rmtree(tmp_path / "store")
        at += step
    assert at > 60


def test_files_of_others_in_the_store_do_not_matter(source, whole, tmp_path):
    store = tmp_path / "store"
    (tmp_path / "junk").mkdir()

    def run(*arguments, **options):
        (store / "shards").mkdir(exist_ok=True)
        (store / "shards" / ".DS_Store").write_bytes(b"junk")
        return inline(*arguments, **options)

    prepare(source, store, shard_bytes=30_000, run=run)
    assert {n: c for n, c in content(store).items() if "DS_Store" not in n} == whole
    assert verify(store, progress=lambda done, of: None).damage == []


def test_a_store_among_the_videos_is_refused(source, tmp_path):
    shutil.copytree(source, tmp_path / "videos")
    for output in (tmp_path / "videos" / "store", tmp_path / "videos"):
        with pytest.raises(R3DError, match="would be taken for a class: choose a folder elsewhere"):
            data.prepare_store(tmp_path / "videos", output, levels="32")
    assert content(tmp_path / "videos") == content(source)


def test_a_store_is_no_source(source, tmp_path):
    prepare(source, tmp_path / "store")
    with pytest.raises(StoreError, match="is a clip store already: name the videos"):
        data.prepare_store(tmp_path / "store", tmp_path / "again")


def test_paths_above_the_list_and_their_quarantine(source, tmp_path):
    (tmp_path / "lists").mkdir()
    rows = [f"../{source.name}/{label}/{n}.avi,{label}" for label in ("red", "green") for n in "02"]
    shutil.copytree(source, tmp_path / source.name)
    (tmp_path / "lists" / "my.csv").write_text("\n".join(["path,label", *rows]))
    prepare(tmp_path / "lists" / "my.csv", tmp_path / "store")
    opened = Store(tmp_path / "store")
    assert all(video.path == os.path.normpath(video.path) for video in opened.videos)
    StoreReader(opened).check(opened.videos[0])


def test_shards_that_are_made_are_not_made_again(source, whole, tmp_path, monkeypatch):
    store = tmp_path / "store"
    seen: list[str] = []
    encode = encoding.encode

    def counted(video, settings, folder):
        if len(seen) == 4 + 8:  # the estimate's, and two shards
            raise KeyboardInterrupt
        seen.append(Path(video.path).name)
        return encode(video, settings, folder)

    monkeypatch.setattr(encoding, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, store, shard_bytes=30_000)
    monkeypatch.setattr(encoding, "encode", lambda *a: seen.append(a[0].path) or encode(*a))
    made = len(list((store / "parts").iterdir()))
    assert made >= 2
    seen.clear()
    progress: list[tuple[int, int]] = []
    prepare_job(
        *(job(source), store),
        shard_bytes=30_000,
        progress=lambda *numbers: progress.append(numbers),
    )
    assert content(store) == whole
    assert len(seen) == 10 - progress[0][0]  # nor is it estimated again
    assert progress[0][0] >= 4
    assert progress[-1] == (10, 10)


def unfinished(source: Path, store: Path) -> None:
    """Makes all shards of a store, and does not join them."""
    prepare_job(job(source), store, shard_bytes=30_000, spread=Spread(0, 1))


@pytest.mark.parametrize("damage", ["index short", "index empty", "shard short", "shard gone"])
def test_a_shard_that_is_damaged_is_made_again(source, whole, tmp_path, damage):
    store = tmp_path / "store"
    unfinished(source, store)
    shard, index = store / "shards" / "00001.jpegs", store / "parts" / "00001.npz"
    if damage == "shard gone":
        shard.unlink()
    else:
        path = shard if damage == "shard short" else index
        path.write_bytes(path.read_bytes()[:-100] if "short" in damage else b"")
    prepare(source, store, shard_bytes=30_000)
    assert content(store) == whole


def test_machines_share_the_shards(source, whole, tmp_path):
    store = tmp_path / "store"
    make = functools.partial(prepare_job, job(source), store, shard_bytes=30_000)
    with pytest.raises(StoreError, match="has no parts yet"):
        make(spread=Spread(finish=True))
    assert not store.exists()
    for index, missing in ((1, [0, 2]), (0, [])):
        made = make(spread=Spread(index, 2))
        assert (made.parts, made.missing) == (4, missing)
        assert str(made).startswith(f"{4 - len(missing)} of 4 parts are made")
        with pytest.raises(StoreError, match="is not finished"):
            Store(store)
        if missing:
            with pytest.raises(StoreError, match=r"lacks 2 of its 4 parts: 0, 2\. Make them"):
                make(spread=Spread(finish=True))
    (store / ".partial-5-of-9").mkdir()
    (store / ".5-of-9.lock").touch()
    assert make(spread=Spread(finish=True)).description.videos == 8
    assert content(store) == whole
    for wrong in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(R3DError, match="`shard_index` must be"):
            Spread(*wrong)


def test_shares_at_the_same_time(source, whole, tmp_path):
    """Both begin without a plan, and neither waits for the other."""
    store = tmp_path / "store"

    def meanwhile(function, items, **options):
        if not (store / "prepare.json").exists():
            prepare_job(job(source), store, shard_bytes=30_000, spread=Spread(1, 2))
        yield from inline(function, items, workers=1, limit_seconds=1)

    prepare_job(job(source), store, meanwhile, shard_bytes=30_000, spread=Spread(0, 2))
    prepare_job(job(source), store, shard_bytes=30_000, spread=Spread(finish=True))
    assert content(store) == whole


def test_a_shard_without_any_video_is_left_out(tmp_path):
    for number in range(30):
        path = write_video(tmp_path / "videos" / "ab"[number % 2] / f"{number:02d}.avi", 5)
        if number % 2 and number > 4:
            path.write_bytes(bytes(path.stat().st_size))
    prepared = prepare(tmp_path / "videos", tmp_path / "store", shard_bytes=5_000)
    store = Store(tmp_path / "store")
    shards = {store.span(number, 0).shard for number in range(17)}
    assert {f"shards/{path.name}" for path in (tmp_path / "store/shards").iterdir()} == shards
    assert prepared.shards > len(shards)
    assert verify(tmp_path / "store", progress=lambda done, total: None).damage == []


def test_a_video_that_is_cut_short_is_kept_and_named(tmp_path, small):
    root = tmp_path / "videos"
    for label in "ab":
        write_video(root / label / "sound.avi", 12)
    cut_short = write_video(root / "a" / "cut.avi", 60, height=64, width=64)
    cut_short.write_bytes(cut_short.read_bytes()[: cut_short.stat().st_size // 2])
    prepared = prepare(root, tmp_path / "store")
    (problem,) = prepared.partial
    assert (problem.name, problem.status) == (str(cut_short), "short")
    assert f"{cut_short}: the container promises 60 frames, " in problem.detail
    assert prepared.problems == []
    assert "1 videos are cut short, and in the store as far as they decode" in str(prepared)
    reader = StoreReader(Store(tmp_path / "store"))
    for video in reader.store.videos:
        read(reader, video, [0])
    (noted,) = reader.problems
    assert noted.name == str(tmp_path / "store" / "a" / "cut.avi")
    assert (noted.status, noted.detail) == ("short", problem.detail)
    assert reader.broken == 0  # it is used


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["frames", "shard", "index", "on the disk", "column"])
def test_a_full_disk_can_be_resumed_from(source, whole, tmp_path, monkeypatch, where, error):
    store = tmp_path / "store"
    place, name, after = {
        "frames": (Path, "mkdir", 12),
        "shard": (shutil, "copyfileobj", 7),
        "index": (np, "savez", 1),
        "on the disk": (os, "fsync", 3),
        "column": (os, "replace", 8),
    }[where]
    count, before = [0], getattr(place, name)

    def later(*arguments, **options):
        count[0] += 1
        if count[0] > after:
            raise OSError(error, os.strerror(error))
        return before(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, later)
        with pytest.raises(files.WriteError, match=r"Could not write .*then run again") as caught:
            prepare(source, store, shard_bytes=30_000)
        assert (error == errno.EIO) != ("free some space" in str(caught.value))
    prepare(source, store, shard_bytes=30_000)
    assert content(store) == whole


def test_all_broken_is_one_sentence(tmp_path):
    for label in "ab":
        for number in range(3):
            path = tmp_path / "videos" / label / f"{number}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    with pytest.raises(
        StoreError,
        match=r"None of the 6 videos tried can be read; the .*/a/0\.avi.*keras_r3d\.scan`",
    ):
        prepare(tmp_path / "videos", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_class_that_is_all_broken_is_not_in_the_store(tmp_path, small):
    for label in ("a", "b", "c"):
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.avi", 5)
    for path in (tmp_path / "videos" / "b").iterdir():
        path.write_text("broken")
    prepare(tmp_path / "videos", tmp_path / "store")
    assert (tmp_path / "store" / "classes.txt").read_text() == "a\nc\n"
    opened = open_source(tmp_path / "store", small.clips)
    assert opened.annotations.classes == ["a", "c"]


def test_few_sound_videos_among_many_are_found_for_the_estimate(tmp_path):
    for number in range(30):
        path = write_video(tmp_path / "videos" / "ab"[number % 2] / f"{number:02d}.avi", 5)
        if number % 5:
            path.write_bytes(b"")
    work = job(tmp_path / "videos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run", inline)
        found = planning.estimate(work, processes=2, limit_seconds=60)
    assert found.samples >= 1
    assert found.bytes > 0


def test_the_estimate_is_near(tmp_path):
    for number in range(12):
        write_video(tmp_path / "videos" / "ab"[number % 2] / f"{number:02d}.avi", 12)
    work = job(tmp_path / "videos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run", inline)
        found = planning.estimate(work, processes=1, limit_seconds=60)
    prepare(tmp_path / "videos", tmp_path / "store")
    size = sum(len(data) for data in content(tmp_path / "store").values())
    assert found.samples == 4
    assert size * 0.8 < found.bytes < size * 1.2


def test_names_that_are_not_utf8_are_left_out(tmp_path):
    root = tmp_path / "videos"
    for label in "ab":
        write_video(root / label / "sound.avi", 5)
    odd = os.fsencode(root / "a") + b"/\xff.avi"
    shutil.copy(root / "a" / "sound.avi", odd)
    os.mkdir(os.fsencode(root) + b"/\xfe")
    shutil.copy(root / "a" / "sound.avi", os.fsencode(root) + b"/\xfe/one.avi")
    found = annotations.read(root, "folders")
    assert "2 videos whose names are not UTF-8 are skipped; rename them:" in found.notes[0]
    assert r"\xff.avi" in found.notes[0]
    prepared = prepare(root, tmp_path / "store")
    assert prepared.description.videos == 2
    assert prepared.problems == []
    assert (tmp_path / "store" / "classes.txt").read_text() == "a\nb\n"


def test_names_of_all_other_kinds_are_kept(tmp_path):
    root = tmp_path / "videos"
    names = [
        "ä ö.avi",
        "a,b.avi",
        'quote".avi',
        "line\nbreak.avi",
        "%20#?.avi",
        "日本.avi",
        "'.avi",
    ]
    for label in ("x y", "z,ä"):
        for name in names:
            write_video(root / label / name, 3)
    prepare(root, tmp_path / "store")
    store = Store(tmp_path / "store")
    assert sorted(store.names) == sorted(
        f"{label}/{name}" for label in ("x y", "z,ä") for name in names
    )
    reader = StoreReader(store)
    for video in store.videos:
        assert frame_numbers(read(reader, video, [2])) == [2]


def test_a_video_that_vanishes_meanwhile_is_left_out(tmp_path):
    for label in "ab":
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.avi", 5)

    def vanishing(function, items, **options):
        (tmp_path / "videos" / "b" / "1.avi").unlink(missing_ok=True)
        yield from inline(function, items, workers=1, limit_seconds=1)

    prepared = prepare(tmp_path / "videos", tmp_path / "store", run=vanishing)
    assert prepared.description.videos == 3
    (problem,) = prepared.problems
    assert problem.detail.endswith("b/1.avi: cannot be read (No such file or directory).")


@pytest.mark.parametrize("status", ["time limit", "crash"])
def test_a_video_that_hangs_or_crashes_is_left_out(tmp_path, status):
    for label in "ab":
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.avi", 5)

    def one_fails(function, items, **options):
        yield 2, workers.Failure(status, "as it were")
        for number in (3, 1, 0):
            yield number, function(items[number])

    prepared = prepare(tmp_path / "videos", tmp_path / "store", run=one_fails)
    assert prepared.description.videos == 3
    (problem,) = prepared.problems
    assert Store(tmp_path / "store").names == ["a/0.avi", "a/1.avi", "b/1.avi"]
    bad = tmp_path / "videos" / "b" / "0.avi"
    assert problem == annotations.Problem(str(bad), status, f"{bad}: as it were.")


def test_another_job_is_refused_in_an_unfinished_folder(source, tmp_path):
    store = tmp_path / "store"
    unfinished(source, store)
    before = content(store)
    for sizes, options, said in [
        ((64,), {}, r"settings\.levels\.sizes: \[64, 48\] then, \[64\] now"),
        ((64, 48), {"quality": 80}, r"settings\.quality: 90 then, 80 now"),
        ((64, 48), {"fps": 5.0}, r"settings\.fps: 0\.0 then, 5\.0 now"),
    ]:
        with pytest.raises(StoreError, match=rf"is left as it is:\n  {said}\nResume with that"):
            prepare(source, store, *sizes, **options)
    fewer = tmp_path / "fewer"
    shutil.copytree(source, fewer)
    (fewer / "red" / "3.avi").unlink()
    with pytest.raises(StoreError, match="videos: 10 then, 9 now"):
        prepare(fewer, store)
    assert content(store) == before


def test_what_is_there_is_not_touched(source, whole, tmp_path):
    store = tmp_path / "store"
    prepare(source, store, shard_bytes=30_000)
    with pytest.raises(StoreError, match="holds a store already, which is left as it is"):
        prepare(source, store, shard_bytes=30_000)
    assert content(store) == whole
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, said in [("full", "is not empty and is left as it is"), ("file", "is a file")]:
        with pytest.raises(StoreError, match=said):
            prepare(source, tmp_path / name)
    assert content(tmp_path / "full") == {"mine.txt": b"mine"}
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    prepare(source, tmp_path / "empty", shard_bytes=30_000)
    assert content(tmp_path / "empty") == whole


def test_an_unfinished_folder_that_cannot_be_resumed_is_said(source, tmp_path):
    store = tmp_path / "store"
    unfinished(source, store)
    (store / "prepare.json").write_bytes(b"x")
    with pytest.raises(StoreError, match=rf"prepare\.json is damaged.*remove {store}"):
        prepare(source, store)
    (store / "prepare.jsonl").write_bytes(b"")
    with pytest.raises(StoreError, match=r"unfinished store of an older keras_r3d.*remove it"):
        prepare(source, store)


def test_two_at_once_are_refused(source, whole, tmp_path):
    store = tmp_path / "store"
    refused = []

    def meanwhile(function, items, **options):
        with pytest.raises(StoreError, match="Another process writes to") as caught:
            prepare(source, store, shard_bytes=30_000)
        refused.append(caught)
        yield from inline(function, items, workers=1, limit_seconds=1)

    prepare(source, store, shard_bytes=30_000, run=meanwhile)
    assert refused
    assert content(store) == whole


def test_of_two_that_start_together_one_works(source, whole, tmp_path):
    store = tmp_path / "store"
    start = threading.Barrier(2)
    results = []

    def one():
        start.wait()
        try:
            results.append(prepare_job(job(source), store, workers.run, shard_bytes=30_000))
        except StoreError as error:
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, StoreError) for result in results) <= 1
    assert content(store) == whole


# The command --------------------------------------------------------------------------------------


def test_the_command_prepares_and_says_what_is_next(source, tmp_path, whole):
    store = tmp_path / "store"
    options = ("--levels=64,48", "--shard_gib=0.001", "--processes=2")
    output = command(source, f"--output={store}", *options)
    assert f"{source}: 2 classes; videos: train 10\n" in output
    assert "Levels: short side 64, 48 px; JPEG quality 90; frame rate kept\n" in output
    assert re.search(r"\nBy \d of them: about .*; .* are free in", output)
    assert "  unreadable: " in output
    assert f"2 videos are left out: {store / 'problems.csv'}\n" in output
    assert f"Written: {store}: 8 videos, 76 frames at 2 sizes, " in output
    assert f"python -m keras_r3d.train --recipe kinetics34 --data_dir {store}\n" in output
    assert {name: data for name, data in content(store).items() if "shards" not in name}.keys() == {
        name for name in whole if "shards" not in name
    }
    output = command(f"--verify={store}")
    assert ": 8 videos, " in output
    assert " compared; 0 damaged" in output
    assert "holds a store already" in command(source, f"--output={store}", *options, code=1)


def test_a_dry_run_writes_nothing(source, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "tmp"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(there))
    assert re.search(r"\nBy \d of them: about ", command(source, "--dry_run", "--output=out/store"))
    assert list(here.iterdir()) == []
    assert list(there.iterdir()) == []
    assert len(content(source)) == 10


def test_a_kill_of_the_command_is_resumed_from(source, tmp_path):
    options = ("--levels=64,48", "--shard_gib=0.001", "--processes=1")
    prepare(source, tmp_path / "whole", shard_bytes=int(0.001 * 2**30))
    store = tmp_path / "store"
    for awaited in ("free in", "6 of 10 videos"):
        running = start(source, f"--output={store}", *options)
        wait_for(awaited, running)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)
        if running.returncode == 0 or (store / "store.json").exists():
            break  # it was faster than the signal
    if not (store / "store.json").exists() or (store / "prepare.json").exists():
        command(source, f"--output={store}", *options)
    assert content(store) == content(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(source, tmp_path):
    for number in range(8):  # a second of work each
        write_noise(tmp_path / "videos" / "ab"[number % 2] / f"{number}.avi", 250)
    store = tmp_path / "store"
    running = start(tmp_path / "videos", f"--output={store}", "--processes=1", "--levels=120")
    wait_for("1 of 8 videos", running)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == INTERRUPTED
    assert "Traceback" not in errors
    assert "Written: " in command(
        tmp_path / "videos", f"--output={store}", "--processes=1", "--levels=120"
    )
    assert Store(store).videos


def write_noise(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for number in range(frames):
        writer.write(np.roll(noise, number, axis=1))
    writer.release()


def wait_for(text: str, running: subprocess.Popen) -> None:
    """Reads what a command prints until some text is there, or it ends."""
    for line in running.stdout:
        if text in line:
            return


def start(*arguments) -> subprocess.Popen:
    """Starts the command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "keras_r3d.prepare", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name what to prepare: a folder of videos, or a list of them."),
        (["SOURCE", "--quarantine"], "--quarantine goes with --verify."),
        (["SOURCE", "--quality=101"], "--quality must be from 1 to 100. Received: 101"),
        (["SOURCE", "--shard_index=0"], "--shard_index and --shard_count go together"),
        (["SOURCE", "other"], "Unknown argument 'other'"),
        (["SOURCE", "--verify=gone"], "--verify takes a store and nothing beside it"),
        (["--verify=gone"], "gone is no clip store"),
    ],
)
def test_bad_arguments_are_said(source, tmp_path, arguments, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(source) if word == "SOURCE" else word for word in arguments]
    if words and "--verify" not in words[-1]:
        words.append(f"--output={tmp_path / 'store'}")
    assert said in command(*words, code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"levels": "240,120", "height": 100}, "one only. Received: "),
        ({"height": 100, "short_side": 90}, "one only. Received: "),
        ({"levels": "big"}, r"`levels` must be of 16 pixels .* short sides such as 240,120"),
        ({"levels": "240,8"}, "Received: 240,8"),
        ({"levels": ""}, r"`levels` must be of 16 pixels or more \(`paper`"),
        ({"height": 8}, "`height` must be of 16 pixels or more. Received: 8"),
        ({"fps": -1}, r"`fps` must be from 0 to 1000\. Received: -1"),
        ({"quality": 0}, "`quality` must be from 1 to 100. Received: 0"),
        ({"processes": 0}, "`processes` must be at least 1. Received: 0"),
        ({"time_limit": 0.5}, "`time_limit` must be at least 1. Received: 0.5"),
        ({"shard_gib": 0}, "`shard_gib` must be at least 0.001. Received: 0"),
        ({"recipe": "nothing"}, "nothing"),
        ({"overrides": ["clips.sizes=3"]}, "clips.size"),
        ({"annotations": "gone.csv"}, "gone.csv"),
        ({"shard_index": 3, "shard_count": 3}, "`shard_index` must be at least 0 and below"),
        ({"shard_index": 0, "shard_count": 2, "finish": True}, "pass no `shard_index` with it"),
        ({"output": None}, r"`output` is missing: the folder of the store"),
    ],
)
def test_bad_options_are_said(source, tmp_path, options, said):
    with pytest.raises(R3DError, match=said):
        data.prepare_store(source, **{"output": tmp_path / "store", **options})
    with pytest.raises(R3DError, match="gone does not exist"):
        data.prepare_store("gone", tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said", "sizes"),
    [
        ({}, "short side 224, 188, 158, 133, 112 px", (64, 48)),
        ({"overrides": ["clips.size=32"]}, "short side 64, 54, 45, 38, 32 px", (64, 48)),
        (
            {"recipe": "demo", "overrides": ["clips.size=32", "clips.crop.scales=[1.0]"]},
            "side 32 px",
            (43, 32),
        ),
        ({"height": 40}, "height 40 px", (40, 30)),
        ({"short_side": 40}, "short side 40 px", (53, 40)),
        ({"levels": "20,30,20"}, "short side 30, 20 px", (40, 30)),
        ({"levels": "32", "fps": 5}, "5 frames/s", (43, 32)),
    ],
)
def test_levels_are_those_asked_for(tmp_path, monkeypatch, options, said, sizes):
    monkeypatch.setattr(workers, "run", inline)
    for label in "ab":
        write_video(tmp_path / "videos" / label / "0.avi", 5, 64, 48)
    lines: list[str] = []
    data.prepare_store(tmp_path / "videos", tmp_path / "store", say=lines.append, **options)
    assert said in "\n".join(lines)
    store = Store(tmp_path / "store")
    assert store.sizes(0)[0] == sizes
    assert store.frames(0) == (3 if "fps" in options else 5)


# Verifying ----------------------------------------------------------------------------------------


@pytest.fixture
def store(whole, tmp_path) -> Path:
    """A store to spoil."""
    for name, written in whole.items():
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
    return tmp_path / "store"


def checked(store: Path):
    done: list[tuple[int, int]] = []
    report = verify(str(store), progress=lambda *numbers: done.append(numbers))
    assert done == [(n, 8) for n in range(1, 9)]
    return report


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_sound_store_is_sound(store):
    report = checked(store)
    assert (report.videos, report.damage, report.broken) == (8, [], [])
    assert report.bytes == sum(
        len(data)
        for name, data in content(store).items()
        if name not in ("store.json", "problems.csv")
    )


def test_any_flipped_bit_of_a_shard_is_found(store):
    opened = Store(store)
    size = opened.description.file("shards/00001.jpegs").bytes
    for place in np.linspace(0, size - 1, 20).astype(int):
        flip(store / "shards" / "00001.jpegs", place)
        (line,) = checked(store).damage
        assert "does not have its checksum" in line
        flip(store / "shards" / "00001.jpegs", place)
    assert checked(store).damage == []


def test_a_shard_that_is_short_or_gone_is_found(store):
    opened = Store(store)
    path = store / "shards" / "00001.jpegs"
    inside = [
        str(store / name)
        for number, name in enumerate(opened.names)
        if opened.span(number, 0).shard == "shards/00001.jpegs"
    ]
    path.write_bytes(path.read_bytes()[:-1])
    report = checked(store)
    assert f"shards/00001.jpegs: has {path.stat().st_size:,} bytes, " in report.damage[0]
    assert report.broken == inside[-1:]
    path.unlink()
    report = checked(store)
    assert report.damage[0] == "shards/00001.jpegs: there is no such file"
    assert report.broken == inside
    assert len(report.damage) == 1 + len(inside)


@pytest.mark.parametrize("column", format.COLUMNS)
def test_a_changed_index_is_found(store, column):
    path = store / format.column_name(column)
    for place in (0, path.stat().st_size // 2):
        flip(path, place)
        try:
            assert (
                f"{format.column_name(column)}: does not have its checksum" in checked(store).damage
            )
        except StoreError as error:  # it cannot even be opened
            assert "damaged" in str(error)  # noqa: PT017
            assert column in ("video_frames", "video_shard")
        flip(path, place)


def test_a_changed_list_of_videos_is_found(store):
    path = store / "videos.csv"
    text = path.read_text()
    path.write_text(text.replace("red,train", "rad,train", 1))
    assert checked(store).damage == ["videos.csv: does not have its checksum"]
    path.write_text(text.replace(text.splitlines()[1].split(",")[7], "0" * 64))
    assert [line.split(": ")[1] for line in checked(store).damage] == [
        "does not have its checksum"
    ] * 2
    path.write_text(text + " ")
    with pytest.raises(Exception, match=r"videos\.csv"):
        checked(store)


def test_the_command_verifies_and_training_honors_the_quarantine(store, small):
    opened = Store(store)
    number = opened.names.index("red/1.avi")
    flip(store / opened.span(number, 1).shard, opened.span(number, 1).offset + 900)
    output = command(f"--verify={store}", code=1)
    assert re.search(r"damaged: red/1.avi: frame \d of level 1 does not have its checksum", output)
    assert "; 1 damaged" in output
    assert not (store / "quarantine.txt").exists()
    output = command(f"--verify={store}", "--quarantine", code=1)
    assert f"Written: {store / 'quarantine.txt'}; trainings and evaluations" in output
    assert (store / "quarantine.txt").read_text() == "red/1.avi\n"
    found = open_source(store, small.clips).annotations
    assert len(found.splits["train"]) == 7
    assert all(not video.path.endswith("red/1.avi") for video in found.splits["train"])
    assert any("1 videos are skipped by" in note for note in found.notes)
    assert annotations.absolute(store) == str(store)


def test_the_quarantine_of_the_source_is_honored(source, tmp_path):
    shutil.copytree(source, tmp_path / "videos")
    (tmp_path / "videos" / "quarantine.txt").write_text("red/1.avi\ngreen/1b.avi\nred/0b.avi\n")
    prepared = prepare(tmp_path / "videos", tmp_path / "store")
    assert prepared.description.videos == 7
    assert prepared.problems == []
    assert "problems.csv" not in content(tmp_path / "store")
    assert json.loads((tmp_path / "store" / "store.json").read_text())["source"]["videos"] == 7
