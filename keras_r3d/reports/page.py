"""Pages of HTML, each one file: styles, scripts, numbers and videos are in it, nothing is fetched.

All that comes from outside, such as names of classes and files, is escaped: in HTML by Jinja, in
the numbers by `tojson`; the scripts write text, never HTML.
"""

import base64
import datetime
import functools
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
import numpy as np

from keras_r3d._version import __version__

_PACKAGES = ("keras", "tensorflow", "numpy", "opencv-python", "av")
_DIGITS = 6  # of a number in a page, significant ones


def render(template: str, **values: Any) -> str:
    """Returns a page; `values` are what its template names, `data` what its script draws."""
    values["data"] = _plain(values["data"])
    now = datetime.datetime.now(datetime.UTC)
    return (
        _environment()
        .get_template(template)
        .render(**values, made=f"{now:%Y-%m-%d %H:%M} UTC", versions=_versions())
    )


def video_url(mp4: bytes) -> str:
    """Returns a video as an address that holds it."""
    return f"data:video/mp4;base64,{base64.b64encode(mp4).decode()}"


def column(title: str, values: Iterable[Any], kind: str | None = None) -> dict[str, Any]:
    """Returns a column of a table that sorts.

    Its kind is "" (texts), "number", "share", "seconds" or "strips"; None is what the values say.
    """
    values = list(values)
    if kind is None:
        kind = {"i": "number", "f": "share"}.get(np.array(values or "").dtype.kind, "")
    return {"title": title, "kind": kind, "values": values}


def shorter(names: Sequence[str]) -> list[str]:
    """Returns names of videos without the folder that all of them are in."""
    begin = os.path.commonprefix(names).rfind("/") + 1  # noqa: RUF071 (addresses, too)
    return [name[begin:] for name in names]


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    compact = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_kwargs"] = compact
    return environment


def _versions() -> dict[str, str]:
    versions = {"keras_r3d": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # such as opencv-python-headless
            continue
    return versions


def _plain(value: Any) -> Any:
    """Returns values as JSON has them: arrays as lists, numbers short, NaN as None."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
