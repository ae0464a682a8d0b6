"""Folders on a web server that answers requests for ranges."""

import re
import time
import urllib.parse

from keras_r3d.data.store.storage import storage
from keras_r3d.system import http
from keras_r3d.system.errors import StoreError, UnreachableError


class Web(storage.Storage):
    """A folder under http:// or https://.

    A query in the URL (a signature, say) is sent with every request and shown in no message.
    """

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        super().__init__(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
        if not parts.hostname or "@" in parts.netloc:
            raise StoreError(
                f"{self.root}: expected a URL such as https://host/folder, with a host, and "
                "without a user's name and password."
            )
        self._query = f"?{parts.query}" if parts.query else ""

    def ask_size(self, name: str, seconds: float) -> int:
        # Asking for the first byte tells more than HEAD does: whether the server can do ranges.
        return self._get(name, 0, 1, seconds)[0]

    def ask(self, name: str, offset: int, size: int, seconds: float) -> bytes:
        return self._get(name, offset, size, seconds)[1]

    def _get(self, name: str, offset: int, size: int, seconds: float) -> tuple[int, bytes]:
        """Returns the size of a file, and a range of it."""
        place, until = self.place(name), time.monotonic() + seconds
        url = f"{self.root}/{urllib.parse.quote(name)}{self._query}"
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
        silence = min(seconds, storage.SILENCE_SECONDS)
        try:
            with http.request("GET", url, headers=headers, seconds=silence) as answer:
                status = http.status(answer)
                content = http.read(answer, until) if answer.status == 206 else b""
        except http.HttpError as error:
            raise UnreachableError(f"{place}: {error}. Check the address.") from error
        if answer.status in (404, 410):
            raise FileNotFoundError
        if answer.status in (401, 403, 407):
            raise PermissionError(status)
        if answer.status == 200:
            raise StoreError(
                f"{place}: the server sends the whole file where a range was asked for (200, not "
                "206). Serve the store with one that answers ranges (nginx, Apache, …; `python -m "
                "http.server` does not), or copy it to the disk."
            )
        text = answer.headers.get("Content-Range", "")
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", text)
        if answer.status == 416:  # behind the end; of an empty file, that is any byte
            return int(span[2]) if span else 0, b""
        if answer.status != 206 or span is None or int(span[1] or -1) != offset:
            raise StoreError(
                f"{place}: bytes from {offset:,} on were asked for, the server answered {status} "
                f"{text}. Check the address, or copy the store to the disk."
            )
        return int(span[2]), content
