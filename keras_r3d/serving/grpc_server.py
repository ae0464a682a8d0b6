"""TensorFlow Serving's gRPC interface, by the stubs of `tensorflow-serving-api`.

Reference:
    TensorFlow Serving, tensorflow_serving/apis/prediction_service.proto.
    https://github.com/tensorflow/serving
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.system.errors import ServingError
from keras_r3d.system.retrying import PassingError

from .address import Address
from .signatures import INPUTS, PROBABILITIES, Described, of_protos

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


class GrpcServer:
    """A model asked by gRPC, all threads over one channel."""

    overhead, most_bytes = 1000, 4 * 2**20  # what gRPC takes where it is not told

    def __init__(self, address: Address, model: str, version: int | None):
        self.address, self.model, self._version = address, model, version
        self._channel = grpc.insecure_channel(
            address.place,
            # Messages are kept short by the client; an answer may be as long as it is.
            [("grpc.max_receive_message_length", _UNLIMITED), ("grpc.enable_retries", 0)],
        )
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def describe(self, seconds: float) -> Described:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request.model_spec)
        answer = self._call(self._stub.GetModelMetadata, request, seconds)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(signatures):
            raise ServingError(f"{self.address} does not describe the model '{self.model}'.")
        return Described(answer.model_spec.version.value, of_protos(signatures.signature_def))

    def encode(self, clip: Frame | Sequence[bytes]) -> tuple[Any, int]:
        if isinstance(clip, np.ndarray):
            return clip, clip.nbytes
        return clip, sum(len(one) + 6 for one in clip)  # each with its length before it

    def predict(self, signature: str, clips: Sequence[Any], seconds: float) -> np.ndarray:
        # Without `output_filter`: a server would take what is filtered out of its batches.
        request = predict_pb2.PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        # As objects: NumPy's own strings of bytes end at their last byte that is not zero.
        kind = np.uint8 if isinstance(clips[0], np.ndarray) else object
        tensor = tf.make_tensor_proto(np.array(clips, kind))
        request.inputs[INPUTS[signature]].CopyFrom(tensor)
        answer = self._call(self._stub.Predict, request, seconds)
        if PROBABILITIES not in answer.outputs:
            raise ServingError(f"{self.address}: the answer holds no '{PROBABILITIES}'.")
        try:
            found = tf.make_ndarray(answer.outputs[PROBABILITIES])
        except (TypeError, ValueError) as error:
            raise ServingError(f"{self.address} sent a tensor that is none: {error}") from error
        if found.ndim != 2 or len(found) != len(clips):
            raise ServingError(
                f"{self.address} sent scores of {found.shape} for {len(clips)} clips."
            )
        return found.astype(np.float32)

    def _name(self, spec: Any) -> None:
        spec.name = self.model
        if self._version is not None:
            spec.version.value = self._version

    def _call(self, method: Any, request: Any, seconds: float) -> Any:
        try:
            return method(request, timeout=max(seconds, 0.001))
        except grpc.RpcError as error:
            raise self._failed(error, seconds) from error

    def _failed(self, error: Any, seconds: float) -> ServingError:
        code, said = error.code(), " ".join((error.details() or "").split())[:300]
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServingError(f"{self.address}: no answer in {max(seconds, 0):.3g} s.")
        if code == grpc.StatusCode.NOT_FOUND:
            return ServingError(f"{self.address} has no model '{self.model}' so named: {said}")
        text = f"{self.address} answers {code.name}: {said}"
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said:
            return ServingError(f"{text}. Lower --max_message_mib.")
        if code == grpc.StatusCode.UNAVAILABLE and ("DNS" in said or "resolving" in said):
            return ServingError(f"{self.address}: there is no such host ({said}).")
        if code == grpc.StatusCode.UNAVAILABLE and "HTTP/2" in said:
            return ServingError(
                f"{self.address} does not speak gRPC: REST listens on another port, and is asked "
                "by http://."
            )
        passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        return PassingError(text) if code in passing else ServingError(text)
