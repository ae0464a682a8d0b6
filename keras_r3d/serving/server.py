"""A model on a server: where it listens, and what it is asked by either protocol."""

import dataclasses
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.system.errors import ArgumentError

INPUTS = {"serving_default": "clip", "jpeg": "jpegs"}  # of the signatures that score clips
PROBABILITIES = "probabilities"
PORTS = {"http": 8501, "https": 443, "grpc": 8500}  # where none is given


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a model server listens: `http://host:8501` or `grpc://host:8500`."""

    protocol: str  # a key of `PORTS`
    place: str  # host and port
    path: str = ""  # before "/v1/…", of a proxy; "" or "/…"
    secret: str = dataclasses.field(default="", repr=False)  # "user:password" for such a proxy

    def __str__(self) -> str:
        return f"{self.protocol}://{self.place}{self.path}"


def parse_address(url: str) -> Address:
    """Reads an address; ArgumentError says that it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        protocol, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket left open
        protocol, host, port = "", None, None
    # What stands before an "@" may be a password.
    before, at, after = url.partition("?")[0].rpartition("@")
    shown = f"{before.partition('://')[0]}://{after}" if at and "://" in before else after
    if protocol not in PORTS or not host:
        raise ArgumentError(
            "`url` must be http://HOST:PORT, https://HOST:PORT (TensorFlow Serving's REST) or "
            f"grpc://HOST:PORT. Received: {shown}"
        )
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or path.startswith("/v1") or (path and protocol == "grpc"):
        raise ArgumentError(
            f"`url` ends after the port: the model is named by `model`. Received: {shown}"
        )
    if protocol == "grpc" and at:
        raise ArgumentError(f"grpc:// takes no user and password. Received: {shown}")
    host = f"[{host}]" if ":" in host else host
    secret = urllib.parse.unquote(parts.netloc.rpartition("@")[0])
    secret += ":" if secret and ":" not in secret else ""
    return Address(protocol, f"{host}:{PORTS[protocol] if port is None else port}", path, secret)


class Server(ABC):
    """A model on a server. Its methods may be called from several threads."""

    most_bytes: int  # of a message, where nothing else is asked for

    def __init__(self, address: Address, model: str, version: int | None):
        self.address, self.model, self.version = address, model, version

    @abstractmethod
    def describe(self, seconds: float) -> tuple[int, Mapping[str, Any]]:
        """Asks within some seconds for the model's version, and its `SignatureDef`s by name."""

    @abstractmethod
    def encode(self, clip: Frame | Sequence[bytes]) -> tuple[Any, int]:
        """Returns a clip (or its compressed frames) as `predict` takes it, and its bytes there."""

    @abstractmethod
    def predict(self, signature: str, clips: Sequence[Any], seconds: float) -> np.ndarray:
        """Asks within some seconds for the scores of encoded clips, float32 `(clips, classes)`.

        PassingError says that the server may answer the next time, ServingError that it will not.
        """


def connect(url: str, model: str, version: int | None) -> Server:
    """Returns a model on a server, by default its newest version; nothing is sent yet."""
    address = parse_address(url)
    if address.protocol == "grpc":
        from .grpc_server import GrpcServer  # packages that not everybody has

        return GrpcServer(address, model, version)
    from .rest_server import RestServer

    return RestServer(address, model, version)
