"""The built book, served on this machine alone."""

import functools
import http.server
from pathlib import Path
from typing import IO, Any

from gahb_book.places import Places


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files of its folder: none whose name begins with a dot, none through a link."""

    def send_head(self) -> IO[bytes] | Any | None:
        folder, path = Path(self.directory).resolve(), Path(self.translate_path(self.path))
        inner = path.relative_to(self.directory).parts
        hidden = any(part.startswith(".") for part in inner)
        if hidden or path.resolve() != folder.joinpath(*inner):
            self.send_error(404)
            return None
        return super().send_head()

    def list_directory(self, path: str) -> None:
        self.send_error(404)


def make_server(html: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Return a server of the folder `html` on 127.0.0.1 (port 0: any free one), not yet running."""
    handler = functools.partial(_Handler, directory=str(html))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def serve_book(places: Places, port: int) -> None:
    """Serve the built book on this machine alone, until Ctrl-C.

    Raises:
        ValueError: when the book has not been built, or the port is taken or none.
    """
    html = places.html
    if not (html / "index.html").is_file():
        raise ValueError("the book has not been built yet: run `make book`, or `gahb build`")
    try:
        server = make_server(html, port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"port {port} cannot be used ({why}): choose --port") from error
    with server:
        print(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
