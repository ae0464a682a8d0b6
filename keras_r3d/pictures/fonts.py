"""One look of all figures, whose text may be of any script, as far as fonts are installed."""

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
# Seen on pages of any color: ink on paper of its own.
_LOOK = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "0.1",
    "axes.labelcolor": "0.25",
    "axes.edgecolor": "0.6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "0.35",
    "ytick.color": "0.35",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Draws figures in our look; letters that the usual font lacks are taken from other fonts.

    A letter that none has is drawn as a box, without a warning.
    """
    family = [*matplotlib.rcParams["font.family"], *_installed()]
    with matplotlib.rc_context(_LOOK | {"font.family": family}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def save(figure: Figure, path: str | Path, dpi: int = 100) -> None:
    """Writes a figure, whole or not at all."""
    with look(), files.atomic(path) as temporary:
        # Of photographs a higher level takes thrice as long and saves a tenth.
        figure.savefig(temporary, dpi=dpi, pil_kwargs={"compress_level": 3})


@functools.cache
def _installed() -> tuple[str, ...]:
    names = set(font_manager.get_font_names())
    return tuple(family for family in _FAMILIES if family in names)
