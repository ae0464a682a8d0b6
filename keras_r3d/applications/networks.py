"""The table of residual networks: what tells one from the other."""

import dataclasses

from keras_r3d.applications.weights.conventions import KINETICS_2017, TORCHVISION, Conventions

FILTERS = (64, 128, 256, 512)  # of conv2_x, conv3_x, conv4_x and conv5_x


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
        blocks: in conv2_x, conv3_x, conv4_x and conv5_x.
        shortcut: by default.
        bottleneck: blocks of three convolutions instead of two.
        convolutions: of each stage's blocks: "3d" (3x3x3), "2d" (1x3x3) or "2+1d" (factorised).
        stem: first convolution: "3d" or "2+1d".
        conv1_t_size: its frames, by default.
        max_pool: a max-pooling follows it, by default.
        conventions: normalisation where the weights do not say.
        family: "hara" or "torchvision": whose names its checkpoints use.
    """

    blocks: tuple[int, int, int, int]
    shortcut: str
    bottleneck: bool = False
    convolutions: tuple[str, str, str, str] = ("3d", "3d", "3d", "3d")
    stem: str = "3d"
    conv1_t_size: int = 7
    max_pool: bool = True
    conventions: Conventions = KINETICS_2017
    family: str = "hara"


def _torchvision(convolutions: tuple[str, str, str, str], stem: str = "3d") -> Network:
    return Network(
        (2, 2, 2, 2),
        "B",
        convolutions=convolutions,
        stem=stem,
        conv1_t_size=3,
        max_pool=False,
        conventions=TORCHVISION,
        family="torchvision",
    )


NETWORKS = {
    "r3d10": Network((1, 1, 1, 1), "A"),
    "r3d18": Network((2, 2, 2, 2), "A"),
    "r3d34": Network((3, 4, 6, 3), "A"),
    "r3d50": Network((3, 4, 6, 3), "B", bottleneck=True),
    "r3d101": Network((3, 4, 23, 3), "B", bottleneck=True),
    "r3d152": Network((3, 8, 36, 3), "B", bottleneck=True),
    "r3d200": Network((3, 24, 36, 3), "B", bottleneck=True),
    "r3d_18": _torchvision(("3d", "3d", "3d", "3d")),
    "mc3_18": _torchvision(("3d", "2d", "2d", "2d")),
    "r2plus1d_18": _torchvision(("2+1d", "2+1d", "2+1d", "2+1d"), stem="2+1d"),
}
