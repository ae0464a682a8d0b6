"""TensorFlow Serving's gRPC interface on this machine, by the official stubs.

`python tests/helpers/serving_grpc_server.py NAME FOLDER [PORT]` runs it by hand.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import tensorflow as tf
from serving_model import ServedModel
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class GrpcServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Use as a context manager.

    Args:
        largest: bytes of a message that it takes. gRPC's own limit; TensorFlow Serving sets the
            most there is.

    Attributes:
        faults: codes that the next answers are, one each; None is right.
        always: the same for all that follow.
        requests: that came so far.
        silence: set while it takes requests and says nothing.
    """

    def __init__(
        self,
        model: ServedModel,
        name: str = "toy",
        version: int = 3,
        port: int = 0,
        largest: int = 2**22,
    ):
        self.model, self.name, self.version = model, name, version
        self.faults: list[grpc.StatusCode | None] = []
        self.always: grpc.StatusCode | None = None
        self.requests: list = []
        self.silence = threading.Event()
        self._stopped = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(8),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", largest)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.url = f"grpc://127.0.0.1:{self.port}"

    def __enter__(self) -> "GrpcServer":
        self._server.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopped.set()
        self._server.stop(0).wait()

    def _begin(self, request, context) -> None:
        self.requests.append(request)
        if self.silence.is_set():
            self._stopped.wait(30)
        fault = self.faults.pop(0) if self.faults else self.always
        if fault is not None:
            context.abort(fault, f"said {fault.name}")
        spec = request.model_spec
        if spec.name != self.name or spec.version.value not in (0, self.version):
            text = f"Servable not found for request: Latest({spec.name})"
            context.abort(grpc.StatusCode.NOT_FOUND, text)

    def GetModelMetadata(self, request, context):  # noqa: N802
        self._begin(request, context)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = self.name
        answer.model_spec.version.value = self.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def Predict(self, request, context):  # noqa: N802
        self._begin(request, context)
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        name = request.model_spec.signature_name or "serving_default"
        try:
            outputs = self.model.run(name, inputs, request.output_filter)
        except tf.errors.OpError as error:
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[error.error_code], error.message)
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.signature_name = self.name, name
        answer.model_spec.version.value = self.version
        for key, value in outputs.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return answer


if __name__ == "__main__":
    name, folder, *port = sys.argv[1:]
    model, port = ServedModel(Path(folder)), int(port[0]) if port else 0
    with GrpcServer(model, name, 1, port, largest=-1) as server:
        print(server.url, flush=True)
        threading.Event().wait()
