"""A web server for pages on this machine, with the headers that threads in a browser need."""

import contextlib
import errno
import functools
import http.server
from collections.abc import Callable
from pathlib import Path

from keras_r3d.system.errors import ArgumentError, check_range

# A page that is isolated from others may share memory among threads.
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    # Not those of the system, which may know other ones.
    extensions_map = {  # noqa: RUF012
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".json": "application/json",
        ".md": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
        "": "application/octet-stream",
    }

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        with contextlib.suppress(ConnectionError):  # the browser closed it
            super().copyfile(source, outputfile)


def open_server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Opens a server of a folder, for this machine alone; 0 is any free port."""
    if not (folder / "index.html").is_file():
        raise ArgumentError(
            f"`folder` {folder} must be a page, as `python -m keras_r3d.export --format web` "
            "writes it: it has no index.html."
        )
    handler = functools.partial(_Handler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ArgumentError(f"`port` {port} is in use or reserved: choose another one.") from error


def serve(
    folder: str | None = None,
    *,
    port: int = 8000,
    litert: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serves a page on this machine until it is interrupted.

    Args:
        folder: what `VideoClassifier.export("web")` wrote; None is a page in which movements are
            taught before the camera.
        port: of http://localhost; 0 takes any that is free.
        litert: of the page in which movements are taught: a node_modules that LiteRT.js is taken
            from; None takes it by npm, or else the page loads it from a CDN.
        say: takes lines of text.

    Raises:
        ArgumentError: the folder is no such page, or the port is in use.
    """
    check_range(0, 65535, port=port)
    if folder is None:
        from keras_r3d.export.web.teaching import open_page

        page = open_page(litert, say)
    else:
        page = Path(folder)
    with open_server(page, port) as server:
        say(f"Open http://localhost:{server.server_port} (Ctrl-C ends it).")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
