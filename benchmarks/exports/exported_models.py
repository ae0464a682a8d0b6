"""One network in all its exported forms, each scoring clips in a process of its own."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turns import Contender, Worker, import_tensorflow, one_by_one

CLASSES = 400
CLIPS = "clips.npy"  # uint8 (n, frames, size, size, 3), in the folder of the exported models
Score = Callable[[np.ndarray], np.ndarray]  # uint8 (1, frames, size, size, 3) -> (1, classes)


def _start(folder: Path, *, load: Callable[..., Score], file: str, **options: Any) -> Worker:
    """Loads a file in the folder, and scores clips one at a time."""
    clips = np.load(folder / CLIPS)
    score = load(folder / file, len(os.sched_getaffinity(0)), **options)
    return one_by_one(lambda number: score(clips[number % len(clips)][np.newaxis]))


def exported(
    name: str, load: Callable[..., Score], modules: tuple[str, ...], file: str, **options: Any
) -> Contender:
    """Returns a contender; `load` takes its file."""
    return Contender(name, _start, modules, {"load": load, "file": file, **options})


def _load_tflite(path: Path, threads: int, *, module: str) -> Score:
    """A `.tflite` file under TensorFlow's interpreter, or the one that followed it."""
    interpreter = importlib.import_module(module).Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    clips = interpreter.get_input_details()[0]["index"]
    scores = interpreter.get_output_details()[0]["index"]

    def score(clip: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(clips, clip)
        interpreter.invoke()
        return interpreter.get_tensor(scores)

    return score


def load_keras(path: Path, threads: int) -> Score:
    """The Keras model in a `tf.function`, without XLA, which is far slower on CPU."""
    tf = import_tensorflow()
    import keras

    network = keras.models.load_model(path, compile=False)
    function = tf.function(lambda clip: network(tf.cast(clip, tf.float32), training=False))
    return lambda clip: function(tf.constant(clip)).numpy()


# What a classifier opens fills single clips up to two, so these run the files themselves.
def _load_saved_model(path: Path, threads: int) -> Score:
    tf = import_tensorflow()
    loaded = tf.saved_model.load(str(path))
    served = loaded.signatures["serving_default"]

    def score(clip: np.ndarray) -> np.ndarray:
        assert loaded is not None  # named here to be kept: it owns the variables
        return served(clip=tf.constant(clip))["probabilities"].numpy()

    return score


def _load_onnx(path: Path, threads: int) -> Score:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return lambda clip: session.run(["probabilities"], {"clip": clip})[0]


def _load_openvino(path: Path, threads: int, *, precision: str | None = None) -> Score:
    """Without a precision OpenVINO chooses it: bfloat16 where the processor has it."""
    import openvino

    hints = {"INFERENCE_NUM_THREADS": str(threads), "PERFORMANCE_HINT": "LATENCY"}
    hints |= {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    compiled = openvino.Core().compile_model(path / "model.xml", "CPU", hints)
    return lambda clip: np.array(compiled(clip)["probabilities"])


def _load_pytorch(path: Path, threads: int, *, channels_last: bool) -> Score:
    import torch

    from benchmarks.torch_network import Network

    torch.set_num_threads(threads)
    weights = dict(np.load(path))
    network = Network(str(weights.pop("name")), weights, channels_last=channels_last)

    def score(clip: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(clip)).softmax(dim=1).numpy()

    return score


_TENSORFLOW, _TORCH, _OPENVINO = ("tensorflow",), ("torch",), ("openvino",)
_LITERT = ("ai_edge_litert", "ai_edge_litert.interpreter")
_LITE = {"module": "tensorflow.lite.python.interpreter"}
_OURS = ("none", "float16", "dynamic", "int8")
_TFLITE = {  # by file
    **{"stock.tflite": "stock TFLite", "stock-dynamic.tflite": "stock TFLite, dynamic range"},
    **{f"{how}.tflite": f"keras_r3d TFLite, {how}" for how in _OURS},
}
ALL = (
    *(exported(name, _load_tflite, _TENSORFLOW, file, **_LITE) for file, name in _TFLITE.items()),
    exported("TensorFlow, tf.function", load_keras, _TENSORFLOW, "model.keras"),
    exported("keras_r3d SavedModel", _load_saved_model, _TENSORFLOW, "saved_model"),
    exported("keras_r3d ONNX, ONNX Runtime", _load_onnx, ("onnxruntime",), "model.onnx"),
    exported("keras_r3d OpenVINO, float32", _load_openvino, _OPENVINO, "openvino", precision="f32"),
    exported("keras_r3d OpenVINO, default", _load_openvino, _OPENVINO, "openvino"),
    exported("PyTorch, channels last", _load_pytorch, _TORCH, "weights.npz", channels_last=True),
    exported("PyTorch, channels first", _load_pytorch, _TORCH, "weights.npz", channels_last=False),
    *(
        exported(f"LiteRT, {name}", _load_tflite, _LITERT, file, module=_LITERT[1])
        for file, name in _TFLITE.items()
    ),
)
STOCK = ALL[0]
