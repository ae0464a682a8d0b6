"""One network in all its exported forms, each scoring clips in a process of its own."""

import abc
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

CLIPS = "clips.npy"


@dataclasses.dataclass(frozen=True)
class ExportTask:
    """What is scored.

    Attributes:
        model: name of the network.
        folder: of the exported models, and of `CLIPS`, uint8 `(n, frames, size, size, 3)`.
        classes: number of them.
    """

    model: str
    folder: Path
    classes: int


class ExportedModel(abc.ABC):
    """Scores clips one at a time.

    Attributes:
        name: as the report shows it.
        modules: what it imports; the report gives the version of the first.
        file: of the model, in the task's folder; "" if it has none.
        same: it has the weights of all others, so its scores can be compared.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ("tensorflow",)
    file: ClassVar[str] = ""
    same: ClassVar[bool] = True

    def __init__(self, task: ExportTask):
        self._clips = np.load(task.folder / CLIPS)
        self.open(task, task.folder / self.file, len(os.sched_getaffinity(0)))

    @abc.abstractmethod
    def open(self, task: ExportTask, path: Path, threads: int) -> None:
        """Loads the model."""

    @abc.abstractmethod
    def score(self, clip: np.ndarray) -> np.ndarray:
        """Scores one clip: uint8 `(1, frames, size, size, 3)` -> float32 `(1, classes)`."""

    def ready(self, clips: Sequence[int]) -> None:  # noqa: B027 (none need)
        """Has nothing to do."""

    def run(self, clips: Sequence[int]) -> None:
        """Scores clips, by number."""
        for number in clips:
            place = number % len(self._clips)
            self.score(self._clips[place : place + 1])

    def show(self, clips: Sequence[int]) -> np.ndarray:
        """Returns the scores of clips, `(len(clips), classes)`."""
        return np.concatenate([self.score(self._clips[one : one + 1]) for one in clips])


class TFLite(ExportedModel):
    """A `.tflite` file under the interpreter that TensorFlow brings."""

    def open(self, task: ExportTask, path: Path, threads: int) -> None:
        self._interpreter = self.interpreter(str(path), threads)
        self._interpreter.allocate_tensors()
        self._given = self._interpreter.get_input_details()[0]["index"]
        self._asked = self._interpreter.get_output_details()[0]["index"]

    def interpreter(self, path: str, threads: int) -> Any:
        """Returns the interpreter of a file."""
        import tensorflow as tf

        return tf.lite.Interpreter(path, num_threads=threads)

    def score(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._given, clip)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._asked)


class Stock(TFLite):
    """TensorFlow Lite's own conversion."""

    name = "stock TFLite"
    file = "stock.tflite"


class StockDynamic(TFLite):
    """The same with its "dynamic range quantization"."""

    name = "stock TFLite, dynamic range"
    file = "stock-dynamic.tflite"


class Ours(TFLite):
    """Our conversion, float32."""

    name = "keras_r3d TFLite, none"
    file = "none.tflite"


class OursFloat16(TFLite):
    """Our conversion, weights in float16."""

    name = "keras_r3d TFLite, float16"
    file = "float16.tflite"


class OursDynamic(TFLite):
    """Our conversion, weights in int8."""

    name = "keras_r3d TFLite, dynamic"
    file = "dynamic.tflite"


class OursInt8(TFLite):
    """Our conversion, all in int8."""

    name = "keras_r3d TFLite, int8"
    file = "int8.tflite"


class LiteRT(TFLite):
    """A `.tflite` file under the interpreter that followed TensorFlow's."""

    modules = ("ai_edge_litert", "ai_edge_litert.interpreter")

    def interpreter(self, path: str, threads: int) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(path, num_threads=threads)


class StockLiteRT(LiteRT):
    name = "LiteRT, stock TFLite"
    file = Stock.file


class OursLiteRT(LiteRT):
    name = "LiteRT, keras_r3d, none"
    file = Ours.file


class OursFloat16LiteRT(LiteRT):
    name = "LiteRT, keras_r3d, float16"
    file = OursFloat16.file


class OursDynamicLiteRT(LiteRT):
    name = "LiteRT, keras_r3d, dynamic"
    file = OursDynamic.file


class OursInt8LiteRT(LiteRT):
    name = "LiteRT, keras_r3d, int8"
    file = OursInt8.file


class TensorFlow(ExportedModel):
    """The Keras model in a `tf.function`, without XLA, which is far slower on CPU."""

    name = "TensorFlow, tf.function"
    file = "model.keras"

    def open(self, task: ExportTask, path: Path, threads: int) -> None:
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        self._constant, self._function = tf.constant, self.function(path)

    def function(self, path: Path) -> Any:
        """Returns what maps uint8 clips to scores."""
        import keras
        import tensorflow as tf

        network = keras.models.load_model(path, compile=False)
        return tf.function(lambda clip: network(tf.cast(clip, tf.float32), training=False))

    def score(self, clip: np.ndarray) -> np.ndarray:
        return self._function(self._constant(clip)).numpy()


class SavedModel(TensorFlow):
    """The signature `serving_default` of our SavedModel."""

    name = "keras_r3d SavedModel"
    file = "saved_model"

    def function(self, path: Path) -> Any:
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(path))  # it owns the variables
        signature = self._loaded.signatures["serving_default"]
        return lambda clip: signature(clip=clip)["probabilities"]


class OnnxRuntime(ExportedModel):
    """Our ONNX file."""

    name = "keras_r3d ONNX, ONNX Runtime"
    modules = ("onnxruntime",)
    file = "model.onnx"

    def open(self, task: ExportTask, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def score(self, clip: np.ndarray) -> np.ndarray:
        return self._session.run(["probabilities"], {"clip": clip})[0]


class OpenVINO(ExportedModel):
    """Our OpenVINO model, computed in float32."""

    name = "keras_r3d OpenVINO, float32"
    modules = ("openvino",)
    file = "openvino"
    hints: ClassVar[dict[str, str]] = {"INFERENCE_PRECISION_HINT": "f32"}

    def open(self, task: ExportTask, path: Path, threads: int) -> None:
        import openvino

        settings = self.hints | {
            "INFERENCE_NUM_THREADS": str(threads),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = openvino.Core().compile_model(path / "model.xml", "CPU", settings)

    def score(self, clip: np.ndarray) -> np.ndarray:
        return self._compiled(clip)["probabilities"]


class OpenVINOAsItComes(OpenVINO):
    """The same in the precision OpenVINO chooses: bfloat16 where the processor has it."""

    name = "keras_r3d OpenVINO, default"
    hints: ClassVar[dict[str, str]] = {}


class PyTorch(ExportedModel):
    """The same network in PyTorch, channels last; weights of its own."""

    name = "PyTorch, channels last"
    modules = ("torch",)
    same = False
    channels_last: ClassVar[bool] = True

    def open(self, task: ExportTask, path: Path, threads: int) -> None:
        import torch

        from benchmarks.steps.torch_network import BLOCKS, R3D

        if task.model not in BLOCKS:
            raise ValueError(f"written for {', '.join(BLOCKS)} only")
        torch.set_num_threads(threads)
        network = R3D(task.model, task.classes, channels_last=self.channels_last).eval()
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last_3d)
        self._torch, self._network = torch, network

    def score(self, clip: np.ndarray) -> np.ndarray:
        with self._torch.inference_mode():
            return self._network(self._torch.from_numpy(clip)).softmax(dim=1).numpy()


class PyTorchChannelsFirst(PyTorch):
    """The same, channels first."""

    name = "PyTorch, channels first"
    channels_last = False


ALL: tuple[type[ExportedModel], ...] = (
    Stock,
    StockDynamic,
    Ours,
    OursFloat16,
    OursDynamic,
    OursInt8,
    TensorFlow,
    SavedModel,
    OnnxRuntime,
    OpenVINO,
    OpenVINOAsItComes,
    PyTorch,
    PyTorchChannelsFirst,
    StockLiteRT,
    OursLiteRT,
    OursFloat16LiteRT,
    OursDynamicLiteRT,
    OursInt8LiteRT,
)
