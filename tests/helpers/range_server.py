"""A web server on this machine that answers ranges, counts what it is asked, and fails on demand.

It speaks as much of S3 as reading needs, so it can also stand in for an S3 that fails.
"""

import dataclasses
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

EMPTY_LIST = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    status: int
    sent: int  # bytes of the body


class RangeServer:
    """Use as a context manager.

    Attributes:
        files: content by path, such as "/store/a.txt".
        faults: what the next answers are, one each: None (right), a status, "silence" (none for
            `silence_seconds`), "cut" (the body ends halfway), "slow" (it comes in pieces), "whole"
            (ranges are ignored), or "elsewhere" (a redirect to /moved/…).
        always: the same for all that follow.
        requests: answered so far, in order.
        connections: accepted so far.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.faults: list[int | str | None] = []
        self.always: int | str | None = None
        self.latency_seconds = 0.0
        self.silence_seconds = 30.0
        self.requests: list[Request] = []
        self.connections = 0
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "RangeServer":
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    def hang_up(self) -> None:
        """Ends all connections, which are idle."""
        for connection in self._sockets:
            connection.shutdown(socket.SHUT_RDWR)

    def fault(self) -> int | str | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else self.always


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(server: RangeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet
        disable_nagle_algorithm = True

        def setup(self):
            super().setup()
            server.connections += 1
            server._sockets.append(self.connection)

        def log_message(self, *_):
            pass

        def do_GET(self):
            time.sleep(server.latency_seconds)
            fault = server.fault()
            wanted = self.headers.get("Range")
            path = unquote(urlsplit(self.path).path)
            content = server.files.get(path.removeprefix("/moved"))
            if fault == "silence":
                server._stop.wait(server.silence_seconds)
                self.close_connection = True
            elif fault == "elsewhere":
                self.answer(302, b"", Location=f"/moved{self.path}")
            elif isinstance(fault, int):
                self.answer(fault, b"")
            elif "list-type" in self.path:
                self.answer(200, EMPTY_LIST)
            elif content is None:
                self.answer(404, b"")
            elif wanted is None or fault == "whole":
                self.answer(200, content)
            else:
                first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())
                part = content[first : last + 1]
                if part:
                    place = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
                    self.answer(206, part, fault, **{"Content-Range": place})
                else:
                    self.answer(416, b"", **{"Content-Range": f"bytes */{len(content)}"})

        do_HEAD = do_GET  # noqa: N815

        def answer(self, status, body, fault=None, **headers):
            self.send_response(status)
            for key, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(key, str(value))
            self.end_headers()
            half = len(body) // 2
            body = b"" if self.command == "HEAD" else body[:half] if fault == "cut" else body
            self.close_connection |= fault == "cut"
            wanted = self.headers.get("Range")
            server.requests.append(Request(self.command, self.path, wanted, status, len(body)))
            if fault == "slow":
                for start in range(0, len(body), 2**18):
                    self.wfile.write(body[start : start + 2**18])
                    self.wfile.flush()
                    server._stop.wait(0.05)
            else:
                self.wfile.write(body)

    return Handler
