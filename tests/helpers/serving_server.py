"""TensorFlow Serving's REST interface on this machine, as its documentation has it.

It serves one model, answers wrongly on demand, and can be run by hand:
`python tests/helpers/serving_server.py NAME FOLDER [PORT]`, where FOLDER holds a SavedModel.

Reference:
    https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import dataclasses
import json
import re
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from local_server import Handler, LocalServer
from serving_model import ServedModel

_POST = r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict"
_GET = r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?"
_STATUS = {  # of an error's code
    tf.errors.INVALID_ARGUMENT: 400,
    tf.errors.FAILED_PRECONDITION: 400,
    tf.errors.NOT_FOUND: 404,
    tf.errors.RESOURCE_EXHAUSTED: 429,
    tf.errors.UNAVAILABLE: 503,
    tf.errors.DEADLINE_EXCEEDED: 504,
}


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    size: int  # bytes of the body
    status: int
    authorization: str | None


class _Rest(Handler):
    def reply(self, fault, body):
        if fault == "silence":
            self.owner.stopped.wait(30)
        if fault in ("silence", "close"):
            self.close_connection = True
        elif fault == "html":
            self.answer(502, b"<html>Bad Gateway</html>", body)
        elif isinstance(fault, int):
            self.answer(fault, json.dumps({"error": f"said {fault}"}).encode(), body)
        elif isinstance(fault, str) and fault != "cut":
            self.answer(200, fault.encode(), body)
        else:
            try:
                path = urlsplit(self.path).path  # a proxy is asked for a whole address
                status, answer = 200, self.owner.answer(self.command, path, body)
            except tf.errors.OpError as error:
                status, answer = _STATUS.get(error.error_code, 500), {"error": error.message}
            self.answer(status, json.dumps(answer).encode(), body, cut=fault == "cut")

    def answer(self, status, content, body, cut=False):
        secret = self.headers.get("Authorization")
        self.owner.requests.append(Request(self.command, self.path, len(body), status, secret))
        self.begin(status, len(content), **{"Content-Type": "application/json"})
        self.close_connection |= cut
        self.wfile.write(content[: len(content) // 2] if cut else content)


class RestServer(LocalServer):
    """Serves a model.

    Its faults: a status with an error, "html", "silence", "cut" (the connection ends halfway),
    "close" (at once), or a text, sent as the body of a 200.
    """

    handler = _Rest

    def __init__(self, model: ServedModel, name: str = "toy", version: int = 3, port: int = 0):
        super().__init__(port)
        self.model, self.name, self.version = model, name, version
        self.url = self.address

    def answer(self, method: str, path: str, body: bytes) -> dict:
        """Returns the answer to a request.

        Raises:
            tf.errors.OpError: whose code and message the client gets.
        """
        match = re.fullmatch(_POST if method == "POST" else _GET, path, re.IGNORECASE)
        if not match:
            raise _invalid(f"Malformed request: {method} {path}")
        if match[1] != self.name or (match[2] and int(match[2]) != self.version):
            raise tf.errors.NotFoundError(
                None, None, f"Servable not found for request: Latest({match[1]})"
            )
        if method == "POST":
            return self._predict(body)
        if match[3]:
            return self._metadata()
        state = {"error_code": "OK", "error_message": ""}
        newest = {"version": str(self.version), "state": "AVAILABLE", "status": state}
        return {"model_version_status": [newest]}

    def _metadata(self) -> dict:
        spec = {"name": self.name, "signature_name": "", "version": str(self.version)}
        signatures = {
            name: json_format.MessageToDict(signature, preserving_proto_field_name=True)
            for name, signature in self.model.signatures.items()
        }
        return {
            "model_spec": spec,
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def _predict(self, body: bytes) -> dict:
        try:
            request = json.loads(body)
        except ValueError as error:
            raise _invalid(f"JSON Parse error: {error}") from error
        if not isinstance(request, dict):
            raise _invalid("JSON Value: Is not object")
        name = request.get("signature_name", "serving_default")
        if name not in self.model.signatures:
            raise _invalid(f'Serving signature name: "{name}" not found in signature def')
        parameters = self.model.signatures[name].inputs
        if ("instances" in request) == ("inputs" in request):
            raise _invalid("Missing 'inputs' or 'instances' key")
        rows = "instances" in request
        values = request["instances" if rows else "inputs"]
        if rows and not (isinstance(values, list) and values):
            raise _invalid("No values in 'instances' array")
        if rows and _is_object(values[0]):
            values = {key: [row[key] for row in values] for key in values[0]}
        if not _is_object(values):  # the name of a single input may be left out
            values = {next(iter(parameters)): values}
        inputs = {
            key: _tensor(values[key], parameters[key].dtype) for key in parameters if key in values
        }
        outputs = {key: _listed(key, value) for key, value in self.model.run(name, inputs).items()}
        if len(outputs) == 1:
            return {"predictions" if rows else "outputs": next(iter(outputs.values()))}
        if not rows:
            return {"outputs": outputs}
        count = {len(value) for value in outputs.values()}
        if len(count) > 1:
            raise _invalid("Tensors have no common first size, as the row format wants it")
        return {
            "predictions": [
                {key: value[row] for key, value in outputs.items()} for row in range(*count)
            ]
        }


def _is_object(value) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def _tensor(value, dtype: int) -> np.ndarray:
    def plain(content):
        if isinstance(content, list):
            return [plain(inner) for inner in content]
        if isinstance(content, dict):
            return base64.b64decode(content["b64"], validate=True)
        return content.encode() if isinstance(content, str) else content

    kind = tf.as_dtype(dtype)
    try:
        return np.array(plain(value), object if kind == tf.string else kind.as_numpy_dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid(f"JSON Value: not of expected type: {kind.name} ({error})") from error


def _listed(name: str, value: np.ndarray):
    if value.dtype != object:
        return value.tolist()
    if name.endswith("_bytes"):
        return np.vectorize(lambda text: {"b64": base64.b64encode(text).decode()})(value).tolist()
    return np.vectorize(lambda text: text.decode(), otypes=[object])(value).tolist()


def _invalid(message: str) -> tf.errors.OpError:
    return tf.errors.InvalidArgumentError(None, None, message)


if __name__ == "__main__":
    name, folder, *port = sys.argv[1:]
    with RestServer(ServedModel(Path(folder)), name, 1, int(port[0]) if port else 0) as server:
        print(server.url, flush=True)
        threading.Event().wait()
