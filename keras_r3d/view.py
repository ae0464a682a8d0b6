"""Draws training clips as the network sees them: `python -m keras_r3d.view SOURCE`."""

from pathlib import Path

from absl import flags

from keras_r3d import recipe
from keras_r3d.system import command, files
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
    _check_free(output)  # before anything slow

    from keras_r3d.data import sheet
    from keras_r3d.data.opening import open_source

    data = experiment.data
    opened = open_source(source, data)
    found, reader = opened.annotations, opened.reader
    for note in found.notes:
        print(f"Note: {note}")
    seed = experiment.train.seed if command.value("seed") is None else command.value("seed")
    per_class = command.value("per_class")
    videos = found.split("train")
    names = _page_names(output, sheet.page_count(videos, per_class))
    for name in names:
        _check_free(output.with_name(name))
    with files.together(output.parent) as temporary:
        drawn = sheet.pages(reader, videos, data, seed, per_class)
        written = []
        for name, figure in zip(names, drawn, strict=False):  # a class may have no readable video
            figure.savefig(temporary / name, dpi=100)
            written.append(str(output.with_name(name)))
    for problem in reader.problems:
        print(f"{problem.status}: {problem.detail}")
    print(
        f"Written: {_listed(written)}: training clips of recipe '{command.value('recipe')}', "
        f"{data.frames} frames of {data.size}x{data.size} pixels, drawn with seed {seed}"
    )


def _check_free(path: Path) -> None:
    if path.exists():
        raise R3DError(f"{path} exists and is left as it is: choose another --output.")


def _page_names(output: Path, count: int) -> list[str]:
    further = [f"{output.stem}-{number}{output.suffix}" for number in range(2, count + 1)]
    return [output.name, *further]


def _listed(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1]} ({len(paths)} pages)"


if __name__ == "__main__":
    command.run(_define_flags, _main, arguments=("SOURCE",))
