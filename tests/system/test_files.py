import errno
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from keras_r3d import recipe, run_folder
from keras_r3d.data.annotations import Problem
from keras_r3d.system import files
from keras_r3d.system.errors import RunError, WriteError


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(files.WriteError) as error:
        fail()
    assert str(error.value) == (
        f"Could not write {path} (No space left on device): free some space there, then run again."
    )
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    def fail() -> None:
        with files.atomic(tmp_path / "a.txt") as temporary:
            raise files.WriteError(files.explain(temporary, OSError(errno.EROFS, "read-only")))

    with pytest.raises(files.WriteError, match=rf"^Could not write {tmp_path}/a\.txt \(read-only"):
        fail()


def test_an_interrupt_while_files_are_removed_leaves_none(tmp_path, monkeypatch):
    remove, done = shutil.rmtree, []

    def interrupted(path, *arguments, **options):
        if not done:
            done.append(path)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # a handler would run by now
        remove(path, *arguments, **options)

    def work(kind):
        with kind as folder:
            folder.mkdir(exist_ok=True)
            (folder / "a.txt").write_text("a")
            raise ValueError  # so that it is removed, and not put in place

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    for kind in (lambda: files.scratch_folder(tmp_path), lambda: files.atomic(tmp_path / "b")):
        done.clear()
        with pytest.raises(KeyboardInterrupt):
            work(kind())
        assert done
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a" * 251 + ".png", "ä" * 125 + ".csv", "雪" * 83 + ".keras"], ids=len
)
def test_a_name_of_the_most_bytes_is_written(tmp_path, name):
    with files.atomic(tmp_path / name) as temporary:
        assert temporary.suffix == Path(name).suffix
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(WriteError, match=r"\(File name too long\): choose a shorter name, then"):
        files.write_text(tmp_path / f"{name}{name}", "")


def test_a_derived_name_fits_and_stays_one_of_its_own():
    assert files.file_name("a", ".explain.mp4") == "a.explain.mp4"
    assert files.file_name("a" * 243, ".explain.mp4") == "a" * 243 + ".explain.mp4"
    long = [files.file_name("é" * 150 + end, ".explain.mp4") for end in "xy"]
    assert long[0] != long[1]
    assert all(len(name.encode()) in (254, 255) for name in long)
    assert all(name.endswith(".explain.mp4") for name in long)


def test_a_folder_is_put_in_place_whole(tmp_path):
    with files.atomic(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("x")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "a").read_text() == "x"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(files.WriteError, match="see that the folder is there"):
        files.write_text(tmp_path / "nowhere" / "a.txt", "x")


def test_a_run_is_made_once_and_opened_again(tmp_path):
    demo = recipe.load("demo")
    path = tmp_path / "run"
    run = run_folder.create(path, demo, ["a", "b"], "path,label\n", {"data_dir": "d"})
    run.update_summary(status="trained")
    again = run_folder.open_run(path)
    assert again.recipe == demo
    assert again.classes == ["a", "b"]
    assert again.summary == {"data_dir": "d", "status": "trained"}
    with pytest.raises(RunError, match="already holds a run, which is left as it is"):
        run_folder.create(path, demo, ["a", "b"], "", {})
    with pytest.raises(RunError, match=r"has no best\.keras"):
        again.model_path()


def test_problems_are_added_up(tmp_path):
    run = run_folder.create(tmp_path / "run", recipe.load("demo"), ["a", "b"], "", {})
    said: list[str] = []
    run.report_problems([], said.append)
    assert not (run.path / "problems.csv").exists()
    assert said == []
    first, second = Problem("/v/b.mp4", "short", "x, y"), Problem("/v/a.mp4", "unreadable", "z")
    run.report_problems([first], said.append)
    again = Problem(os.path.relpath("/v/b.mp4"), "short", "x, y")
    run.report_problems([second, again], said.append)
    assert said[-3:] == [
        f"2 broken videos ({run.path / 'problems.csv'}):",
        "  unreadable: z",
        "  short: x, y",
    ]
    assert run.summary["broken_videos"] == 2
    assert (run.path / "problems.csv").read_text() == (
        'video,status,detail\n/v/a.mp4,unreadable,z\n/v/b.mp4,short,"x, y"\n'
    )


def test_a_folder_that_is_not_a_run_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="is not empty and is left as it is"):
        run_folder.check_free(tmp_path)
    with pytest.raises(RunError, match="is a file"):
        run_folder.check_free(tmp_path / "letter.txt")
    with pytest.raises(RunError, match="is not the folder of a run"):
        run_folder.open_run(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        run_folder.open_run(tmp_path / "nowhere")


def test_a_damaged_run_is_named(tmp_path):
    run_folder.create(tmp_path / "run", recipe.load("demo"), ["a", "b"], "", {})
    (tmp_path / "run" / "summary.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        run_folder.open_run(tmp_path / "run")


def test_the_next_free_folder(tmp_path):
    assert run_folder.next_free(tmp_path, "demo").name == "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert run_folder.next_free(tmp_path, "demo").name == "demo-3"


def test_files_are_put_in_place_together_or_not_at_all(tmp_path):
    def there():
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    def write(second):
        with files.together(tmp_path, ["b", "c"]) as new:
            files.write_text(new / "a", "new")
            files.write_text(new / second, "new")

    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("old")
    with pytest.raises(files.WriteError, match=rf"Could not write {tmp_path}/no/b "):
        write("no/b")
    assert there() == dict.fromkeys("abc", "old")
    write("b")
    assert there() == dict.fromkeys("ab", "new")


def test_a_folder_is_made_once(tmp_path):
    made = []

    def fill(folder):
        made.append(folder)
        (folder / "a").write_text("mine")

    assert files.made_once(tmp_path / "x", fill) == tmp_path / "x"
    assert files.made_once(tmp_path / "x", fill) == tmp_path / "x"
    assert len(made) == 1

    def slower(folder):
        (folder / "a").write_text("later")
        (tmp_path / "y").mkdir()
        (tmp_path / "y" / "a").write_text("first")

    assert (files.made_once(tmp_path / "y", slower) / "a").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]
