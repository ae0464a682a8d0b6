"""Draws training clips as the network sees them: `python -m keras_r3d.view SOURCE`."""

from pathlib import Path

from absl import flags

from keras_r3d import _command, files, recipe
from keras_r3d.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string(
        "recipe", "kinetics34", "Name of the recipe that cuts them, or path of a TOML file."
    )
    flags.DEFINE_multi_string("set", [], "Changes a recipe key: --set data.size=224.")
    flags.DEFINE_integer("seed", None, "Draws other clips. Default: the recipe's.")
    flags.DEFINE_string("output", "clips.png", "PNG file to write; must not exist.")


def _main(source: str) -> None:
    experiment = recipe.load(_command.value("recipe"), _command.value("set"))
    output = Path(_command.value("output"))
    if output.suffix.lower() != ".png":
        raise R3DError(f"--output must end in .png. Received: {output}")
    if output.exists():
        raise R3DError(f"{output} exists and is left as it is: choose another --output.")

    from keras_r3d.data import sheet
    from keras_r3d.data.source import open_source

    data = experiment.data
    opened = open_source(source, data)
    found, reader = opened.annotations, opened.reader
    for note in found.notes:
        print(f"Note: {note}")
    seed = experiment.train.seed if _command.value("seed") is None else _command.value("seed")
    figure = sheet.training_sheet(reader, found.split("train"), data, seed)
    with files.atomic(output) as temporary:
        figure.savefig(temporary, dpi=100)
    for problem in reader.problems:
        print(f"{problem.status}: {problem.detail}")
    print(
        f"Written: {output}: training clips of recipe '{_command.value('recipe')}', "
        f"{data.frames} frames of {data.size}x{data.size} pixels, drawn with seed {seed}"
    )


if __name__ == "__main__":
    _command.run(_define_flags, _main, arguments=("SOURCE",))
