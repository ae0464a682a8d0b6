"""What the published files of I3D call the tensors that our layers hold."""

import dataclasses
from collections.abc import Collection, Mapping

from keras_r3d.applications.networks import HEAD, I3D_BLOCKS
from keras_r3d.applications.weights import pytorch

# Our layer or branch: its name by DeepMind, piergiaj and hassony2.
_SINGLE = {
    "conv1": ("Conv3d_1a_7x7", "Conv3d_1a_7x7", "conv3d_1a_7x7"),
    "conv2b": ("Conv3d_2b_1x1", "Conv3d_2b_1x1", "conv3d_2b_1x1"),
    "conv2c": ("Conv3d_2c_3x3", "Conv3d_2c_3x3", "conv3d_2c_3x3"),
    HEAD: ("Logits/Conv3d_0c_1x1", "logits", "conv3d_0c_1x1"),
}
_BRANCHES = {
    "branch0": ("Branch_0/Conv3d_0a_1x1", "b0", "branch_0"),
    "branch1a": ("Branch_1/Conv3d_0a_1x1", "b1a", "branch_1.0"),
    "branch1b": ("Branch_1/Conv3d_0b_3x3", "b1b", "branch_1.1"),
    "branch2a": ("Branch_2/Conv3d_0a_1x1", "b2a", "branch_2.0"),
    "branch2b": ("Branch_2/Conv3d_0b_3x3", "b2b", "branch_2.1"),
    "branch3b": ("Branch_3/Conv3d_0b_1x1", "b3b", "branch_3.1"),
}


@dataclasses.dataclass(frozen=True)
class Naming:
    """How one project names the tensors of a module: `{}` is the module."""

    project: int  # place in the tables above
    block: str
    kernel: str
    bias: str
    batch_norm: Mapping[str, str]  # by our names of its variables
    axes: tuple[int, ...] = (0, 1, 2, 3, 4)  # of a kernel, in Keras's order
    misspelled: Mapping[str, str] = dataclasses.field(default_factory=dict)  # modules

    def variables(self) -> dict[str, str]:
        """Returns `layer/variable` of ours by the name of each tensor."""
        modules = {layer: names[self.project] for layer, names in _SINGLE.items()}
        for block in I3D_BLOCKS:
            for branch, names in _BRANCHES.items():
                module = self.block.format(block.removeprefix("conv"), names[self.project])
                modules[f"{block}_{branch}"] = self.misspelled.get(module, module)
        variables = {self.bias.format(modules[HEAD]): f"{HEAD}/bias"}
        for layer, module in modules.items():
            variables[self.kernel.format(module)] = f"{layer}/kernel"
            for kind, name in self.batch_norm.items() if layer != HEAD else ():
                variables[name.format(module)] = f"{layer}_bn/{kind}"
        return variables


def _of_pytorch(project: int, block: str, batch_norm: str) -> Naming:
    kinds = {"gamma": "weight", "beta": "bias"}
    kinds |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    names = {ours: f"{{}}.{batch_norm}.{theirs}" for ours, theirs in kinds.items()}
    axes = pytorch.axes_from_pytorch(5)
    return Naming(project, block, "{}.conv3d.weight", "{}.conv3d.bias", names, axes)


_DEEPMIND = Naming(
    0,
    "Mixed_{}/{}",
    "{}/conv_3d/w",
    "{}/conv_3d/b",
    {kind: f"{{}}/batch_norm/{kind}" for kind in ("beta", "moving_mean", "moving_variance")},
    misspelled={"Mixed_5b/Branch_2/Conv3d_0b_3x3": "Mixed_5b/Branch_2/Conv3d_0a_3x3"},
)
_JAX = Naming(
    0,
    "Mixed_{}/{}",
    "params/{}/Conv_0/kernel",
    "params/{}/Conv_0/bias",
    {
        "beta": "params/{}/BatchNorm_0/bias",
        "moving_mean": "batch_stats/{}/BatchNorm_0/mean",
        "moving_variance": "batch_stats/{}/BatchNorm_0/var",
    },
)
_NAMINGS = (
    _DEEPMIND,
    _JAX,
    _of_pytorch(1, "Mixed_{}.{}", "bn"),  # piergiaj
    _of_pytorch(2, "mixed_{}.{}", "batch3d"),  # hassony2
)


def find_names(tensors: Collection[str]) -> tuple[dict[str, str], tuple[int, ...]] | None:
    """Returns `layer/variable` of ours by the names of tensors, and the order of a kernel's axes.

    None if they are not of an I3D.
    """
    for naming in _NAMINGS:
        first = naming.kernel.format(_SINGLE["conv1"][naming.project])
        for name in tensors:
            if name.endswith(first):
                prefix = name.removesuffix(first)  # "RGB/inception_i3d/"
                variables = naming.variables().items()
                return {f"{prefix}{theirs}": ours for theirs, ours in variables}, naming.axes
    return None
