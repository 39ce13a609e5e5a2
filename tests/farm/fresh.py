"""An S3 server with an empty bucket, which counts requests and refuses as many as it is told to."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from tests.farm.store_server import BUCKET, S3


class FreshS3(S3):
    """The server. ``requests``: how many came; ``refusals``: how many of the next ones get status 503."""

    def __init__(self) -> None:
        self.requests = self.refusals = 0
        super().__init__()
        # The servers of a process share their buckets.
        reset = urllib.request.Request(f"{self.variables['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()
        self.files().mkdir(BUCKET)

    def _answer(self, environ: Any, start: Any) -> Iterable[bytes]:
        self.requests += 1
        if self.refusals:
            self.refusals -= 1
            start("503 Slow Down", [("Content-Length", "0")])
            return []
        return super()._answer(environ, start)


@contextlib.contextmanager
def fresh_s3() -> Iterator[FreshS3]:
    """Yield a server, and end it."""
    server = FreshS3()
    try:
        yield server
    finally:
        server.close()
