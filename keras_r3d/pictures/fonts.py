"""Figures whose text may be of any script, as far as fonts are installed."""

import contextlib
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

from keras_r3d.system import files

# Of Linux, Windows and macOS, each of several scripts or of one that the usual font lacks.
_FAMILIES = (
    *("Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei"),
    *("SimHei", "PingFang SC", "Hiragino Sans", "Noto Sans KR", "NanumGothic", "Malgun Gothic"),
    *("Noto Sans Devanagari", "Lohit Devanagari", "Nirmala UI", "Kohinoor Devanagari"),
    *("Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Arabic"),
    *("Noto Sans Hebrew", "Noto Sans Thai", "Arial Unicode MS", "FreeSans", "Unifont"),
)


@contextlib.contextmanager
def any_script() -> Iterator[None]:
    """Lets text that is drawn inside take letters that the usual font lacks from other fonts.

    A letter that none has is drawn as a box, without a warning.
    """
    family = [*matplotlib.rcParams["font.family"], *_installed()]
    with matplotlib.rc_context({"font.family": family}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def save(figure: Figure, path: str | Path, dpi: int = 100) -> None:
    """Writes a figure, whole or not at all."""
    with any_script(), files.atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


@functools.cache
def _installed() -> tuple[str, ...]:
    names = set(font_manager.get_font_names())
    return tuple(family for family in _FAMILIES if family in names)
