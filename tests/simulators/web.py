"""A real HTTP(S) server whose answers are decided by a function: what the simulators have in common."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

_SLICE = 1 << 18


@dataclass
class Request:
    """What a client sent. ``client``: its port. ``sent`` counts the bytes of the answer's body that left the server."""

    method: str
    target: str
    headers: Dict[str, str]
    body: bytes = b""
    client: int = 0
    status: int = 0
    sent: int = 0


@dataclass
class Answer:
    """What a server says. A fault is part of it.

    content: the whole file; ``ranged`` serves the part that the request's Range asks for.
    cut_after: bytes after which the connection breaks off. stall_s: silence before the body's second half.
    flip: whether one byte is damaged on the way. rate: bytes a second on this connection.
    reason: the words next to the status, where not the usual ones.
    """

    content: bytes = b""
    status: int = 200
    headers: Dict[str, str] = field(default_factory=dict)
    ranged: bool = False
    etag: Optional[str] = None
    cut_after: Optional[int] = None
    stall_s: float = 0.0
    flip: bool = False
    rate: Optional[float] = None
    delay_s: float = 0.0
    reason: Optional[str] = None


class Server:
    """Serves until the block ends; ``requests`` is everything that was asked, in the order of arrival."""

    def __init__(self, decide: Callable[[Request], Answer], tls: Optional[ssl.SSLContext] = None) -> None:
        self.requests: List[Request] = []
        self._decide, self._tls = decide, tls
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Quiet(("127.0.0.1", 0), handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: Request) -> Answer:
        """Note a request and decide."""
        self.requests.append(request)
        return self._decide(request)

    def __enter__(self) -> Server:  # noqa: PYI034  # Self is not in Python 3.8's typing
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(b"")

    def do_HEAD(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, *_: Any) -> None:
        """Keep standard error for failures."""

    def _serve(self, body: bytes) -> None:
        headers = {name.lower(): text for name, text in self.headers.items()}
        request = Request(self.command, self.path, headers, body, self.client_address[1])
        answer = self.owner.answer(request)
        time.sleep(answer.delay_s)
        start, end, status = _range(request, answer)
        request.status = status
        self.send_response(status, answer.reason)
        if answer.etag:
            self.send_header("ETag", answer.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(answer.content)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(answer.content)}")
            start = end = 0
        headers = {"Content-Length": str(end - start), "Content-Type": "application/octet-stream", **answer.headers}
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if request.method != "HEAD":
            self._send(request, answer, start, end)

    def _send(self, request: Request, answer: Answer, start: int, end: int) -> None:
        view = memoryview(_damaged(answer.content) if answer.flip else answer.content)
        stop = end if answer.cut_after is None else min(end, start + answer.cut_after)
        half = start + (end - start) // 2
        began = time.monotonic()
        at = start
        while at < stop:
            limit = half if answer.stall_s and at < half else stop
            step = view[at : min(at + _SLICE, limit)]
            request.sent += len(step)  # before the client can have them: a test counts as soon as it has
            self.wfile.write(step)
            at += len(step)
            if answer.stall_s and at == half:
                self.wfile.flush()
                time.sleep(answer.stall_s)
            if answer.rate:
                time.sleep(max(0.0, (at - start) / answer.rate - (time.monotonic() - began)))
        if stop < end:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


def _range(request: Request, answer: Answer) -> Tuple[int, int, int]:
    size = len(answer.content)
    asked = request.headers.get("range", "")
    if not answer.ranged or answer.status != 200 or not asked.startswith("bytes="):
        return 0, size, answer.status
    if request.headers.get("if-range", answer.etag) != answer.etag:
        return 0, size, 200
    first, _, last = asked[6:].partition("-")
    start, end = int(first), min(int(last) + 1 if last else size, size)
    return (start, end, 206) if start < size else (0, 0, 416)


def _damaged(content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    return bytes(damaged)


def certificate(folder: Path) -> Tuple[ssl.SSLContext, Path]:
    """Return a server's TLS context for 127.0.0.1, and the PEM file that clients have to trust."""
    key, pem = folder / "key.pem", folder / "ca.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2",
            "-subj", "/CN=simulator", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout", str(key), "-out", str(pem),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(pem), str(key))
    return context, pem
