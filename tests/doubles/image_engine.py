"""A container engine that knows one image and answers one question, over a Unix socket as Docker and Podman do."""

from __future__ import annotations

import json
import socketserver
import threading
from pathlib import Path
from typing import Any

from prepare_models.docker.daemon import CONTRACT_LABEL
from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION


class ImageEngine(socketserver.ThreadingUnixStreamServer):
    """Answers ``GET /images/NAME/json`` and nothing else. ``asked``: the lines that came."""

    daemon_threads = True

    def __init__(self, address: Path, name: str, image_id: str, *, contract: str = str(CONTRACT_VERSION)) -> None:
        super().__init__(str(address), _Handler)
        self.name, self.image_id, self.contract = name, image_id, contract
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, line: str) -> tuple[str, Any]:
        """Return status and body for a request line."""
        self.asked.append(line)
        if line != f"GET /images/{self.name}/json HTTP/1.0":
            return "404 Not Found", {"message": "no such image"}
        labels = {CONTRACT_LABEL: self.contract}
        return "200 OK", {"Id": self.image_id, "RepoTags": [self.name], "Config": {"Labels": labels},
                          "Architecture": "amd64", "Size": 5}  # fmt: skip


class _Handler(socketserver.StreamRequestHandler):
    server: ImageEngine

    def handle(self) -> None:
        line = self.rfile.readline().decode("ascii").strip()
        while self.rfile.readline().strip():
            pass
        status, body = self.server.answer(line)
        text = json.dumps(body)
        self.wfile.write(f"HTTP/1.0 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode("ascii"))
