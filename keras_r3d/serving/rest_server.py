"""TensorFlow Serving's REST interface: JSON over HTTP.

Reference:
    TensorFlow Serving, RESTful API. https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.system.errors import ServingError
from keras_r3d.system.retrying import PassingError

from .address import Address
from .signatures import PROBABILITIES, Described, of_protos

_PASSING = {429, 503}
_MOST_SAID = 300  # characters of what a server says that are shown


class RestServer:
    """A model asked by HTTP. Each thread keeps its own connection."""

    overhead, most_bytes = 1000, 32 * 2**20  # HTTP has no limit, but a message is in memory

    def __init__(self, address: Address, model: str, version: int | None):
        self.address, self.model = address, model
        self._path = f"{address.path}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._path += f"/versions/{version}"
        self._headers = {"Content-Type": "application/json", "User-Agent": "keras_r3d"}
        if address.user is not None:
            secret = f"{address.user}:{address.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        self._kept = threading.local()

    def describe(self, seconds: float) -> Described:
        answer = self._ask("GET", "/metadata", None, seconds)
        try:
            version = int(answer["model_spec"]["version"])
            named = answer["metadata"]["signature_def"]["signature_def"]
            return Described(version, of_protos(_protos(named)))
        except (KeyError, TypeError, ValueError) as error:
            raise self._useless(answer) from error

    def encode(self, clip: Frame | Sequence[bytes]) -> tuple[Any, int]:
        if isinstance(clip, np.ndarray):
            text = json.dumps(clip.tolist(), separators=(",", ":"))
        else:
            frames = ",".join(f'{{"b64":"{base64.b64encode(one).decode()}"}}' for one in clip)
            text = f"[{frames}]"
        return text, len(text) + 1

    def predict(self, signature: str, clips: Sequence[Any], seconds: float) -> np.ndarray:
        # Each clip is JSON already: to put them together is quicker than to dump them again.
        body = f'{{"signature_name":{json.dumps(signature)},"instances":[{",".join(clips)}]}}'
        answer = self._ask("POST", ":predict", body.encode(), seconds)
        try:
            rows = answer["predictions"]
            # The name is left out where there is but one output.
            scores = [row[PROBABILITIES] if isinstance(row, dict) else row for row in rows]
            found = np.array(scores, np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise self._useless(answer) from error
        if found.ndim != 2 or len(found) != len(clips):
            raise self._useless(answer)
        return found

    def _useless(self, answer: Any) -> ServingError:
        return ServingError(
            f"{self.address} does not answer as TensorFlow Serving does. It sent: "
            f"{_shortened(json.dumps(answer))}"
        )

    def _ask(self, method: str, what: str, body: bytes | None, seconds: float) -> Any:
        status, content = self._exchange(method, f"{self._path}{what}", body, seconds)
        try:
            answer = json.loads(content)
        except ValueError as error:
            said = _shortened(content.decode("utf-8", "replace"))
            if status in _PASSING:  # a proxy before the server says it in HTML
                raise PassingError(f"{self.address} answers {status}: {said}") from error
            raise ServingError(
                f"{self.address} answers {status}, and no JSON: is it TensorFlow Serving's REST "
                f"port? It sent: {said}"
            ) from error
        if status == 200:
            return answer
        said = _shortened(str(answer.get("error", answer) if isinstance(answer, dict) else answer))
        if status in _PASSING:
            raise PassingError(f"{self.address} answers {status}: {said}")
        if status == 404:
            raise ServingError(f"{self.address} has no model '{self.model}' so named: {said}")
        if status == 504:
            raise ServingError(f"{self.address} took too long: {said}")
        raise ServingError(f"{self.address} answers {status}: {said}")

    def _exchange(
        self, method: str, path: str, body: bytes | None, seconds: float
    ) -> tuple[int, bytes]:
        """Sends a request; returns the status and the body of the answer."""
        kept: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        connection = kept or self._connection()
        self._kept.connection = None
        try:
            self._limit(connection, seconds)
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # A kept connection that the server has closed says nothing of the server.
            if kept is not None and isinstance(error, ConnectionError):
                return self._exchange(method, path, body, seconds)
            raise self._failed(error, seconds) from error
        if answer.will_close:
            connection.close()
        else:
            self._kept.connection = connection
        return answer.status, content

    def _connection(self) -> http.client.HTTPConnection:
        of = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        return of[self.address.protocol](self.address.host, self.address.port)

    def _limit(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        connection.timeout = max(seconds, 0.001)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)

    def _failed(self, error: Exception, seconds: float) -> ServingError:
        if isinstance(error, TimeoutError):
            return ServingError(f"{self.address}: no answer in {max(seconds, 0):.3g} s.")
        if isinstance(error, socket.gaierror):
            return ServingError(f"{self.address}: there is no such host ({error.strerror}).")
        if isinstance(error, ConnectionRefusedError):
            return PassingError(f"{self.address} refuses the connection: does a server run there?")
        if isinstance(error, ConnectionError | http.client.IncompleteRead):
            return PassingError(f"{self.address} ended the connection before it had answered.")
        if isinstance(error, OSError):
            return ServingError(f"{self.address}: {error.strerror or error}.")
        return ServingError(
            f"{self.address} does not speak HTTP ({type(error).__name__}): gRPC listens on another "
            "port, and is asked by grpc://."
        )


def _protos(named: dict[str, Any]) -> dict[str, Any]:
    from google.protobuf import json_format
    from tensorflow.core.protobuf import meta_graph_pb2

    try:
        return {
            name: json_format.ParseDict(
                value, meta_graph_pb2.SignatureDef(), ignore_unknown_fields=True
            )
            for name, value in named.items()
        }
    except (json_format.ParseError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _shortened(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}…"
