"""How the input of published weights is normalised, and what their classes are called."""

import dataclasses
import importlib.resources
import json
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Conventions:
    """The normalisation that weights were trained with.

    Attributes:
        mean: per channel, RGB, in units of `value_range`.
        std: per channel, RGB, in the same units.
        value_range: of a pixel before it is normalised: (0, 255) or (0, 1).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[int, int]

    def to_bytes(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns mean and std for pixels of 0-255."""
        scale = 255 / self.value_range[1]
        return tuple(scale * m for m in self.mean), tuple(scale * s for s in self.std)


# The authors' code until 2018: no division, and the mean of ActivityNet's frames for Kinetics too.
KINETICS_2017 = Conventions((114.7748, 107.7354, 99.4750), (1.0, 1.0, 1.0), (0, 255))
# The authors' code since 2020.
KINETICS_2020 = Conventions((0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737), (0, 1))
# Of the weights that come with keras_r3d, as in recipes/motion.toml.
MOTION = Conventions((114.7748, 107.7354, 99.4750), (58.0, 57.0, 57.0), (0, 255))
TORCHVISION = Conventions((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989), (0, 1))

# Names in the order of a network's outputs. Kinetics-400's is alphabetical. The order behind the
# Kinetics-700 weights of 2020 is not, and could not be verified, so it is not here.
LABELS = ("kinetics400",)


def labels(source: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """Reads class names, in the order of a network's outputs.

    Args:
        source: the names; or "kinetics400"; or a file: text with a name a line, or JSON: a list, a
            dictionary of names and numbers, or the authors' annotations with "labels" in them.

    Raises:
        ValueError: there is no such file, or it is none of these.
    """
    if isinstance(source, str) and source in LABELS:
        text = (importlib.resources.files(__package__) / f"{source}.txt").read_text("utf-8")
        return tuple(text.splitlines())
    if isinstance(source, (str, os.PathLike)):
        source = _read(Path(source))
    ordered = isinstance(source, Iterable) and not isinstance(source, (Mapping, Set))
    names = list(source) if ordered else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            "`labels` must be a list of class names in the order of the outputs, one of "
            f"{list(LABELS)}, or a file of names. Received: labels={str(source)[:200]}"
        )
    return tuple(str(name) for name in names)


def _read(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        names = json.loads(text)
    except FileNotFoundError:
        raise ValueError(
            f"`labels`: there is no file {path}, and it is none of {list(LABELS)}."
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"`labels`: {path} cannot be read: {error}") from error
    if isinstance(names, dict):
        names = names.get("labels", names)
    if isinstance(names, dict):
        by_number = {number: name for name, number in names.items() if isinstance(number, int)}
        if sorted(by_number) != list(range(len(names))):
            raise ValueError(f"`labels`: the numbers in {path} are not 0 to {len(names) - 1}.")
        names = [by_number[number] for number in range(len(names))]
    return names if isinstance(names, list) else []
