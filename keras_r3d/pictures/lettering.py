"""Names of classes and files in pictures: in fonts that have their letters, and not too long."""

import contextlib
import functools
from collections.abc import Iterable, Iterator

import matplotlib
from matplotlib import font_manager

from keras_r3d.system.text import shortened

_MISSING = "□"  # what stands for a letter that no font has
_LAST_RESORT = "Last Resort"  # of matplotlib, which has a box for every letter there is


@contextlib.contextmanager
def fonts(texts: Iterable[str]) -> Iterator[None]:
    """Lets what is drawn inside take letters that the usual font lacks from other fonts."""
    letters = frozenset("".join(texts)) - _letters(_usual())
    with matplotlib.rc_context({"font.family": [*_family(), *_others(letters)]}):
        yield


def shown(text: str, most: int, number: int | None = None) -> str:
    """Returns a text as it can be drawn: its middle left out if too long, a box for each letter
    that no font here has.

    Args:
        most: letters; wide ones, as of Chinese, count twice.
        number: goes before a text with such boxes, which may look like others.
    """
    there = _letters(_usual())
    lacking = frozenset(text) - there
    if lacking:
        for path in _paths(_others(lacking)):
            there |= _letters(path)
        drawn = "".join(letter if letter in there else _MISSING for letter in text)
        if drawn != text and number is not None:
            drawn = f"{number}: {drawn}"
        text = drawn
    return shortened(text, most)


def _family() -> list[str]:
    return list(matplotlib.rcParams["font.family"])


def _usual() -> str:
    return font_manager.findfont(font_manager.FontProperties())


@functools.cache
def _letters(path: str) -> frozenset[str]:
    """Returns the letters of a font."""
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


@functools.cache
def _others(lacking: frozenset[str]) -> tuple[str, ...]:
    """Names installed fonts that together have as many of the letters as any have."""
    names: list[str] = []
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda one: one.name):
        if not lacking:
            break
        if entry.name.startswith(_LAST_RESORT) or entry.name in names:
            continue
        try:
            found = lacking & _letters(entry.fname)
        except (OSError, RuntimeError):  # a font that was removed, or is none
            continue
        if found:
            names.append(entry.name)
            lacking -= found
    return tuple(names)


def _paths(families: Iterable[str]) -> list[str]:
    return [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in families]
