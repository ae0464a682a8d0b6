"""TensorFlow Serving's gRPC interface, by the stubs of `tensorflow-serving-api`.

Reference:
    TensorFlow Serving, tensorflow_serving/apis/prediction_service.proto.
    https://github.com/tensorflow/serving
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.system.errors import ServingError
from keras_r3d.system.retrying import PassingError

from .server import INPUTS, PROBABILITIES, Address, Server

try:
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        predict_pb2,
        prediction_service_pb2_grpc,
    )
except ImportError as missing:
    raise ServingError(
        f"grpc:// needs packages that are not installed ({missing}): `pip install "
        '"keras_r3d[serving]"`, or `pip install "tensorflow-serving-api=='
        f'{".".join(tf.__version__.split(".")[:2])}.*"`. http:// needs none of them.'
    ) from missing

_UNLIMITED = -1


class GrpcServer(Server):
    """A model asked by gRPC, all threads over one channel."""

    most_bytes = 4 * 2**20  # what gRPC takes where it is not told

    def __init__(self, address: Address, model: str, version: int | None):
        super().__init__(address, model, version)
        channel = grpc.insecure_channel(
            address.place,
            # Messages are kept short by the client; an answer may be as long as it is.
            [("grpc.max_receive_message_length", _UNLIMITED), ("grpc.enable_retries", 0)],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def describe(self, seconds: float) -> tuple[int, Mapping[str, Any]]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        answer = self._ask(self._stub.GetModelMetadata, request, seconds)
        protos = get_model_metadata_pb2.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(protos):
            raise ServingError(f"{self.address} does not describe the model '{self.model}'.")
        return answer.model_spec.version.value, protos.signature_def

    def encode(self, clip: Frame | Sequence[bytes]) -> tuple[Any, int]:
        if isinstance(clip, np.ndarray):
            return clip, clip.nbytes
        return clip, sum(len(frame) + 6 for frame in clip)  # each with its length before it

    def predict(self, signature: str, clips: Sequence[Any], seconds: float) -> np.ndarray:
        # Without `output_filter`: a server would take what is filtered out of its batches.
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        # As objects: NumPy's own strings of bytes end at their last byte that is not zero.
        kind = np.uint8 if isinstance(clips[0], np.ndarray) else object
        tensor = tf.make_tensor_proto(np.array(clips, kind))
        request.inputs[INPUTS[signature]].CopyFrom(tensor)
        answer = self._ask(self._stub.Predict, request, seconds)
        try:
            return tf.make_ndarray(answer.outputs[PROBABILITIES]).astype(np.float32)
        except (TypeError, ValueError) as error:
            raise ServingError(
                f"{self.address} sent no '{PROBABILITIES}', or damaged ones: {error}"
            ) from error

    def _ask(self, method: Any, request: Any, seconds: float) -> Any:
        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        try:
            return method(request, timeout=max(seconds, 0.001))
        except grpc.RpcError as error:
            raise self._explained(error, seconds) from error

    def _explained(self, error: Any, seconds: float) -> Exception:
        code, reason = error.code().name, " ".join((error.details() or "").split())[:300]
        text = f"{self.address} answers {code}: {reason}"
        if code == "DEADLINE_EXCEEDED":
            text = f"{self.address}: no answer in {max(seconds, 0):.3g} s."
        elif code == "NOT_FOUND":
            text = f"{self.address} has no such model '{self.model}': {reason}"
        elif code == "RESOURCE_EXHAUSTED" and "larger than max" in reason:
            text += ". Lower `max_message_mib`."
        elif code == "UNAVAILABLE" and ("DNS" in reason or "resolving" in reason):
            text = f"{self.address}: there is no such host ({reason})."
        elif code == "UNAVAILABLE" and "HTTP/2" in reason:
            text = f"{self.address} does not speak gRPC: REST is asked by http://, at another port."
        elif code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
            return PassingError(text)
        return ServingError(text)
