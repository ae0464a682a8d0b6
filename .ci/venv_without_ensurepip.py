"""Makes a virtual environment where Debian's python3-venv is missing: pip comes from PyPI.

Usage: python3 venv_without_ensurepip.py FOLDER
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path


def main(folder: Path) -> None:
    venv.create(folder, with_pip=False, clear=True)
    with urllib.request.urlopen("https://pypi.org/pypi/pip/json", timeout=60) as answer:
        index = answer.url
        release = json.load(answer)["urls"]
    wheel = next(file for file in release if file["packagetype"] == "bdist_wheel")
    with urllib.request.urlopen(urllib.parse.urljoin(index, wheel["url"]), timeout=60) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != wheel["digests"]["sha256"]:
        sys.exit(f"{wheel['url']} arrived damaged: run again.")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / wheel["filename"]
        path.write_bytes(data)
        python = folder / "bin" / "python"
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-index", path],
            check=True,
            env={**os.environ, "PYTHONPATH": str(path)},
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
