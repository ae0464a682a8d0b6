"""Preparing: interrupted and gone on with, what is refused, what is left out; and the command."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import frame_numbers, read, write_video
from prepared import content, inline, job, prepare

from keras_r3d.data import annotations
from keras_r3d.data.opening import open_source
from keras_r3d.data.store import Store, StoreReader, encoding, format, preparing
from keras_r3d.data.store.verifying import verify
from keras_r3d.system import files, workers
from keras_r3d.system.errors import StoreError

ROOT = Path(__file__).parents[2]


def command(*arguments, code: int = 0, cwd: Path = ROOT) -> str:
    """Runs `python -m keras_r3d.prepare`; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "keras_r3d.prepare", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output, output
    return output


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
    description, problems = prepare(source, tmp_path / "store", shard_bytes=30_000)
    assert content(tmp_path / "store") == whole
    assert description.videos == 8
    assert [Path(p.name).name for p in problems] == ["1b.avi", "0b.avi"]
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
        preparing.prepare(
            job(source),
            store,
            processes=processes,
            limit_seconds=60,
            shard_bytes=30_000,
            progress=lambda done, of: None,
        )
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
            (preparing.shutil, "copyfileobj"),
            (preparing.shutil, "rmtree"),
            (preparing.os, "fsync"),
            (preparing.os, "replace"),
            (Path, "unlink"),
            (Path, "mkdir"),
        ]:
            monkeypatch.setattr(place, name, counted(getattr(place, name)))
        return count

    return arm


def interrupted(source: Path, store: Path, kill, monkeypatch, at: int) -> bool:
    """Prepares until the n-th file operation; returns whether there was one."""
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_CHECKPOINT_SECONDS", 0.0)
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
def test_a_kill_at_any_operation_is_gone_on_from(
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
    assert at > 100


@pytest.mark.parametrize("place", ["after the journal", "while parts are removed"])
def test_an_interrupt_while_it_is_written_down_loses_nothing(
    source, whole, tmp_path, monkeypatch, place
):
    """Unlike a kill, an interrupt lets the writer close, and that writes down the rest."""
    store = tmp_path / "store"
    journal = store / "prepare.jsonl"
    sync, remove = preparing._Writer._sync, shutil.rmtree
    armed = [True]

    def interrupt() -> None:
        if armed and journal.exists() and journal.stat().st_size:
            armed.clear()
            raise KeyboardInterrupt

    def synced(self, file) -> None:
        sync(self, file)
        if place == "after the journal":
            interrupt()

    def removed(path) -> None:
        if place == "while parts are removed":
            interrupt()
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_CHECKPOINT_SECONDS", 0.0)
        patch.setattr(preparing._Writer, "_sync", synced)
        patch.setattr(shutil, "rmtree", removed)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, store, shard_bytes=30_000)
    assert not armed
    lines = journal.read_text().splitlines()
    assert lines
    assert len(lines) == len(set(lines))
    prepare(source, store, shard_bytes=30_000)
    assert content(store) == whole


def test_files_of_others_in_the_store_do_not_matter(source, whole, tmp_path):
    store = tmp_path / "store"
    (tmp_path / "junk").mkdir()

    def run(*arguments, **options):
        (store / "shards" / ".DS_Store").write_bytes(b"junk")
        return inline(*arguments, **options)

    prepare(source, store, shard_bytes=30_000, run=run)
    assert {n: c for n, c in content(store).items() if "DS_Store" not in n} == whole
    assert verify(store, progress=lambda done, of: None).damage == []


def test_a_store_among_the_videos_is_refused(source, tmp_path):
    shutil.copytree(source, tmp_path / "videos")
    for output in (tmp_path / "videos" / "store", tmp_path / "videos"):
        text = command(tmp_path / "videos", f"--output={output}", "--levels=32", code=1)
        assert "where it would be taken for a class: choose a folder elsewhere" in text
    assert content(tmp_path / "videos") == content(source)


def test_a_store_is_no_source(source, tmp_path):
    prepare(source, tmp_path / "store")
    text = command(tmp_path / "store", f"--output={tmp_path / 'again'}", code=1)
    assert "is a clip store already: name the videos" in text


def test_paths_above_the_list_and_their_quarantine(source, tmp_path):
    (tmp_path / "lists").mkdir()
    rows = [f"../{source.name}/{label}/{n}.avi,{label}" for label in ("red", "green") for n in "02"]
    shutil.copytree(source, tmp_path / source.name)
    (tmp_path / "lists" / "my.csv").write_text("\n".join(["path,label", *rows]))
    prepare(tmp_path / "lists" / "my.csv", tmp_path / "store")
    opened = Store(tmp_path / "store")
    assert all(video.path == os.path.normpath(video.path) for video in opened.videos)
    StoreReader(opened).check(opened.videos[0])


def test_what_is_done_is_not_done_again(source, whole, tmp_path, monkeypatch):
    store = tmp_path / "store"
    seen: list[str] = []
    encode = encoding.encode

    def counted(video, settings, folder):
        if len(seen) == 6:
            raise KeyboardInterrupt
        seen.append(Path(video.path).name)
        return encode(video, settings, folder)

    monkeypatch.setattr(encoding, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, store, shard_bytes=30_000)
    assert len(seen) == 6
    monkeypatch.setattr(encoding, "encode", lambda *a: seen.append(a[0].path) or encode(*a))
    progress: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr(workers, "run", inline)
        preparing.prepare(
            job(source),
            store,
            processes=1,
            limit_seconds=60,
            shard_bytes=30_000,
            progress=lambda *numbers: progress.append(numbers),
        )
    assert content(store) == whole
    assert len(seen) == 10
    # One that was encoded but not appended is not encoded again, either.
    assert progress[0][0] >= 5
    assert progress[-1] == (10, 10)


def test_a_part_that_is_damaged_is_encoded_again(source, whole, tmp_path, monkeypatch):
    store = tmp_path / "store"

    # The first is the last to be done, so all others wait for it as parts.
    def first_never(function, items, **options):
        for number, item in list(enumerate(items))[1:]:
            yield number, function(item)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, store, shard_bytes=30_000, run=first_never)
    parts = sorted((store / "parts").iterdir())
    assert len(parts) == 7
    (parts[0] / "index.npz").write_bytes(b"PK")
    (parts[1] / "0.jpegs").write_bytes(bytes((parts[1] / "0.jpegs").stat().st_size))
    (parts[2] / "1.jpegs").unlink()
    prepare(source, store, shard_bytes=30_000)
    assert content(store) == whole


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["shard", "part", "journal", "column"])
def test_a_full_disk_can_be_gone_on_from(source, whole, tmp_path, monkeypatch, where, error):
    store = tmp_path / "store"

    def full(*arguments, **options):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        if where == "part":
            patch.setattr(np, "savez", full)
        else:
            patch.setattr(preparing, "_CHECKPOINT_SECONDS", 0.0)
            count = [0]
            name = {"shard": "copyfileobj", "journal": "fsync", "column": "array"}[where]
            place = {"shard": shutil, "journal": os, "column": np}[where]
            before = getattr(place, name)

            def later(*arguments, **options):
                count[0] += 1
                return (full if count[0] > 60 else before)(*arguments, **options)

            if where == "shard":
                count[0] = 55
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
    with pytest.raises(StoreError, match=r"None of the 6 videos can be read; the .*/a/0\.avi"):
        prepare(tmp_path / "videos", tmp_path / "store")
    output = command(tmp_path / "videos", f"--output={tmp_path / 'other'}", code=1)
    assert "Error: None of the 6 videos tried can be read; the first: " in output
    assert "Look for more with `python -m keras_r3d.scan`" in output
    assert not (tmp_path / "other").exists()


def test_a_class_that_is_all_broken_is_not_in_the_store(tmp_path, small):
    for label in ("a", "b", "c"):
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.avi", 5)
    for path in (tmp_path / "videos" / "b").iterdir():
        path.write_text("broken")
    prepare(tmp_path / "videos", tmp_path / "store")
    assert (tmp_path / "store" / "classes.txt").read_text() == "a\nc\n"
    opened = open_source(tmp_path / "store", small.data)
    assert opened.annotations.classes == ["a", "c"]


def test_few_sound_videos_among_many_are_found_for_the_estimate(tmp_path):
    for number in range(30):
        path = write_video(tmp_path / "videos" / "ab"[number % 2] / f"{number:02d}.avi", 5)
        if number % 5:
            path.write_bytes(b"")
    work = job(tmp_path / "videos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run", inline)
        found = preparing.estimate(work, processes=2, limit_seconds=60)
    assert found.samples >= 1
    assert found.bytes > 0


def test_the_estimate_is_near(tmp_path):
    for number in range(12):
        write_video(tmp_path / "videos" / "ab"[number % 2] / f"{number:02d}.avi", 12)
    work = job(tmp_path / "videos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run", inline)
        found = preparing.estimate(work, processes=1, limit_seconds=60)
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
    description, problems = prepare(root, tmp_path / "store")
    assert description.videos == 2
    assert problems == []
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
        (tmp_path / "videos" / "b" / "1.avi").unlink()
        yield from inline(function, items, workers=1, limit_seconds=1)

    description, (problem,) = prepare(tmp_path / "videos", tmp_path / "store", run=vanishing)
    assert description.videos == 3
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

    description, (problem,) = prepare(tmp_path / "videos", tmp_path / "store", run=one_fails)
    assert description.videos == 3
    assert Store(tmp_path / "store").names == ["a/0.avi", "a/1.avi", "b/1.avi"]
    bad = tmp_path / "videos" / "b" / "0.avi"
    assert problem == annotations.Problem(str(bad), status, f"{bad}: as it were.")


def test_another_job_is_refused_in_an_unfinished_folder(source, tmp_path, kill, monkeypatch):
    store = tmp_path / "store"
    assert interrupted(source, store, kill, monkeypatch, 60)
    before = content(store)
    said = "an unfinished store of other videos or settings .* left as it is"
    for sizes, options in [((64,), {}), ((64, 48), {"quality": 80}), ((64, 48), {"fps": 5.0})]:
        with pytest.raises(StoreError, match=said):
            prepare(source, store, *sizes, **options)
    fewer = tmp_path / "fewer"
    shutil.copytree(source, fewer)
    (fewer / "red" / "3.avi").unlink()
    with pytest.raises(StoreError, match=said):
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


@pytest.mark.parametrize("damage", ["journal", "plan", "shard", "column"])
def test_an_unfinished_folder_that_is_damaged_is_said(source, tmp_path, kill, monkeypatch, damage):
    store = tmp_path / "store"
    assert interrupted(source, store, kill, monkeypatch, 100)
    path = {
        "journal": store / "prepare.jsonl",
        "plan": store / "prepare.json",
        "shard": store / "shards" / "00000.jpegs",
        "column": store / format.column_name("frame_end"),
    }[damage]
    assert path.stat().st_size > 10
    path.write_bytes(b"{}\n" if damage == "journal" else b"x")
    said = rf"{path.name} (is damaged|does not have|is shorter).*(?i:remove) {store}"
    with pytest.raises(StoreError, match=said):
        prepare(source, store)


def test_two_at_once_are_refused(source, whole, tmp_path):
    store = tmp_path / "store"
    refused = []

    def meanwhile(function, items, **options):
        with pytest.raises(StoreError, match="is being prepared by another process") as caught:
            prepare(source, store, shard_bytes=30_000)
        refused.append(caught)
        yield from inline(function, items, workers=1, limit_seconds=1)

    prepare(source, store, shard_bytes=30_000, run=meanwhile)
    assert len(refused) == 1
    assert content(store) == whole


def test_of_two_that_start_together_one_works(source, whole, tmp_path):
    store = tmp_path / "store"
    start = threading.Barrier(2)
    results = []

    def one():
        start.wait()
        try:
            results.append(
                preparing.prepare(
                    job(source),
                    store,
                    processes=1,
                    limit_seconds=60,
                    shard_bytes=30_000,
                    progress=lambda done, of: None,
                )
            )
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


def test_a_dry_run_writes_nothing(source, tmp_path):
    here, there = tmp_path / "here", tmp_path / "tmp"
    here.mkdir()
    there.mkdir()
    output = subprocess.run(
        [sys.executable, "-m", "keras_r3d.prepare", str(source), "--dry_run", "--output=out/store"],
        cwd=here,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(there)},
    )
    assert output.returncode == 0, output.stderr
    assert re.search(r"\nBy \d of them: about ", output.stdout)
    assert list(here.iterdir()) == []
    assert list(there.iterdir()) == []
    assert len(content(source)) == 10


def test_a_kill_of_the_command_is_gone_on_from(source, tmp_path):
    options = ("--levels=64,48", "--shard_gib=0.001", "--processes=1")
    command(source, f"--output={tmp_path / 'whole'}", *options)
    store = tmp_path / "store"
    for awaited in ("free in", "4 of 10 videos", "10 of 10 videos"):
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
    assert running.returncode == 130
    assert "What is done is kept: run the same command again to go on.\nInterrupted.\n" in errors
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
        (["SOURCE"], "--output is missing: the folder of the store (or pass --dry_run)."),
        (["SOURCE", "--levels=240,120", "--height=100"], "one only. Received: "),
        (["SOURCE", "--height=100", "--short_side=90"], "one only. Received: "),
        (["SOURCE", "--levels=big"], "short sides of 16 pixels or more, such as 240,120"),
        (["SOURCE", "--levels=240,8"], "Received: 240,8"),
        (["SOURCE", "--levels="], "--levels must be `paper`"),
        (["SOURCE", "--height=8"], "--height"),
        (["SOURCE", "--quality=101"], "--quality"),
        (["SOURCE", "--fps=-1"], "--fps"),
        (["SOURCE", "--recipe=nothing"], "nothing"),
        (["SOURCE", "--set=data.sizes=3"], "data.size"),
        (["gone"], "gone does not exist"),
        (["SOURCE", "--annotations=gone.csv"], "gone.csv"),
        (["SOURCE", "other"], "Unknown argument 'other'"),
        (["SOURCE", "--verify=gone"], "--verify takes a store and nothing beside it"),
        (["--verify=gone"], "gone is no clip store"),
    ],
)
def test_bad_arguments_are_said(source, tmp_path, arguments, said):
    words = [str(source) if word == "SOURCE" else word for word in arguments]
    if words and arguments != ["SOURCE"] and "--verify" not in words[-1]:
        words.append(f"--output={tmp_path / 'store'}")
    done = subprocess.run(
        [sys.executable, "-m", "keras_r3d.prepare", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said", "sizes"),
    [
        ([], "short side 224, 188, 158, 133, 112 px", (64, 48)),
        (["--set=data.size=32"], "short side 64, 54, 45, 38, 32 px", (64, 48)),
        (
            ["--recipe=demo", "--set=data.size=32", "--set=data.scales=[1.0]"],
            "side 32 px",
            (43, 32),
        ),
        (["--height=40"], "height 40 px", (40, 30)),
        (["--short_side=40"], "short side 40 px", (53, 40)),
        (["--levels=20,30,20"], "short side 30, 20 px", (40, 30)),
        (["--levels=32", "--fps=5"], "5 frames/s", (43, 32)),
    ],
)
def test_levels_are_those_asked_for(tmp_path, options, said, sizes):
    for label in "ab":
        write_video(tmp_path / "videos" / label / "0.avi", 5, 64, 48)
    output = command(tmp_path / "videos", f"--output={tmp_path / 'store'}", *options)
    assert said in output
    store = Store(tmp_path / "store")
    assert store.sizes(0)[0] == sizes
    assert store.frames(0) == (3 if "--fps=5" in options else 5)


# Verifying ----------------------------------------------------------------------------------------


@pytest.fixture
def store(whole, tmp_path) -> Path:
    """A store to spoil."""
    for name, data in whole.items():
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
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


def test_the_command_verifies_and_training_honours_the_quarantine(store, small):
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
    found = open_source(store, small.data).annotations
    assert len(found.splits["train"]) == 7
    assert all(not video.path.endswith("red/1.avi") for video in found.splits["train"])
    assert any("1 videos are skipped by" in note for note in found.notes)
    assert annotations.absolute(store) == str(store)


def test_the_quarantine_of_the_source_is_honoured(source, tmp_path):
    shutil.copytree(source, tmp_path / "videos")
    (tmp_path / "videos" / "quarantine.txt").write_text("red/1.avi\ngreen/1b.avi\nred/0b.avi\n")
    description, problems = prepare(tmp_path / "videos", tmp_path / "store")
    assert description.videos == 7
    assert problems == []
    assert "problems.csv" not in content(tmp_path / "store")
    assert json.loads((tmp_path / "store" / "store.json").read_text())["source"]["videos"] == 7
