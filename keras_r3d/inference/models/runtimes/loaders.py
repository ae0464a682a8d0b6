"""Models of all kinds, each loaded by its library; TFLite, which has more to it, is in `tflite`."""

import contextlib
import dataclasses
import functools
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_r3d.applications import Metadata, read_metadata
from keras_r3d.applications.builders.blocks import split_groups
from keras_r3d.applications.metadata import JSON_FILE
from keras_r3d.inference.models.runtimes import taught
from keras_r3d.system.devices import Devices
from keras_r3d.system.errors import ModelError

INPUT, OUTPUT = "clip", "probabilities"
EXTRA = "assets.extra"  # what lies beside a SavedModel for others than TensorFlow
CLASSES = "classes"  # key of the class names as JSON in ONNX and OpenVINO files
ONNX_METADATA = JSON_FILE  # key of the same text
OPENVINO_SECTION, OPENVINO_METADATA = "keras_r3d", "model_json"  # of the runtime information

_SERVED = "serving_default"
_ONNX_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}

# uint8 clips `(n, frames, height, width, channels)` -> probabilities, float32 `(n, classes)`.
Score = Callable[[np.ndarray], np.ndarray]
# Name of a tensor -> its "dtype" and "shape", in which None is any size.
Tensors = dict[str, dict[str, Any]]


def in_steps(step: Score, batch_size: int, least: int) -> Score:
    """Scores any number of clips in steps of few different sizes, so that few are compiled.

    The last step is filled up with its last clip, to the next power of two times `least`. (Of one
    clip alone a matrix product is another one, with other rounding: so `least` is 2 or more.)
    """
    batch_size = least * max(1, batch_size // least)

    def score(clips: np.ndarray) -> np.ndarray:
        scores = []
        for start in range(0, len(clips), batch_size):
            part = clips[start : start + batch_size]
            count = least
            while count < len(part):
                count *= 2
            filled = np.minimum(np.arange(min(count, batch_size)), len(part) - 1)
            scores.append(step(part if len(filled) == len(part) else part[filled])[: len(part)])
        return np.concatenate(scores)

    return score


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model of any kind, which scores any number of clips."""

    score: Callable[[int], Score]  # takes the most clips in a step
    shape: Sequence[int | None]  # (frames, height, width, channels); None where any will do
    classes: int | None  # how many; None where the model does not say
    metadata: Metadata | None  # what the model says of itself
    network: keras.Model | None = None  # None of other kinds than Keras
    # Of an export: name -> "inputs" and "outputs".
    signatures: Mapping[str, Mapping[str, Tensors]] = dataclasses.field(default_factory=dict)


def take_network(network: keras.Model, name: str, hardware: Devices) -> Loaded:
    """Takes a Keras model that gives probabilities or logits of clips, else raises ModelError."""
    metadata = read_metadata(network)
    shape, outputs = network.input_shape, network.output_shape
    if len(shape) != 5 or len(outputs) != 2 or outputs[-1] is None:
        raise ModelError(
            f"{name} must take clips (batch, frames, height, width, channels) and give (batch, "
            f"classes). Received: {shape} -> {outputs}"
        )
    if metadata is not None and not metadata.normalises:
        raise ModelError(
            f"{name} does not normalize its input itself (include_preprocessing=False), so pixels "
            "of 0-255 are of no use to it. Build it with include_preprocessing=True."
        )
    score = functools.partial(of_network, network, hardware)
    return Loaded(score, shape[1:], outputs[-1], metadata, network)


def probabilities_of(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what makes probabilities of a network's outputs, which may be logits."""
    if getattr(network.layers[-1], "activation", None) is not keras.activations.linear:
        return lambda scores: scores
    metadata = read_metadata(network)
    several = metadata is not None and metadata.thresholds is not None
    return tf.nn.sigmoid if several else tf.nn.softmax


def of_network(network: keras.Model, hardware: Devices, batch_size: int) -> Score:
    """Returns what scores clips with a Keras model that gives probabilities, or logits.

    The model was loaded under the strategy of `hardware`; `batch_size` is over all replicas.
    """
    to_probabilities = probabilities_of(network)

    @tf.function(
        autograph=False, reduce_retracing=True, jit_compile=hardware.jit_compile is not False
    )
    def forward(clips: tf.Tensor) -> tf.Tensor:
        return to_probabilities(network(tf.cast(clips, tf.float32), training=False))

    replicas, strategy = hardware.replicas, hardware.strategy

    def step(clips: np.ndarray) -> np.ndarray:
        if replicas == 1:
            return forward(tf.constant(clips)).numpy()
        parts = np.split(clips, replicas)
        distributed = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )
        scores = strategy.experimental_local_results(strategy.run(forward, (distributed,)))
        return np.concatenate([part.numpy() for part in scores])

    return in_steps(step, batch_size, least=2 * replicas)


def checked(
    path: Path,
    step: Score,
    signatures: Mapping[str, Mapping[str, Tensors]],
    metadata_text: str | None,
    *,
    signature: str = "",
    names: tuple[str, str] = (INPUT, OUTPUT),
    one_at_a_time: bool = False,
) -> Loaded:
    """Returns an exported model; raises ModelError if it is none that scores clips.

    `metadata_text` is `model.json`, if it has one; `signature` the one that `step` computes, of any
    number of clips or `one_at_a_time`; `names` are those of its input and output.
    """
    clip = signatures[signature]["inputs"].get(names[0], {})
    scores = signatures[signature]["outputs"].get(names[1], {})
    received = " -> ".join(
        f"{tensor['dtype']} {tensor['shape']}" if tensor else "nothing so named"
        for tensor in (clip, scores)
    )
    axes = [len(tensor.get("shape") or ()) for tensor in (clip, scores)]
    if axes != [5, 2] or (clip["dtype"], scores["dtype"]) != ("uint8", "float32"):
        raise ModelError(
            f"{path} must take uint8 clips (batch, frames, height, width, channels) and give "
            "float32 probabilities (batch, classes), as `python -m keras_r3d.export` writes "
            f"it. Received: {received}"
        )
    metadata = None if metadata_text is None else Metadata.from_json(metadata_text, str(path))

    def score(batch_size: int) -> Score:
        return in_steps(step, *((1, 1) if one_at_a_time else (batch_size, 2)))

    shape, classes = tuple(clip["shape"][1:]), scores["shape"][-1]
    return Loaded(score, shape, classes, metadata, signatures=signatures)


@contextlib.contextmanager
def loading(path: Path | str, library: str) -> Iterator[None]:
    """Raises ModelError where a library cannot load a file; each has its own kinds of errors."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{path}: {library} cannot load it: {error}") from error


def load_network(path: Path, hardware: Devices) -> Loaded:
    """Loads a `.keras` file, or the `.zip` that a page saves; nothing in it is executed."""
    if path.suffix == ".zip":
        with hardware.strategy.scope():
            return take_network(taught.build(path), str(path), hardware)
    place = f"{path} is damaged, or holds code, which is never executed"
    with loading(place, "Keras"), hardware.strategy.scope():
        network = split_groups(keras.models.load_model(path, compile=False, safe_mode=True))
    return take_network(network, str(path), hardware)


def load_saved_model(path: Path) -> Loaded:
    """Loads the folder of a SavedModel with TensorFlow."""
    with loading(path, "TensorFlow"):
        loaded = tf.saved_model.load(str(path))
    served = loaded.signatures.get(_SERVED)
    if served is None:
        raise ModelError(
            f"{path} must have a signature '{_SERVED}', as `python -m keras_r3d.export` "
            f"writes it. Received: {sorted(loaded.signatures)}"
        )

    def step(clips: np.ndarray) -> np.ndarray:
        # `loaded` is named here to be kept: it owns the variables.
        assert loaded is not None
        return served(**{INPUT: tf.constant(clips)})[OUTPUT].numpy()

    def described(tensors: Mapping[str, tf.TensorSpec]) -> Tensors:
        return {
            name: {
                "dtype": tensor.dtype.name,
                "shape": None if tensor.shape.rank is None else tensor.shape.as_list(),
            }
            for name, tensor in sorted(tensors.items())
        }

    signatures = {
        name: {
            "inputs": described(function.structured_input_signature[1]),
            "outputs": described(function.structured_outputs),
        }
        for name, function in sorted(loaded.signatures.items())
    }
    file = path / EXTRA / JSON_FILE
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    return checked(path, step, signatures, text, signature=_SERVED)


def load_onnx(path: Path) -> Loaded:
    """Loads an `.onnx` file with ONNX Runtime, on CPU."""
    onnxruntime = _import(path, "onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    with loading(path, "ONNX Runtime"):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def step(clips: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: clips})[0]

    def described(tensors: Sequence[Any]) -> Tensors:
        return {
            tensor.name: {
                "dtype": _ONNX_DTYPES.get(tensor.type, tensor.type),
                "shape": [size if isinstance(size, int) else None for size in tensor.shape],
            }
            for tensor in tensors
        }

    inputs, outputs = described(session.get_inputs()), described(session.get_outputs())
    text = session.get_modelmeta().custom_metadata_map.get(ONNX_METADATA)
    return checked(path, step, {"": {"inputs": inputs, "outputs": outputs}}, text)


def load_openvino(path: Path) -> Loaded:
    """Loads an OpenVINO model, `model.xml` with `model.bin` beside it, on CPU in float32."""
    openvino = _import(path, "openvino", "openvino")
    # Otherwise it computes in bfloat16 where the processor has it.
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    }
    with loading(path, "OpenVINO"):
        core = openvino.Core()
        model = core.read_model(path)
        compiled = core.compile_model(model, "CPU", settings)

    def step(clips: np.ndarray) -> np.ndarray:
        # A copy: the next call writes to the same memory.
        return np.array(compiled(clips)[OUTPUT])

    def described(ports: Iterable[Any]) -> Tensors:
        return {
            sorted(port.get_names())[0]: {
                "dtype": np.dtype(port.get_element_type().to_dtype()).name,
                "shape": [
                    size.get_length() if size.is_static else None
                    for size in port.get_partial_shape()
                ],
            }
            for port in ports
        }

    place, text = [OPENVINO_SECTION, OPENVINO_METADATA], None
    if model.has_rt_info(place):
        text = model.get_rt_info(place).astype(str)
    signature = {"inputs": described(compiled.inputs), "outputs": described(compiled.outputs)}
    return checked(path, step, {"": signature}, text)


def _import(path: Path, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelError(
            f"{path}: reading it needs {package}: pip install 'keras_r3d[{extra}]' ({error})."
        ) from error
