"""LiteRT.js, Google's runtime for `.tflite` files in browsers: where it is taken from.

`litert.json` names its files, with hashes that the export and the page compare, and a network of
servers (CDN) that has them, too.
"""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from keras_r3d.system import files
from keras_r3d.system.errors import ExportError

_MANIFEST = "litert.json"
_FOLDER = "litert/"  # in a page
_SECONDS = 300  # that npm may take


def add(page: Path, folder: str | None) -> list[str]:
    """Puts LiteRT.js and `litert.json` into a page; returns a sentence on where it comes from.

    It is taken from `folder`, a `node_modules`; else from the cache; else from npm; else the page
    loads it from the CDN. ExportError: `folder` has another version.
    """
    manifest = json.loads(Path(__file__).with_name(_MANIFEST).read_text(encoding="utf-8"))
    version = next(iter(manifest["files"])).split("@")[1].partition("/")[0]
    modules = (
        files.cache() / f"litertjs-{version}" / "node_modules" if folder is None else Path(folder)
    )
    missing = "" if folder is not None or modules.is_dir() else _fetch(modules.parent, version)
    for name, integrity in manifest["files"].items():
        source, target = (
            modules / "@litertjs" / name.replace(f"@{version}", ""),
            page / _FOLDER / name,
        )
        if not source.is_file() or _hash(source) != integrity:
            missing = missing or f"{source} is missing, or not that of version {version}"
            break
        files.make_folder(target.parent)
        shutil.copyfile(source, target)
    if not missing:
        files.write_json(page / _MANIFEST, manifest | {"base": _FOLDER})
        return [
            f"LiteRT.js {version} is in the folder, from {'npm' if folder is None else folder}."
        ]
    if folder is not None:
        raise ExportError(
            f"`litert` must be a node_modules with LiteRT.js, as `npm install @litertjs/core@"
            f"{version}` makes it: {missing}."
        )
    shutil.rmtree(page / _FOLDER, ignore_errors=True)
    files.write_json(page / _MANIFEST, manifest)
    return [f"The page loads LiteRT.js {version} from {manifest['base']}: {missing}."]


def _hash(path: Path) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()}"


def _fetch(folder: Path, version: str) -> str:
    """Fetches LiteRT.js with npm into a new folder; returns why it did not succeed."""
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm to fetch it with"
    packages = [f"@litertjs/{name}@{version}" for name in ("core", "wasm-utils")]
    words = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages, "--prefix"]

    def install(place: Path) -> None:
        subprocess.run(
            [*words, str(place)], cwd=place, capture_output=True, timeout=_SECONDS, check=True
        )

    try:
        files.made_once(folder, install)
    except (OSError, subprocess.SubprocessError) as error:
        return f"npm failed ({error})"
    return ""
