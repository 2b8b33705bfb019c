"""A wire between a browser and the app that keeps every byte that the app sends to the browser."""

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENCODINGS = re.compile(rb"(?i)\r\naccept-encoding:[^\r]*")


class Wire:
    """What came over it so far. Compression is declined for the browser, so it can be read."""

    def __init__(self, port: int) -> None:
        """port: the app's."""
        self._app = port
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self.address = ""  # for the browser

    @property
    def received(self) -> bytes:
        """All answers to the browser, in the order of their arrival."""
        with self._lock:
            return b"".join(self._pieces)

    def serve(self, browser: socket.socket) -> None:
        """Pass one connection on, both ways, until one side closes it."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._app)) as app,
        ):
            back = threading.Thread(target=self._answers, args=(app, browser), daemon=True)
            back.start()
            while piece := browser.recv(1 << 16):
                app.sendall(ENCODINGS.sub(b"\r\nAccept-Encoding: identity", piece))
            app.shutdown(socket.SHUT_WR)
            back.join(5)

    def _answers(self, app: socket.socket, browser: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := app.recv(1 << 16):
                with self._lock:
                    self._pieces.append(piece)
                browser.sendall(piece)
            browser.shutdown(socket.SHUT_WR)


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A wire to the app at that port of this machine."""
    made = Wire(port)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> Any:
            made.serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        made.address = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()
