"""A camera in the network, as many speak: JPEGs over HTTP, `multipart/x-mixed-replace`."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


class Camera:
    """Frame n, counted over all connections, is of one gray: `40 + n % 200`.

    Attributes:
        url: of the stream.
        on: whether it sends; otherwise connections end, and new ones are refused.
        silent: whether it takes connections and says nothing.
        sent: frames so far.
    """

    def __init__(self, rate: float):
        self.rate, self.on, self.silent, self.sent = rate, True, False, 0
        self.url = ""

    def jpeg(self) -> bytes:
        frame = np.full((48, 64, 3), 40 + self.sent % 200, np.uint8)
        return cv2.imencode(".jpg", frame)[1].tobytes()


@contextlib.contextmanager
def serving(rate: float = 50.0) -> Iterator[Camera]:
    """Serves a camera of so many frames a second."""
    camera = Camera(rate)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            while camera.silent:
                time.sleep(0.05)
            if not camera.on:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with contextlib.suppress(OSError):  # the other side has gone
                while camera.on:
                    jpeg = camera.jpeg()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                    camera.sent += 1
                    time.sleep(1 / camera.rate)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    camera.url = f"http://127.0.0.1:{server.server_port}/stream"
    try:
        yield camera
    finally:
        camera.on = camera.silent = False
        server.shutdown()
        server.server_close()
