"""A file server that costs little: ``python file_server.py FOLDER [--rate BYTES] [--delay SECONDS]``.

It prints its port, serves files and ranges of them with sendfile, and answers /stats with its requests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STEP = 1 << 20
counts = {"requests": 0, "bytes": 0}
guard = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._reply(200, json.dumps(counts).encode())
            return
        time.sleep(self.options.delay)
        file = self.options.folder / self.path.lstrip("/")
        size = file.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(match[1]), int(match[2] or size - 1) + 1) if match else (0, size)
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{file.stat().st_mtime_ns}"')
        if match:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        with guard:
            counts["requests"] += 1
        with file.open("rb") as stream:
            self._send(stream.fileno(), start, end)

    def _send(self, descriptor: int, start: int, end: int) -> None:
        at, began = start, time.monotonic()
        while at < end:
            sent = os.sendfile(self.connection.fileno(), descriptor, at, min(STEP, end - at))
            at += sent
            with guard:
                counts["bytes"] += sent
            if self.options.rate:
                time.sleep(max(0.0, (at - start) / self.options.rate - (time.monotonic() - began)))

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        pass

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--delay", type=float, default=0.0)
    Handler.options = parser.parse_args()
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
