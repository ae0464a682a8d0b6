"""Weights by name: the public checkpoints, where they are published, and getting them; our own."""

import dataclasses
import math
import re
from pathlib import Path

from keras_r3d.applications.networks import (
    KINETICS_2017,
    KINETICS_2020,
    MOTION,
    TORCHVISION,
    Conventions,
)
from keras_r3d.system import files, http
from keras_r3d.system.errors import WeightsError
from keras_r3d.system.progress import Progress
from keras_r3d.system.retrying import retry


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights that have a name.

    Attributes:
        network: its network's name, such as "r3d34".
        name: what `weights=` calls it, such as "kinetics400".
        file: its official file name.
        classes: of its classifier.
        conventions: how its input is normalized.
        labels: name of its list of class names; None where their order is not known.
        source: where its authors publish it.
        url: address that it can be fetched from, if there is a stable one.
        packaged: whether it comes with keras_r3d.
    """

    network: str
    name: str
    file: str
    classes: int
    conventions: Conventions
    labels: str | None
    source: str
    url: str | None = None
    packaged: bool = False

    @property
    def sha256(self) -> str | None:
        """First digits of the file's SHA-256, which torchvision writes into the file's name."""
        digits = re.search(r"-([0-9a-f]{8})\.pth$", self.file)
        return digits[1] if digits else None


_DRIVE = "https://drive.google.com/drive/folders/"
_AUTHORS_2017 = f"{_DRIVE}1zvl89AgFAApbH0At-gMuZSeQB_LpNP-M"
_AUTHORS_2020 = f"{_DRIVE}1xbYbZ7rpyjftI_KCk6YuL-XrfQDz7Yd4"
_PYTORCH = "https://download.pytorch.org/models/"

# Kinetics-700 (K), Moments in Time (M), STAIR-Actions (S), and merged.
_SETS_2020 = {
    "K": ("kinetics700", 700),
    "KM": ("kinetics700_moments", 1039),
    "KMS": ("kinetics700_moments_stair", 1139),
    "KS": ("kinetics700_stair", 800),
    "M": ("moments", 339),
    "MS": ("moments_stair", 439),
    "S": ("stair", 100),
}


def _of_2017(depth: int) -> Pretrained:
    file = f"resnet-{depth}-kinetics.pth"
    return Pretrained(
        *(f"r3d{depth}", "kinetics400", file, 400, KINETICS_2017, "kinetics400", _AUTHORS_2017)
    )


def _of_2020(depth: int, letters: str) -> Pretrained:
    name, classes = _SETS_2020[letters]
    file = f"r3d{depth}_{letters}_200ep.pth"
    return Pretrained(f"r3d{depth}", name, file, classes, KINETICS_2020, None, _AUTHORS_2020)


def _of_torchvision(network: str, digest: str) -> Pretrained:
    file = f"{network}-{digest}.pth"
    url = _PYTORCH + file
    return Pretrained(network, "kinetics400", file, 400, TORCHVISION, "kinetics400", url, url)


_MOTIONS = 67  # of keras_r3d.data.motion


def _of_motion(network: str, name: str) -> Pretrained:
    file = f"{network}_{name}.npz"
    return Pretrained(*(network, name, file, _MOTIONS, MOTION, None, "keras_r3d"), packaged=True)


PRETRAINED = (
    *(_of_2017(depth) for depth in (18, 34, 50, 101, 152, 200)),
    *(_of_2020(depth, "K") for depth in (18, 34, 50, 101, 152, 200)),
    *(_of_2020(depth, "KM") for depth in (18, 34, 50, 101, 152, 200)),
    *(_of_2020(50, letters) for letters in ("KMS", "KS", "M", "MS", "S")),
    _of_motion("r3d10", "motion"),
    _of_motion("r3d10", "motion_wide"),
    _of_torchvision("r3d_18", "b3b3357e"),
    _of_torchvision("mc3_18", "a90a0ba3"),
    _of_torchvision("r2plus1d_18", "91a641e6"),
)
_TORCHVISION_NAMES = ("KINETICS400_V1", "DEFAULT")  # what torchvision calls these weights


def find(network: str, name: str) -> Pretrained | None:
    """Returns the checkpoint of a network by its name, or torchvision's name for it."""
    for row in PRETRAINED:
        if row.network == network and name in (row.name, *(_TORCHVISION_NAMES if row.url else ())):
            return row
    return None


def find_file(network: str, file: str) -> Pretrained | None:
    """Returns the checkpoint of a network by its official file name.

    "-cpu" (the authors' copy without module.) and " (1)" (a browser's second download) may follow.
    """
    official = re.sub(r"(-cpu)?( ?\(\d+\))?\.pth$", ".pth", file)
    rows = [row for row in PRETRAINED if (row.network, row.file) == (network, official)]
    return rows[0] if rows else None


def list_names(network: str) -> list[str]:
    """Lists what `weights=` can be for a network, beside paths."""
    return [row.name for row in PRETRAINED if row.network == network]


def fetch(row: Pretrained) -> Path:
    """Returns the path of a checkpoint, downloading it where that can be done.

    Raises:
        WeightsError: it is not in the cache and has no address, or the download failed.
    """
    if row.packaged:
        return Path(__file__).with_name(row.file)
    path = files.cache() / "weights" / row.file
    if not path.is_file():
        if row.url is None:
            raise WeightsError(
                f"weights='{row.name}' of {row.network} is the file {row.file}, which its authors "
                f"publish in a Google Drive folder that programs cannot fetch from: {row.source} . "
                f"Download it in a browser and put it at {path} (or pass its path as `weights`)."
            )
        _download(row, row.url, path)  # and compares the hash
        return path
    if row.sha256 and not (digest := files.sha256(path)).startswith(row.sha256):
        raise WeightsError(
            f"{path} is not the published {row.file}: its SHA-256 begins with {digest[:8]}, not "
            f"{row.sha256}. Remove it, then run again to fetch it from {row.source} ."
        )
    return path


def _download(row: Pretrained, url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.WriteError(files.explain(path.parent, error)) from error
    by_hand = f"Download it in another way and put it at {path} ."

    def failure(reason: object) -> WeightsError:
        return WeightsError(f"{url} could not be downloaded: {reason} {by_hand}")

    def write(file: Path) -> None:
        with http.request("GET", url, seconds=30) as answer, file.open("wb") as content:
            if (status := http.status(answer)) != "200 OK":
                raise http.HttpError(f"the server answered {status}")
            size, progress, done = answer.length_remaining or 0, Progress("MB", unit=1e6), 0
            while block := answer.read(2**20):
                content.write(block)
                done += len(block)
                progress(done, size)

    with files.atomic(path) as temporary:
        print(f"Downloading {url} to {path}")
        try:
            retry(lambda _: write(temporary), retries=2, deadline_seconds=math.inf, failure=failure)
        except http.HttpError as error:
            raise failure(f"{error}.") from error
        if row.sha256 and not (digest := files.sha256(temporary)).startswith(row.sha256):
            raise WeightsError(
                f"{url} gave another file than the published one: its SHA-256 begins with "
                f"{digest[:8]}, not {row.sha256}. {by_hand}"
            )
