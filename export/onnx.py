"""Export to ONNX, float32: uint8 clips in, probabilities out, any batch size.

Keras's own exporter converts the network, with tf2onnx. What it does not do is done here: names,
class names and `model.json` inside the file.
"""

import json
import logging
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_r3d.export.formats import Source
from keras_r3d.inference.models.runtimes.loaders import CLASSES, INPUT, ONNX_METADATA, OUTPUT
from keras_r3d.system.errors import ExportError


def write(source: Source, path: Path, quantize: str) -> None:
    """Writes an `.onnx` file; `quantize` is "none", the only way.

    Its input `clip` is uint8 `(batch, frames, height, width, channels)`, its output
    `probabilities` float32 `(batch, classes)`. Its metadata has the class names as JSON
    (`CLASSES`) and `model.json` (`ONNX_METADATA`).
    """
    import onnx

    model = source.network
    clip = keras.InputSpec(dtype="uint8", shape=(None, *model.input_shape[1:]), name=INPUT)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # it logs each step of its optimizer
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        plain = _with_constants(model)
        plain.export(str(path), format="onnx", verbose=False, input_signature=[clip])
    exported = onnx.load(str(path))
    graph = exported.graph
    inputs, outputs = ([tensor.name for tensor in side] for side in (graph.input, graph.output))
    if inputs != [INPUT] or len(outputs) != 1:
        raise ExportError(
            f"The ONNX graph must have one input '{INPUT}' and one output. Received: inputs "
            f"{inputs}, outputs {outputs}. The format saved_model can hold this model."
        )
    _name(graph)
    graph.name = model.name
    for tensor in (graph.input[0], graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    names = json.dumps(list(source.classes), ensure_ascii=False)
    properties = {CLASSES: names, ONNX_METADATA: source.metadata.to_json()}
    onnx.helper.set_model_props(exported, properties)
    onnx.checker.check_model(exported)
    path.write_bytes(exported.SerializeToString(deterministic=True))


def _with_constants(model: keras.Model) -> keras.Model:
    """Returns the same network with Rescaling for Normalization layers.

    A Normalization keeps its mean and variance as tensors, which Keras's exporter turns into inputs
    of the graph; a Rescaling keeps numbers.
    """

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Normalization) and config["mean"] is not None:
            scale = 1 / np.sqrt(np.asarray(config["variance"], np.float64))
            offset = -np.asarray(config["mean"], np.float64) * scale
            return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=layer.name)
        return layer.__class__.from_config(config)

    same = keras.models.clone_model(model, clone_function=clone)
    same.set_weights(model.get_weights())
    return same


def _name(graph) -> None:
    """Names all nodes and tensors of an ONNX graph by their order, its output `OUTPUT`.

    The names that tf2onnx gives, and where it puts the constants, change from run to run.
    """
    del graph.value_info[:]
    names = {"": "", INPUT: INPUT, graph.output[0].name: OUTPUT}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for place, tensor in enumerate(node.input):  # constants: the others have a name by now
            node.input[place] = names.setdefault(tensor, f"{node.name}_constant_{place}")
        for place, tensor in enumerate(node.output):
            node.output[place] = names.setdefault(tensor, f"{node.name}_output_{place}")
    graph.output[0].name = OUTPUT
    for constant in graph.initializer:
        constant.name = names[constant.name]
    graph.initializer.sort(key=lambda constant: constant.name)
