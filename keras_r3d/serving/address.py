"""Where a model server listens: `http://host:8501` or `grpc://host:8500`."""

import dataclasses
import urllib.parse

from keras_r3d.system.errors import ArgumentError

PORTS = {"http": 8501, "https": 443, "grpc": 8500}  # where none is given


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a model server listens.

    Attributes:
        protocol: a key of `PORTS`.
        path: before "/v1/…", of a proxy; "" or "/…".
        user, password: for such a proxy; None if there are none.
    """

    protocol: str
    host: str
    port: int
    path: str = ""
    user: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:  # for people: without the password
        return f"{self.protocol}://{self.place}{self.path}"


def parse(url: str) -> Address:
    """Reads an address.

    Raises:
        ArgumentError: it is none, or of a protocol that is not spoken here.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        protocol, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket left open
        protocol, host, port = "", None, None
    if protocol not in PORTS or not host:
        raise ArgumentError(
            "--url must be http://HOST:PORT, https://HOST:PORT (TensorFlow Serving's REST) or "
            f"grpc://HOST:PORT. Received: {_shown(url)}"
        )
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or path.startswith("/v1") or (path and protocol == "grpc"):
        raise ArgumentError(
            f"--url ends after the port: the model is named by --model. Received: {_shown(url)}"
        )
    if protocol == "grpc" and "@" in parts.netloc:
        raise ArgumentError(f"grpc:// takes no user and password. Received: {_shown(url)}")
    secrets = (
        urllib.parse.unquote(text) if text is not None else None
        for text in (parts.username, parts.password)
    )
    return Address(protocol, host, PORTS[protocol] if port is None else port, path, *secrets)


def _shown(url: str) -> str:
    """Returns what can be shown of an address: what stands before an "@" may be a password."""
    before, at, after = url.partition("?")[0].rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}{after}" if at and slashes else after
