"""An S3 server of this process, by moto, which can be told to refuse everything with status 503."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from threading import Thread
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "engines"


class S3:
    """The server. ``url``: of a store in its bucket; ``variables``: by which clients find it."""

    url = f"s3://{BUCKET}/site"

    def __init__(self) -> None:
        self.busy = False
        self._real = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.variables = {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        Thread(target=self._server.serve_forever, daemon=True).start()

    def files(self) -> Any:
        """Return the bucket as a file system."""
        import s3fs

        return s3fs.S3FileSystem(
            endpoint_url=self.variables["AWS_ENDPOINT_URL"], key="id", secret="secret", skip_instance_cache=True
        )

    def close(self) -> None:
        self._server.shutdown()

    def _answer(self, environ: Any, start: Any) -> Iterable[bytes]:
        if self.busy:
            start("503 Slow Down", [("Content-Length", "0")])
            return []
        found: Iterable[bytes] = self._real(environ, start)
        return found


@contextlib.contextmanager
def s3() -> Iterator[S3]:
    """Yield a server with an empty bucket."""
    server = S3()
    try:
        server.files().mkdir(BUCKET)
        yield server
    finally:
        server.close()
