"""A web server on this machine that answers ranges, counts what it is asked, and fails on demand.

It speaks as much of S3 as reading needs, so it can also stand in for an S3 that fails.
"""

import dataclasses
import re
from urllib.parse import unquote, urlsplit

from local_server import Handler, LocalServer

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


class _Files(Handler):
    def reply(self, fault, body):
        wanted = self.headers.get("Range")
        path = unquote(urlsplit(self.path).path)
        content = self.owner.files.get(path.removeprefix("/moved"))
        if fault == "silence":
            self.owner.stopped.wait(self.owner.silence_seconds)
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
            self.answer(200, content, fault)
        else:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())
            part = content[first : last + 1]
            if part:
                place = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
                self.answer(206, part, fault, **{"Content-Range": place})
            else:
                self.answer(416, b"", **{"Content-Range": f"bytes */{len(content)}"})

    def answer(self, status, body, fault=None, **headers):
        self.begin(status, len(body), **headers)
        half = len(body) // 2
        body = b"" if self.command == "HEAD" else body[:half] if fault == "cut" else body
        self.close_connection |= fault == "cut"
        wanted = self.headers.get("Range")
        self.owner.requests.append(Request(self.command, self.path, wanted, status, len(body)))
        if fault == "slow":
            for start in range(0, len(body), 2**18):
                self.wfile.write(body[start : start + 2**18])
                self.wfile.flush()
                self.owner.stopped.wait(0.05)
        else:
            self.wfile.write(body)


class RangeServer(LocalServer):
    """Serves files.

    Its faults: a status, "silence" (no answer for `silence_seconds`), "cut" (the body ends
    halfway), "slow" (it comes in pieces), "whole" (ranges are ignored), or "elsewhere" (a redirect
    to /moved/…).

    Attributes:
        files: content by path, such as "/store/a.txt".
    """

    handler = _Files

    def __init__(self, files: dict[str, bytes]):
        super().__init__()
        self.files = files
        self.silence_seconds = 30.0
