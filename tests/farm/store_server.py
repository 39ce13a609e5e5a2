"""An S3 server with an empty bucket as a process of its own, which can be killed and told to refuse requests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUCKET = "engines"
_CONTROL = "/-/control"


class S3:
    """The server. ``url``: of a store in its bucket; ``variables``: by which clients find it."""

    url = f"s3://{BUCKET}/site"

    def __init__(self) -> None:
        self._port = 0
        self.start()
        self._endpoint = f"http://127.0.0.1:{self._port}"
        self.variables = {
            "AWS_ENDPOINT_URL": self._endpoint, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip

    def start(self) -> None:
        """Start the process, on the port that it had before."""
        argv = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(self._port), _CONTROL]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End the process and its group as ``kill -9`` does. All that it held is gone."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def refuse(self, count: int) -> None:
        """Answer that many requests with status 503."""
        self._control(f"?refuse={count}")

    @property
    def requests(self) -> int:
        """How many came."""
        return self._control()[0]

    @property
    def refusals(self) -> int:
        """How many will be refused."""
        return self._control()[1]

    def files(self) -> Any:
        """Return the bucket's file system, with the bucket."""
        import s3fs

        files = s3fs.S3FileSystem(endpoint_url=self._endpoint, key="id", secret="secret", skip_instance_cache=True)
        if not files.exists(BUCKET):
            files.mkdir(BUCKET)
        return files

    def _control(self, query: str = "") -> tuple[int, int]:
        with urllib.request.urlopen(f"{self._endpoint}{_CONTROL}{query}") as answer:
            requests, refusals = map(int, answer.read().split())
        return requests, refusals


@contextlib.contextmanager
def s3() -> Iterator[S3]:
    """Yield a server with an empty bucket."""
    server = S3()
    try:
        server.files()
        yield server
    finally:
        server.kill()
