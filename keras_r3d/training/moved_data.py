"""The videos of a run: the same as when it began, though they may lie elsewhere by now."""

import csv
import itertools
from pathlib import Path

from keras_r3d import run_folder
from keras_r3d.data import annotations
from keras_r3d.data.opening import Source
from keras_r3d.run_folder import Run
from keras_r3d.system import files
from keras_r3d.system.errors import RunError
from keras_r3d.training.finetune import Say

FILES = "files.csv"  # in the folder of states
REMEDY = (
    "Else choose another `workdir`, or start over with `fresh` (the old run is moved aside; not at "
    "a URL)."
)
_CHECKSUMS = 16  # of files, spread over all


def record_files(folder: Path, source: Source) -> None:
    """Writes what tells the files of a run from others, wherever they lie, into its folder."""
    files.write_text(folder / run_folder.STATE / FILES, _fingerprints(source))


def check_videos(run: Run, source: Source) -> bool:
    """Returns whether the videos that a run began with have moved.

    Raises RunError if these are others: by their names, or if they moved also by the files' sizes
    and some checksums.
    """
    listed = _read(run, run.path / run_folder.VIDEOS)
    if listed == annotations.to_csv(source.annotations):
        return run.summary["video_root"] != source.root
    before = _below(listed, run.summary["video_root"])
    now = _below(annotations.to_csv(source.annotations), source.root)
    if before != now:
        missing, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
        changes = "; ".join(
            f"{len(lines)} {state}, such as {lines[0]}"
            for state, lines in (("no longer there", missing), ("new", new))
            if lines
        )
        raise RunError(
            f"The videos in {source.path} are not those that the run {run.path} began with "
            f"({changes or 'in another order'}): a run is resumed on its own videos only. Restore "
            f"them. {REMEDY}"
        )
    pairs = itertools.zip_longest(
        _read(run, run.path / run_folder.STATE / FILES).splitlines(),
        _fingerprints(source).splitlines(),
    )
    if changed := [pair for pair in pairs if pair[0] != pair[1]]:
        was, one = changed[0]
        raise RunError(
            f"{len(changed)} videos in {source.path} are not the files in "
            f"{run.summary['video_root']} that the run {run.path} began with, such as {one} "
            f"instead of {was} (name, size, checksum): copy them again. {REMEDY}"
        )
    return True


def follow(run: Run, source: Source, say: Say) -> None:
    """Writes into the run where its videos lie now."""
    say(
        f"Note: the videos were in {run.summary['video_root']}; those in {source.root} are the "
        "same by names, sizes and some checksums."
    )
    files.write_text(run.path / run_folder.VIDEOS, annotations.to_csv(source.annotations))
    run.update_summary(data_dir=source.path, video_root=source.root)


def _read(run: Run, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run.path} holds a run that cannot be resumed: {path} cannot be read ({error}). "
            + REMEDY
        ) from error


def _below(listed: str, root: str) -> list[str]:
    """Returns the lines of a list of videos, with paths below the folder they are in."""
    rows = list(csv.reader(listed.splitlines(keepends=True)))
    named = [[annotations.relative(path, root), *values] for path, *values in rows[1:]]
    return files.csv_text(rows[0], named).splitlines()


def _fingerprints(source: Source) -> str:
    videos = {video.name: video for split in source.annotations.splits.values() for video in split}
    every = -(-len(videos) // _CHECKSUMS)
    rows = [
        (
            annotations.relative(name, source.root),
            *source.reader.fingerprint(video, not number % every),
        )
        for number, (name, video) in enumerate(sorted(videos.items()))
    ]
    return files.csv_text(("video", "size", "sha256"), rows)
