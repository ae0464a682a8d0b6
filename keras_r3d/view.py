"""Draws training clips as the network sees them: `python -m keras_r3d.view SOURCE`."""

from pathlib import Path

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command
from keras_r3d.system.errors import R3DError


def _define_flags() -> None:
    flags.DEFINE_string(
        "recipe", "kinetics34", "Name of the recipe that cuts them, or path of a TOML file."
    )
    flags.DEFINE_multi_string("set", [], "Changes a recipe key: --set data.size=224.")
    flags.DEFINE_integer("seed", None, "Draws other videos and clips. Default: the recipe's.")
    flags.DEFINE_integer("per_class", 3, "Videos of each class.", lower_bound=1, upper_bound=15)
    flags.DEFINE_string(
        "output", "clips.png", "PNG file to write; further pages are NAME-2.png, … None may exist."
    )


def _main(source: str) -> None:
    experiment = recipe.load(command.value("recipe"), command.value("set"))
    output = Path(command.value("output"))
    if output.suffix.lower() != ".png":
        raise R3DError(f"--output must end in .png. Received: {output}")

    from keras_r3d.data import sheet
    from keras_r3d.data.opening import open_source

    sheet.check_free(output)  # before anything slow
    data = experiment.clips
    opened = open_source(source, data)
    for note in opened.annotations.notes:
        print(f"Note: {note}")
    seed = experiment.train.seed if command.value("seed") is None else command.value("seed")
    videos, per_class = opened.annotations.split("train"), command.value("per_class")
    paths = sheet.write_pages(opened.reader, videos, data, seed, per_class, output)
    for problem in opened.reader.problems:
        print(f"{problem.status}: {problem.detail}")
    pages = f"{paths[0]} to {paths[-1]} ({len(paths)} pages)" if len(paths) > 1 else f"{paths[0]}"
    print(
        f"Written: {pages}: training clips of recipe '{command.value('recipe')}', "
        f"{data.frames} frames of {data.size}x{data.size} pixels, drawn with seed {seed}"
    )


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE",))
