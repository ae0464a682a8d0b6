"""LiteRT.js, Google's runtime for `.tflite` files in browsers: where it is taken from.

`litert.json` names its files, each with a hash that export and page compare, and the network of
servers (CDN) that has them, too.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from keras_r3d.system import files
from keras_r3d.system.errors import ExportError

MANIFEST = "litert.json"
_FOLDER = "litert"  # in an exported folder
_SECONDS = 300  # that npm may take


def add(page: Path, folder: str | None) -> list[str]:
    """Puts LiteRT.js and `litert.json` into a page; returns a sentence on where it comes from.

    It is taken from `folder`, a `node_modules`; from the cache; from npm; else the page loads it
    from the CDN. ExportError: `folder` has another version.
    """
    manifest = json.loads(Path(__file__).with_name(MANIFEST).read_text(encoding="utf-8"))
    names = list(manifest["files"])
    version = names[0].split("@")[1].split("/")[0]
    if folder is not None:
        copied, origin = _find(Path(folder), manifest), f"from {folder}"
        wrong = [name for name, path in copied.items() if path is None]
        if wrong:
            raise ExportError(
                f"`litert` {folder} must be a node_modules with @litertjs/core {version} and "
                f"@litertjs/wasm-utils {version}: {wrong[0]} is missing or another one. "
                f"npm install @litertjs/core@{version} makes one."
            )
    else:
        cache = files.cache() / f"litertjs-{version}"
        reason = "" if cache.is_dir() else _fetch(cache, names, version)
        copied, origin = _find(cache, manifest), "from npm"
        if reason or None in copied.values():
            reason = reason or f"{cache} is damaged, remove it"
            files.write_json(page / MANIFEST, manifest)
            return [f"LiteRT.js {version} is loaded from {manifest['base']} ({reason})."]
    for name, path in copied.items():
        target = page / _FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(path), target)
    files.write_json(page / MANIFEST, manifest | {"base": f"{_FOLDER}/"})
    return [f"LiteRT.js {version} is in the folder, {origin}."]


def _find(folder: Path, manifest: dict[str, Any]) -> dict[str, Path | None]:
    """Returns where the files are: as we name them or as npm does; None of one that is not right."""
    places: dict[str, Path | None] = {}
    for name, wanted in manifest["files"].items():
        package, _, rest = name.partition("@")
        plain = f"{package}/{rest.partition('/')[2]}"
        paths = [folder / name, folder / plain, folder / "@litertjs" / plain]
        path = next(filter(Path.is_file, paths), None)
        right = path is not None and _integrity(path) == wanted
        places[name] = path if right else None
    return places


def _integrity(path: Path) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()


def _fetch(folder: Path, names: list[str], version: str) -> str:
    """Fetches LiteRT.js with npm into a new folder; returns why it did not succeed."""
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm here"
    with files.scratch_folder() as scratch:
        packages = [f"@litertjs/{name}@{version}" for name in ("core", "wasm-utils")]
        command = [npm, "pack", "--silent", "--pack-destination", str(scratch), *packages]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"npm failed: {error}"
        archives = sorted(scratch.glob("*.tgz"))
        if done.returncode or len(archives) != len(packages):
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return " ".join(["npm failed:", *last])
        files.make_folder(folder.parent)
        with files.atomic(folder) as written:
            for package, archive in zip(("core", "wasm-utils"), archives, strict=True):
                with tarfile.open(archive) as packed:
                    for name in names:
                        head, _, rest = name.partition("/")
                        if head == f"{package}@{version}":
                            source = packed.extractfile(f"package/{rest}")
                            assert source is not None
                            (written / name).parent.mkdir(parents=True, exist_ok=True)
                            (written / name).write_bytes(source.read())
    return ""
