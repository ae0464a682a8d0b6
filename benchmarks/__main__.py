"""Speed and memory against peers and floors: `python -m benchmarks KIND`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError

Given = Mapping[str, Any]


def _recipe(given: Given, default: str) -> recipe.Recipe:
    return recipe.load(given["recipe"] or default, given["overrides"])


def _train(given: Given) -> None:
    from benchmarks.steps import train

    train.run(
        given["model"] or "r3d34",
        batch_size=given["batch_size"],
        frames=given["frames"],
        size=given["size"],
        rounds=given["rounds"],
        xla=given["xla"],
        json=given["json"],
    )


def _checkpoint(given: Given) -> None:
    from benchmarks import checkpoint

    if given["file"] is None:
        raise R3DError("--file is missing: a PyTorch checkpoint.")
    checkpoint.run(given["file"], rounds=given["rounds"], json=given["json"])


def _pipeline(given: Given) -> None:
    from benchmarks.clips import pipeline

    if given["data"] is None:
        raise R3DError("--data is missing: a folder of videos, a list of them, or a clip store.")
    pipeline.run(
        given["data"],
        _recipe(given, "kinetics34"),
        clips=given["clips"] or 64,
        rounds=given["rounds"],
        most_cores=given["cores"],
        gpu_clips_per_second=given["gpu_clips_per_second"],
        json=given["json"],
        videos=given["videos"],
    )


def _prepare(given: Given) -> None:
    from benchmarks.clips import prepare

    if given["data"] is None:
        raise R3DError("--data is missing: a folder of videos, or a list of them.")
    prepare.run(
        given["data"],
        _recipe(given, "kinetics34").clips,
        most_videos=given["clips"] or 64,
        rounds=given["rounds"],
        json=given["json"],
    )


def _evaluate(given: Given) -> None:
    from benchmarks import evaluate

    if given["data"] is None:
        raise R3DError("--data is missing: a folder of videos, a list of them, or a clip store.")
    evaluate.run(
        given["data"],
        _recipe(given, "kinetics34"),
        given["model"] or "r3d34",
        most_videos=given["clips"] or 64,
        network_threads=given["network_threads"],
        rounds=given["rounds"],
        json=given["json"],
    )


def _export(given: Given) -> None:
    from benchmarks.exports import export

    export.run(
        given["model"] or "r3d18",
        frames=given["frames"],
        size=given["size"],
        clips=given["clips"] or 4,
        cores=given["cores"] or 1,
        rounds=given["rounds"],
        json=given["json"],
    )


def _few(given: Given) -> None:
    from benchmarks import few

    few.run(
        given["data"],
        _recipe(given, "few"),
        given["weights"],
        rounds=given["rounds"],
        json=given["json"],
    )


def _few_shots(given: Given) -> None:
    from benchmarks import few_shots

    if given["data"] is None:
        raise R3DError("--data is missing: videos with a train and a test split.")
    few_shots.run(
        given["data"],
        weights=given["weights"] or _recipe(given, "few").model.weights or "",
        per_class=[int(count) for count in given["per_class"]] or [1, 2, 3, 5],
        draws=given["draws"],
        scratch_draws=given["scratch_draws"],
        scratch_recipe="gestures",
        picture=given["picture"],
        json=given["json"],
    )


def _motion(given: Given) -> None:
    from benchmarks.clips import motion

    motion.run(
        clips=given["clips"] or 536,
        rounds=given["rounds"],
        json=given["json"],
    )


def _main(
    _: command.Arguments,
    *,
    kind: str,
    data: str | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    model: str | None = None,
    rounds: int = 5,
    json: str | None = None,
    clips: int | None = None,
    cores: int | None = None,
    batch_size: int = 8,
    frames: int = 16,
    size: int = 112,
    xla: bool = False,
    file: str | None = None,
    videos: str | None = None,
    gpu_clips_per_second: Sequence[float] = (),
    network_threads: int | None = None,
    weights: str | None = None,
    per_class: Sequence[float] = (),
    draws: int = 30,
    scratch_draws: int = 0,
    picture: str | None = None,
) -> None:
    """Runs a benchmark.

    Args:
        kind: train (a step), few (a whole training on few videos), few_shots (its accuracy by the
            number of videos), evaluate, export, checkpoint (of PyTorch, read), pipeline (training
            clips), prepare (a store), or motion (rendered clips).
        data: folder of videos, list of them, or clip store. None is the demo's rendered videos for
            few.
        recipe: recipe that cuts clips; None is kinetics34, of few the recipe few.
        overrides: changes of recipe keys: clips.frames=8. May be repeated.
        model: network; None is r3d34, of export r3d18.
        rounds: turns of each contender.
        json: also writes the figures to this file.
        clips: pipeline, export, motion: clips in a turn; prepare, evaluate: videos. None is 64, of
            export 4, of motion 536.
        cores: pipeline: most cores given to our loader, by default all; export: of each, by
            default 1.
        batch_size: train: clips in a step.
        frames: train, export: frames of a clip.
        size: train, export: side of a clip in pixels.
        xla: train: also our step compiled by XLA (slow on CPU).
        file: checkpoint: PyTorch checkpoint to read.
        videos: pipeline: of a store, the folder it was made of.
        gpu_clips_per_second: pipeline: clips a second that your GPU trains with.
        network_threads: evaluate: cores that the network may use; videos are decoded on all.
        weights: few, few_shots: in place of the recipe's, such as a .keras file.
        per_class: few_shots: training videos of each class; by default 1,2,3,5.
        draws: few_shots: draws of each number of videos.
        scratch_draws: few_shots: likewise of recipe gestures, a minute each.
        picture: few_shots: PNG file to draw the curves into.
    """
    if kind not in _KINDS:
        raise R3DError(f"`kind` must be one of {list(_KINDS)}. Received: {kind}")
    _KINDS[kind](locals())


_KINDS: dict[str, Callable[[Given], None]] = {
    "train": _train,
    "few": _few,
    "few_shots": _few_shots,
    "evaluate": _evaluate,
    "export": _export,
    "checkpoint": _checkpoint,
    "pipeline": _pipeline,
    "prepare": _prepare,
    "motion": _motion,
}


def main() -> None:
    """Entry point of the command."""
    command.run(
        _main,
        words=["kind"],
        names={"overrides": "set"},
        aliases={"data_dir": "data"},
        example="pipeline --data MY_VIDEOS --json figures.json",
    )


if __name__ == "__main__":
    main()
