"""An HTTP server on this machine that answers as the test says, and remembers what it was asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Optional


@dataclass
class Answer:
    """One answer. ``declared``: the Content-Length, where it is not the body's; ``stall``: half of it, then nothing."""

    body: bytes = b""
    status: int = 200
    headers: Dict[str, str] = field(default_factory=dict)
    declared: Optional[int] = None
    stall: bool = False


class ModelServer:
    """Serves ``answers[path]`` one after the other, the last one for ever; paths include the query."""

    def __init__(self) -> None:
        self.answers: Dict[str, List[Answer]] = {}
        self.asked: List[str] = []
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answers = outer.answers.get(self.path, [Answer(status=404)])
                outer.send(self, answers.pop(0) if len(answers) > 1 else answers[0])

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ModelServer:  # noqa: PYI034  # Self is not in Python 3.8's typing
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, path: str, *answers: Answer) -> str:
        """Set the answers of a path and return its URL."""
        self.answers[path] = list(answers)
        return self.url + path

    def send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        """Send one answer."""
        request.send_response(answer.status)
        length = len(answer.body) if answer.declared is None else answer.declared
        for name, value in {"Content-Length": str(length), **answer.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(answer.body[: len(answer.body) // 2] if answer.stall else answer.body)
        if answer.stall:
            self.stopping.wait(60)
