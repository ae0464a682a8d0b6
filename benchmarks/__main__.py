"""`python -m benchmarks KIND`: speed and memory, printed and with --json written.

KIND is train (a step), few (a whole training on few videos), evaluate, export, checkpoint (of
PyTorch, read), pipeline (training clips), prepare (a store), or motion (rendered clips).
"""

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string("json", None, "Also writes the figures to this file.")
    flags.DEFINE_integer("rounds", 5, "Turns of each kind.", lower_bound=1)
    flags.DEFINE_string("model", None, "Network. Default: r3d34; export: r3d18.")
    flags.DEFINE_integer("batch_size", 8, "train: clips in a step.", lower_bound=1)
    flags.DEFINE_integer("frames", 16, "train, export: frames of a clip.", lower_bound=1)
    flags.DEFINE_integer("size", 112, "train, export: side of a clip in pixels.", lower_bound=16)
    flags.DEFINE_bool("xla", False, "train: also our step compiled by XLA (slow on CPU).")
    flags.DEFINE_string("file", None, "checkpoint: PyTorch checkpoint to read.")
    flags.DEFINE_string("data", None, "Folder of videos, list of them, or clip store.")
    flags.DEFINE_string("videos", None, "pipeline: of a store, the folder it was made of.")
    flags.DEFINE_string("data_dir", None, "few: the same. Default: the demo's rendered videos.")
    flags.DEFINE_multi_integer(
        "per_class", [], "few_shots: training videos of each class. Default: 1, 2, 3, 5."
    )
    flags.DEFINE_integer("draws", 30, "few_shots: of each number of videos.", lower_bound=1)
    flags.DEFINE_integer(
        "scratch_draws",
        0,
        "few_shots: likewise of recipe gestures, which trains from scratch for a minute each.",
        lower_bound=0,
    )
    flags.DEFINE_string("picture", None, "few_shots: PNG file to draw the curves into.")
    flags.DEFINE_string(
        "weights", None, "few, few_shots: in place of the recipe's, such as a .keras file."
    )
    flags.DEFINE_string("recipe", None, "Recipe that cuts clips. Default: kinetics34; few: few.")
    flags.DEFINE_multi_string(
        "set",
        [],
        "Changes a recipe key: --set data.frames=8. May be repeated.",
    )
    flags.DEFINE_integer(
        "clips",
        None,
        "pipeline, export, motion: clips in a turn. prepare, evaluate: videos. "
        "Default: 64; export: 4; motion: 536.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "cores",
        None,
        "pipeline: most cores given to our loader. Default: all. export: of each. Default: 1.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "network_threads",
        None,
        "evaluate: cores that the network may use; videos are decoded on all. Default: all.",
        lower_bound=1,
    )
    flags.DEFINE_multi_float(
        "gpu_clips_per_second",
        [],
        "pipeline: clips a second that your GPU trains with. May be repeated.",
        lower_bound=0.1,
    )


def _recipe(default: str) -> recipe.Recipe:
    return recipe.load(command.value("recipe") or default, command.value("set"))


def _train() -> None:
    from benchmarks.steps import train

    train.run(
        command.value("model") or "r3d34",
        batch_size=command.value("batch_size"),
        frames=command.value("frames"),
        size=command.value("size"),
        rounds=command.value("rounds"),
        xla=command.value("xla"),
        json=command.value("json"),
    )


def _checkpoint() -> None:
    from benchmarks import checkpoint

    if command.value("file") is None:
        raise R3DError("--file is missing: a PyTorch checkpoint.")
    checkpoint.run(
        command.value("file"), rounds=command.value("rounds"), json=command.value("json")
    )


def _pipeline() -> None:
    from benchmarks.clips import pipeline

    if command.value("data") is None:
        raise R3DError("--data is missing: a folder of videos, a list of them, or a clip store.")
    pipeline.run(
        command.value("data"),
        _recipe("kinetics34"),
        clips=command.value("clips") or 64,
        rounds=command.value("rounds"),
        most_cores=command.value("cores"),
        gpu_clips_per_second=command.value("gpu_clips_per_second"),
        json=command.value("json"),
        videos=command.value("videos"),
    )


def _prepare() -> None:
    from benchmarks.clips import prepare

    if command.value("data") is None:
        raise R3DError("--data is missing: a folder of videos, or a list of them.")
    prepare.run(
        command.value("data"),
        _recipe("kinetics34").data,
        most_videos=command.value("clips") or 64,
        rounds=command.value("rounds"),
        json=command.value("json"),
    )


def _evaluate() -> None:
    from benchmarks import evaluate

    if command.value("data") is None:
        raise R3DError("--data is missing: a folder of videos, a list of them, or a clip store.")
    evaluate.run(
        command.value("data"),
        _recipe("kinetics34"),
        command.value("model") or "r3d34",
        most_videos=command.value("clips") or 64,
        network_threads=command.value("network_threads"),
        rounds=command.value("rounds"),
        json=command.value("json"),
    )


def _export() -> None:
    from benchmarks.exports import export

    export.run(
        command.value("model") or "r3d18",
        frames=command.value("frames"),
        size=command.value("size"),
        clips=command.value("clips") or 4,
        cores=command.value("cores") or 1,
        rounds=command.value("rounds"),
        json=command.value("json"),
    )


def _few() -> None:
    from benchmarks import few

    few.run(
        command.value("data_dir"),
        _recipe("few"),
        command.value("weights"),
        rounds=command.value("rounds"),
        json=command.value("json"),
    )


def _few_shots() -> None:
    from benchmarks import few_shots

    if command.value("data_dir") is None:
        raise R3DError("--data_dir is missing: videos with a train and a test split.")
    few_shots.run(
        command.value("data_dir"),
        weights=command.value("weights") or _recipe("few").model.weights,
        per_class=command.value("per_class") or [1, 2, 3, 5],
        draws=command.value("draws"),
        scratch_draws=command.value("scratch_draws"),
        scratch_recipe="gestures",
        picture=command.value("picture"),
        json=command.value("json"),
    )


def _motion() -> None:
    from benchmarks.clips import motion

    motion.run(
        clips=command.value("clips") or 536,
        rounds=command.value("rounds"),
        json=command.value("json"),
    )


def main() -> None:
    """Entry point of the command."""
    kinds = {
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
    command.run(_define_flags, kinds)


if __name__ == "__main__":
    main()
