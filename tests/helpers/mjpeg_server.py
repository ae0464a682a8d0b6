"""A camera in the network, as many speak: JPEGs over HTTP, `multipart/x-mixed-replace`."""

import contextlib
import time

import cv2
import numpy as np
from local_server import Handler, LocalServer


class _Stream(Handler):
    protocol_version = "HTTP/1.0"
    wbufsize = 0

    def reply(self, fault, body):
        camera = self.owner
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


class Camera(LocalServer):
    """Frame n, counted over all connections, is of one gray: `40 + n % 200`.

    Attributes:
        rate: frames a second.
        url: of the stream.
        on: whether it sends; otherwise connections end, and new ones are refused.
        silent: whether it takes connections and says nothing.
        sent: frames so far.
    """

    handler = _Stream

    def __init__(self, rate: float = 50.0):
        super().__init__()
        self.rate, self.on, self.silent, self.sent = rate, True, False, 0
        self.url = f"{self.address}/stream"

    def __exit__(self, *_) -> None:
        self.on = self.silent = False
        super().__exit__()

    def jpeg(self) -> bytes:
        frame = np.full((48, 64, 3), 40 + self.sent % 200, np.uint8)
        return cv2.imencode(".jpg", frame)[1].tobytes()
