"""Publishing engines that were built elsewhere in a models directory, through the entrypoint."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport

from . import child


class Publisher:
    """One process of the entrypoint that publishes all engines; it starts with the first and ends with the block.

    Several threads may call it; they take turns.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._guard = threading.Lock()

    def __enter__(self) -> Publisher:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        with self._guard:
            self._end()

    def publish(
        self, files: Mapping[str, Path], report: ModelReport, output_dir: Path, deploy_dir: Path | None = None
    ) -> ErrorInfo | None:
        """Publish an engine that was built elsewhere for a model; return the error, if any.

        ``files``: the plan and its stored companions, by their final names. ``output_dir``: directory of the model.
        ``deploy_dir``: where it will be seen, if not there.
        """
        request = {
            "files": {name: str(file) for name, file in files.items()},
            "report": report,
            "output_dir": str(output_dir),
            "deploy_dir": str(deploy_dir or output_dir),
        }
        with self._guard:
            answer = self._ask(json.dumps(request).encode("ascii") + b"\n")
            try:
                error: ErrorInfo | None = json.loads(answer)["error"]
            except ValueError:
                return child.entrypoint_failed(child.without_answer(*self._end()), hint=child.AGAIN)
        return error

    def _ask(self, request: bytes) -> bytes:
        """Return the line that answers a request, empty if the process ended."""
        if self._process is None:
            self._log = child.unread_log()
            self._process = subprocess.Popen(
                child.argv("restore"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                env=child.environment(), start_new_session=True,
            )  # fmt: skip
        to, answers = self._process.stdin, self._process.stdout
        if to is None or answers is None:
            return b""
        with contextlib.suppress(BrokenPipeError):
            to.write(request)
            to.flush()
        return answers.readline()

    def _end(self) -> tuple[int | None, bytes]:
        """End the process and return its status and its last output; the next request starts another one."""
        process, self._process = self._process, None
        if process is None or self._log is None:
            return None, b""
        process.communicate()
        with self._log as log:
            log.seek(0)
            return process.returncode, log.read()
