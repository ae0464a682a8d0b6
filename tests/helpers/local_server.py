"""A web server on this machine that counts what it is asked, and fails on demand."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class LocalServer:
    """Use as a context manager.

    Attributes:
        faults: what the next answers are, one each; None is right, others are the handler's.
        always: the same for all that follow.
        requests: answered so far, in order.
        connections: accepted so far.
        busy, busiest: answers under way now, and at most.
        stopped: set when it ends, so that whoever is silent ends, too.
    """

    handler: ClassVar[type["Handler"]]

    def __init__(self, port: int = 0):
        self.faults: list[int | str | None] = []
        self.always: int | str | None = None
        self.latency_seconds = 0.0
        self.requests: list[Any] = []
        self.connections = self.busy = self.busiest = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        handler = type("Handler", (self.handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def accepted(self, connection: socket.socket) -> None:
        self.connections += 1
        self._sockets.append(connection)

    def hang_up(self) -> None:
        """Ends all connections, which are idle."""
        for connection in self._sockets:
            connection.shutdown(socket.SHUT_RDWR)

    def count(self, change: int) -> None:
        with self._lock:
            self.busy += change
            self.busiest = max(self.busiest, self.busy)

    def next_fault(self) -> int | str | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else self.always


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    """Answers a request by `reply`, which takes the fault and the body of the request."""

    owner: Any
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.owner.accepted(self.connection)

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.owner.count(1)
        try:
            time.sleep(self.owner.latency_seconds)
            self.reply(self.owner.next_fault(), body)
        finally:
            self.owner.count(-1)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def begin(self, status: int, length: int, **headers: str) -> None:
        """Sends the head of an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
