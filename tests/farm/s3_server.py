"""moto's S3 server, which refuses as many requests as it is asked to at CONTROL: python s3_server.py PORT CONTROL."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class Application:
    def __init__(self, control: str) -> None:
        self._control = control
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._requests = self._refusals = 0

    def __call__(self, environ: Any, start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == self._control:
            for value in parse_qs(environ["QUERY_STRING"]).get("refuse", ()):
                self._refusals = int(value)
            start("200 OK", [])
            return [f"{self._requests} {self._refusals}".encode()]
        self._requests += 1
        if self._refusals:
            self._refusals -= 1
            start("503 Slow Down", [("Content-Length", "0")])
            return []
        found: Iterable[bytes] = self._moto(environ, start)
        return found


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), Application(sys.argv[2]), threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
