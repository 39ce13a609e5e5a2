"""A real proxy on 127.0.0.1: it passes on plain requests, and opens tunnels for TLS."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, List, Optional
from urllib.parse import urlsplit


class Proxy:
    """Serves until the block ends; ``asked`` is the method and target of every request.

    Args:
        credentials: value of Proxy-Authorization that clients must send; None: anybody may use it.
    """

    def __init__(self, credentials: Optional[str] = None) -> None:
        self.asked: List[str] = []
        self.credentials = credentials
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:  # noqa: PYI034  # Self is not in Python 3.8's typing
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def do_GET(self) -> None:
        if not self._may():
            return
        parts = urlsplit(self.path)
        with socket.create_connection((parts.hostname, parts.port or 80)) as server:
            lines = [f"GET {parts.path}?{parts.query} HTTP/1.0".replace("? ", " ")]
            lines += [f"{name}: {text}" for name, text in self.headers.items() if not name.lower().startswith("proxy-")]
            server.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
            for block in iter(lambda: server.recv(65536), b""):
                self.wfile.write(block)

    def do_CONNECT(self) -> None:
        if not self._may():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            _pump(self.connection, server)
        self.close_connection = True

    def _may(self) -> bool:
        self.proxy.asked.append(f"{self.command} {self.path}")
        good = self.proxy.credentials in (None, self.headers.get("Proxy-Authorization"))
        if not good:
            self.send_error(407)
        return good

    def log_message(self, *_: Any) -> None:
        """Keep standard error for failures."""


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on bytes both ways until a side has no more."""
    with contextlib.suppress(OSError):
        while True:
            for ready in select.select([one, other], [], [])[0]:
                block = ready.recv(65536)
                if not block:
                    return
                (other if ready is one else one).sendall(block)
