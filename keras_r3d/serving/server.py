"""A model on a server, whatever protocol it is asked by."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from keras_r3d.data.decoding.decoder import Frame

from .address import Address, parse
from .signatures import Described


class Server(Protocol):
    """A model on a server. Its methods may be called from several threads.

    Attributes:
        address: where it listens.
        model: name of the model.
        overhead: bytes of a message besides its clips, at most.
        most_bytes: of a message, where nothing else is asked for.
    """

    address: Address
    model: str
    overhead: int
    most_bytes: int

    def describe(self, seconds: float) -> Described:
        """Asks what the model takes and gives."""

    def encode(self, clip: Frame | Sequence[bytes]) -> tuple[Any, int]:
        """Returns a clip as `predict` takes it, and its bytes in a message.

        Args:
            clip: uint8 `(frames, height, width, channels)`, or its compressed frames.
        """

    def predict(self, signature: str, clips: Sequence[Any], seconds: float) -> np.ndarray:
        """Asks for the scores of encoded clips.

        Args:
            seconds: that the answer may take.

        Returns:
            float32 `(clips, classes)`.

        Raises:
            PassingError: the server may answer the next time.
            ServingError: it will not, or its answer is of no use.
        """


def connect(url: str, model: str, version: int | None) -> Server:
    """Returns a model on a server; nothing is sent yet.

    Args:
        url: as `address.parse` takes it.
        version: None is the newest.

    Raises:
        ArgumentError: no address.
        ServingError: gRPC's packages are not installed.
    """
    address = parse(url)
    if address.protocol == "grpc":
        from .grpc_server import GrpcServer  # packages that not everybody has

        return GrpcServer(address, model, version)
    from .rest_server import RestServer

    return RestServer(address, model, version)
