"""A line to a TCP server that can be cut, which nobody notices, or broken, which both sides do."""

from __future__ import annotations

import contextlib
import socket
import threading


class Cable:
    """Forwards connections from a port of its own on ``address`` to ``port`` there, until it is cut."""

    def __init__(self, address: str, port: int) -> None:
        self._to, self._cut = (address, port), threading.Event()
        self._server = socket.create_server((address, 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Cable:  # noqa: PYI034  # Self came with Python 3.11
        self._accepting.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # closing alone would not end accept
        self._accepting.join()
        self.break_()
        for each in (self._server, *self._open):
            each.close()

    def cut(self) -> None:
        """Forward nothing any more; connections stay open."""
        self._cut.set()

    def break_(self) -> None:
        """End all connections; new ones are forwarded."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                self._open.append(near)
                far = socket.create_connection(self._to)
                self._open.append(far)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self._cut.is_set():
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
