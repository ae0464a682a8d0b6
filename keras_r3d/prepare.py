"""Makes a clip store out of videos: `python -m keras_r3d.prepare SOURCE --output STORE`.

`--verify STORE` compares a store with its checksums instead.
"""

import os
import shutil
import sys
from pathlib import Path

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("output", None, "Folder of the store, new or unfinished.")
    flags.DEFINE_string("annotations", "auto", "As `data.annotations` of a recipe.")
    flags.DEFINE_string(
        "levels",
        None,
        "paper: a level for each training scale of --recipe, so that its crops need no resizing "
        "(default). Or short sides in pixels, such as 240,120.",
    )
    flags.DEFINE_string("recipe", "kinetics34", "Recipe whose size and scales `paper` takes.")
    flags.DEFINE_multi_string("set", [], "Changes a key of that recipe: --set data.size=224.")
    flags.DEFINE_integer("height", None, "One level of this height in pixels.", lower_bound=16)
    flags.DEFINE_integer("short_side", None, "One level of this short side.", lower_bound=16)
    flags.DEFINE_integer("quality", 90, "Of the JPEGs.", lower_bound=1, upper_bound=100)
    flags.DEFINE_float("fps", 0, "Frames a second to resample to; 0 keeps all.")
    flags.DEFINE_integer("processes", None, "Videos at a time. Default: one a core.", lower_bound=1)
    flags.DEFINE_float("time_limit", 1800, "Seconds for a video.", lower_bound=1)
    flags.DEFINE_float("shard_gib", 2, "Size at which a shard is full.", lower_bound=0.001)
    flags.DEFINE_bool("dry_run", False, "Reports and estimates; writes nothing.")
    flags.DEFINE_string("verify", None, "Store to compare with its checksums.")
    flags.DEFINE_bool(
        "quarantine", False, "With --verify: lists damaged videos in STORE/quarantine.txt."
    )


def _main(*sources: str) -> None:
    if command.value("verify"):
        if sources:
            raise R3DError(f"--verify takes a store and nothing beside it. Received: {sources[0]}")
        _verify(command.value("verify"))
        return
    if not sources:
        raise R3DError("Name what to prepare: a folder of videos, or a list of them.")
    _prepare(sources[0])


def _prepare(source: str) -> None:
    from keras_r3d.data import jobs
    from keras_r3d.data.store import format, preparing
    from keras_r3d.data.store.encoding import Settings

    if command.value("quarantine"):
        raise R3DError("--quarantine goes with --verify.")
    output = command.value("output") or None
    if output is None and not command.value("dry_run"):
        raise R3DError("--output is missing: the folder of the store (or pass --dry_run).")
    found, root = jobs.store_source(
        source, output, command.value("annotations"), command.value("fps")
    )
    settings = Settings(_levels(), command.value("quality"), command.value("fps"))
    for note in found.notes:
        print(f"Note: {note}")
    counts = ", ".join(f"{name} {len(videos)}" for name, videos in found.splits.items())
    print(f"{source}: {len(found.classes)} classes; videos: {counts}")
    sides = ", ".join(map(str, settings.levels.sizes))
    rate = f"{settings.fps:g} frames/s" if settings.fps else "frame rate kept"
    by = settings.levels.by.replace("_", " ")
    print(f"Levels: {by} {sides} px; JPEG quality {settings.quality}; {rate}")

    work = preparing.job(found, root, settings)
    processes = command.value("processes") or len(os.sched_getaffinity(0))
    limit = command.value("time_limit")
    disk = Path(output or ".").absolute()
    while not disk.exists():
        disk = disk.parent
    if output is not None:
        preparing.check(work, Path(output))
    if output is None or not preparing.unfinished(Path(output)):
        needed = preparing.estimate(
            work,
            processes=processes,
            limit_seconds=limit,
            folder=None if command.value("dry_run") else disk,
        )
        free = shutil.disk_usage(disk).free
        print(
            f"By {needed.samples} of them: about {_size(needed.bytes)} and "
            f"{command.duration(needed.seconds)}; {_size(free)} are free in {disk}",
            flush=True,
        )
        if needed.bytes > free:
            print("Warning: the disk may not hold it. If it fills up, make room, then run again.")
    if command.value("dry_run"):
        return
    path = Path(output or "")
    try:
        description, problems = preparing.prepare(
            work,
            path,
            processes=processes,
            limit_seconds=limit,
            shard_bytes=int(command.value("shard_gib") * 2**30),
            progress=command.Progress("videos"),
        )
    except KeyboardInterrupt:
        print("What is done is kept: run the same command again to go on.", file=sys.stderr)
        raise
    kept = (path / format.CLASSES).read_text(encoding="utf-8").splitlines()
    for name in sorted(set(found.classes) - set(kept)):
        print(f"Warning: class '{name}' has no video that can be read: it is not in the store.")
    for problem in problems[:10]:
        print(f"  {problem.status}: {problem.detail}")
    if len(problems) > 10:
        print(f"  … and {len(problems) - 10} more")
    if problems:
        print(f"{len(problems)} videos are left out: {path / format.PROBLEMS}")
    total = sum(file.bytes for file in description.files)
    shards = sum(not file.sha256 for file in description.files)
    print(
        f"Written: {path}: {description.videos} videos, {description.frames:,} frames at "
        f"{len(description.levels.sizes)} sizes, {_size(total)} in {shards} shards. Next:\n"
        f"  python -m keras_r3d.view {path}\n"
        f"  python -m keras_r3d.train --recipe {command.value('recipe')} --data_dir {path}"
    )


def _levels():
    from keras_r3d.data.store import levels

    asked = {
        name: command.value(name)
        for name in ("levels", "height", "short_side")
        if command.value(name) is not None
    }
    if len(asked) > 1:
        raise R3DError(f"Of --levels, --height and --short_side, one only. Received: {asked}")
    if "height" in asked:
        return levels.Levels("height", (asked["height"],))
    if "short_side" in asked:
        return levels.Levels("short_side", (asked["short_side"],))
    text = asked.get("levels", "paper")
    if text == "paper":
        data = recipe.load(command.value("recipe"), command.value("set")).data
        return levels.for_crops(data.size, data.scales)
    try:
        sizes = {int(word) for word in text.split(",")}
    except ValueError:
        sizes = set()
    if not sizes or min(sizes) < 16:
        raise R3DError(
            "--levels must be `paper` or short sides of 16 pixels or more, such as 240,120. "
            f"Received: {text}"
        )
    return levels.Levels("short_side", tuple(sorted(sizes, reverse=True)))


def _verify(path: str) -> None:
    from keras_r3d.data import annotations
    from keras_r3d.data.store import storage, verifying

    if command.value("quarantine") and storage.is_url(path):
        raise R3DError(f"--quarantine writes a file into the store, which {path} does not allow.")
    report = verifying.verify(path, progress=command.Progress("videos"))
    for line in report.damage[:20]:
        print(f"  damaged: {line}")
    if len(report.damage) > 20:
        print(f"  … and {len(report.damage) - 20} more")
    print(
        f"{path}: {report.videos} videos, {_size(report.bytes)} compared; "
        f"{len(report.damage)} damaged"
    )
    if report.broken and command.value("quarantine"):
        listed = annotations.add_to_quarantine(path, report.broken)
        print(f"Written: {listed}; trainings and evaluations of {path} leave them aside.")
    if report.damage:
        sys.exit(1)


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.3g} TB"


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("[SOURCE]",))
