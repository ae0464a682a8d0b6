"""Makes a clip store out of videos: `python -m keras_r3d.prepare DATA --output STORE`.

`--verify STORE` compares a store with its checksums instead. Several machines share the work with
`--shard_index I --shard_count N`, followed by `--finish`.
"""

import functools

from keras_r3d.system import command
from keras_r3d.system.errors import R3DError
from keras_r3d.system.progress import Progress

_PREPARE = "keras_r3d.data.stores:prepare_store"


def _main(
    arguments: command.Arguments,
    *,
    data: str | None = None,
    verify: str | None = None,
    quarantine: bool = False,
) -> int | None:
    """Prepares, or verifies.

    Args:
        data: folder of videos, CSV file, or public list.
        verify: store to compare with its checksums.
        quarantine: with --verify, lists damaged videos in STORE/quarantine.txt: they are skipped.
    """
    from keras_r3d.data import stores

    progress = Progress("videos")
    if verify:
        if data is not None:
            raise R3DError(f"`verify` takes a store and nothing beside it. Received: {data}")
        report = stores.verify_store(verify, quarantine=quarantine, progress=progress)
        print(report)
        return int(bool(report.damage))
    if data is None:
        raise R3DError("Name what to prepare: a folder of videos, or a list of them.")
    if quarantine:
        raise R3DError("`quarantine` goes with `verify`.")
    say = functools.partial(print, flush=True)
    options = arguments.of(_PREPARE) | arguments.of(command.SPREAD)
    with command.resumable():
        prepared = stores.prepare_store(data, **options, progress=progress, say=say)
    if not arguments["dry_run"]:
        print(prepared)
    return None


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        [_PREPARE, command.SPREAD],
        words=["data"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="MY_VIDEOS --output STORE --recipe kinetics34",
    )


if __name__ == "__main__":
    main()
