"""TensorFlow Serving's REST interface: JSON over HTTP.

Reference:
    TensorFlow Serving, RESTful API. https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import urllib3
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from keras_r3d.data.annotations.listing import printable
from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.system import http
from keras_r3d.system.errors import ServingError
from keras_r3d.system.retrying import PassingError

from .server import PROBABILITIES, Address, Server

_PASSING = {429, 503}  # by TensorFlow Serving, other errors are of the request
_MOST_SHOWN = 300  # characters of an answer


class RestServer(Server):
    """A model asked by HTTP."""

    most_bytes = 32 * 2**20  # HTTP has no limit, but a message is in memory

    def __init__(self, address: Address, model: str, version: int | None):
        super().__init__(address, model, version)
        self._url = f"{address}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._url += f"/versions/{version}"
        secret = urllib3.make_headers(basic_auth=address.secret) if address.secret else {}
        self._headers = {"Content-Type": "application/json", **secret}

    def describe(self, seconds: float) -> tuple[int, Mapping[str, Any]]:
        answer = self._ask("GET", "/metadata", None, seconds)
        try:
            return int(answer["model_spec"]["version"]), {
                name: json_format.ParseDict(
                    value, meta_graph_pb2.SignatureDef(), ignore_unknown_fields=True
                )
                for name, value in answer["metadata"]["signature_def"]["signature_def"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError, json_format.ParseError) as error:
            raise self._useless(answer) from error

    def encode(self, clip: Frame | Sequence[bytes]) -> tuple[Any, int]:
        if isinstance(clip, np.ndarray):
            text = json.dumps(clip.tolist(), separators=(",", ":"))
        else:
            frames = (f'{{"b64":"{base64.b64encode(frame).decode()}"}}' for frame in clip)
            text = f"[{','.join(frames)}]"
        return text, len(text) + 1

    def predict(self, signature: str, clips: Sequence[Any], seconds: float) -> np.ndarray:
        # Each clip is JSON already: to put them together is quicker than to dump them again.
        body = f'{{"signature_name":{json.dumps(signature)},"instances":[{",".join(clips)}]}}'
        answer = self._ask("POST", ":predict", body.encode(), seconds)
        try:
            # The name is left out where there is but one output.
            rows = [
                row[PROBABILITIES] if isinstance(row, dict) else row
                for row in answer["predictions"]
            ]
            return np.array(rows, np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise self._useless(answer) from error

    def _useless(self, answer: Any) -> ServingError:
        return ServingError(
            f"{self.address} does not answer as TensorFlow Serving does. It sent: "
            f"{_shorten(json.dumps(answer))}"
        )

    def _ask(self, method: str, path: str, body: bytes | None, seconds: float) -> Any:
        try:
            with http.request(
                method, self._url + path, seconds=seconds, headers=self._headers, body=body
            ) as answer:
                content = http.read(answer, time.monotonic() + seconds)
        except PassingError as error:
            raise PassingError(f"{self.address}: {error}") from error
        except http.HttpError as error:
            raise ServingError(
                f"{self.address}: {error}. Check `url`: REST is asked by http://, gRPC, at another "
                "port, by grpc://."
            ) from error
        try:
            values = json.loads(content)
        except ValueError:  # of a proxy before the server, say
            text = _shorten(content.decode("utf-8", "replace"))
            reason = f"no JSON: is it TensorFlow Serving's REST port? It sent: {text}"
        else:
            if answer.status == 200:
                return values
            reason = values.get("error", values) if isinstance(values, dict) else values
            reason = _shorten(str(reason))
        if answer.status in _PASSING:
            raise PassingError(f"{self.address} answers {answer.status}: {reason}")
        if answer.status == 404:
            raise ServingError(f"{self.address} has no such model '{self.model}': {reason}")
        if answer.status == 504:
            raise ServingError(f"{self.address} took too long: {reason}")
        raise ServingError(f"{self.address} answers {answer.status}: {reason}")


def _shorten(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
