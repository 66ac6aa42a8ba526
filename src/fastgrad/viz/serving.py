"""Training while it runs: a page on loopback that is sent every picture, or a notebook's output."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from fastgrad.viz.pages import image_of, plain, whole_page

if TYPE_CHECKING:
    from fastgrad.viz.filming import Film

__all__ = ["InNotebook", "Served"]

# So many pictures wait for a page that does not read them; it misses the rest.
WAITING = 4
# The most bytes that a page may send: a point and its label, or a number.
LONGEST = 1000
# Seconds until a page that was closed is gone, and until one that never came is given up.
PATIENCE = 3.0
STARTING = 120.0


class Served:
    """A page on this machine's loopback address, which is opened in the browser and sent every picture.

    Its address has a secret part, so that no other page that is open in the browser can send anything to it.
    """

    def __init__(self, film: Film, *, open: bool = True) -> None:  # noqa: A002
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.points: queue.SimpleQueue[tuple[list[float], float]] = queue.SimpleQueue()
        self.listening: list[queue.Queue[str]] = []
        # How many steps to take for each picture, as the page asks for; 0 while it is paused.
        self.speed = 1
        # When a page was last there; before the first one, from now on.
        self.seen = time.monotonic()
        self.patience = STARTING
        self.document = whole_page(
            "a training run",
            "film",
            ("page/film.js",),
            {**film._setting(), "live": True, "losses": film.losses(), "frames": []},
        )
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        if open:
            webbrowser.open(self.url)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server.server_address[1]}{self.path}"

    def show(self, film: Film) -> None:
        """Send the last step to every page that is open."""
        if not self.listening or not film.frames:
            return
        frame = film._shown(film.frames[-1], current=True)
        text = json.dumps(plain(frame), allow_nan=False)
        for waiting in list(self.listening):
            with contextlib.suppress(queue.Full):
                waiting.put_nowait(text)

    def added(self) -> list[tuple[list[float], float]]:
        """Return the points that were clicked since the last call, each with its label."""
        found = []
        while not self.points.empty():
            found.append(self.points.get())
        return found

    def receive(self, message: Any) -> None:
        """Take a page's message, a point or the speed; ValueError, KeyError or TypeError for another."""
        if "speed" in message:
            self.speed = max(0, min(1000, int(message["speed"])))
            return
        x, y = map(float, message["point"])
        self.points.put(([x, y], float(message["label"])))

    def is_watched(self) -> bool:
        """Whether a page is open, was open a moment ago (it may be loading again), or may still come."""
        if self.listening:
            self.seen = time.monotonic()
            self.patience = PATIENCE
        return bool(self.listening) or time.monotonic() - self.seen < self.patience

    def close(self) -> None:
        """End the server."""
        self.server.shutdown()
        self.server.server_close()


class InNotebook(Served):
    """The picture of a film in a notebook's output, renewed in place, with the way to the page."""

    def __init__(self, film: Film) -> None:
        super().__init__(film, open=False)
        self.handle: Any = None

    def show(self, film: Film) -> None:
        """Renew the picture, and send the last step to every page that is open."""
        from IPython.display import HTML, display

        super().show(film)
        # As an image: a notebook that is not trusted shows no other SVG.
        picture = HTML(
            f"{image_of(film.picture(), 'a training run')}<div>"
            f'<a href="{self.url}" target="_blank">Open it as a page</a>, where a click adds a point: while '
            "it trains, and if Python runs on this machine.</div>"
        )
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)


def handler_of(served: Served) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers the requests of a page."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            if self.path == served.path:
                self.answer(200, served.document, "text/html; charset=utf-8")
            elif self.path == served.path + "frames":
                self.send_frames()
            else:
                self.answer(404, "there is nothing here")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.path != served.path + "message" or not 0 < length <= LONGEST:
                return self.answer(404, "there is nothing here")
            try:
                served.receive(json.loads(self.rfile.read(length)))
            except (ValueError, KeyError, TypeError):
                return self.answer(400, "no such message")
            return self.answer(200, "")

        def answer(self, status: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def send_frames(self) -> None:
            """Send pictures as they come, until the page is closed."""
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            waiting: queue.Queue[str] = queue.Queue(WAITING)
            served.listening.append(waiting)
            try:
                while True:
                    try:
                        text = f"data: {waiting.get(timeout=1.0)}\n\n"
                    except queue.Empty:
                        # A comment: sending it fails if the page is closed.
                        text = ":\n\n"
                    self.wfile.write(text.encode())
                    self.wfile.flush()
            except OSError:
                served.listening.remove(waiting)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing: a terminal shows the training's progress."""

    return Handler
