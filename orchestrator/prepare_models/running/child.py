"""The entrypoint as a child process of this Python: how it is started, and how it gets secrets without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from prepare_models_entrypoint.contract import extras, launch

from ..errors import HostError

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.report import ErrorInfo

# Keys are passed to the entrypoint through a file without a name; the processes that it starts don't need them.
_KEY_VARIABLES = ("NGC_API_KEY", "NGC_CLI_API_KEY", "NGC_APP_KEY")


Answer = dict[str, Any]  # a document of the entrypoint, with the keys of its command

AGAIN = "run again with -v; if it stays, please report it"
_TERM_GRACE_S = 3.0


class FetchChild(NamedTuple):
    """A child that fetches the job that is written to its standard input. ``secrets``: its secrets file, empty."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    secrets: int

    def give(self, job: str) -> None:
        """Write the job, which starts the work.

        Raises:
            BrokenPipeError: the child has ended.
        """
        with cast("IO[bytes]", self.process.stdin) as pipe:
            pipe.write(job.encode("utf-8"))


def argv(*arguments: str) -> list[str]:
    """Return the argument vector of an entrypoint command."""
    return launch.command("__main__", *arguments)


def environment() -> dict[str, str]:
    """Return this process's environment without keys, and without import paths that depend on the current directory."""
    kept = {name: value for name, value in os.environ.items() if name not in _KEY_VARIABLES}
    places = filter(os.path.isabs, kept.pop("PYTHONPATH", "").split(os.pathsep))
    path = os.pathsep.join(places)  # an empty one, as in :/opt, is the current directory
    return {**kept, "PYTHONPATH": path} if path else kept


def ask(*command: str, request: object = None, inherited: Sequence[int] = ()) -> Answer:
    """Run a command of the entrypoint and return the document that it prints.

    ``request``: JSON for its standard input; None for none. ``inherited``: descriptors that it needs.

    Raises:
        HostError: it printed no document.
    """
    answer = subprocess.run(
        argv(*command), input=None if request is None else json.dumps(request).encode("utf-8"), capture_output=True,
        env=environment(), pass_fds=tuple(inherited), check=False,
    )  # fmt: skip
    try:
        document: Answer = json.loads(answer.stdout)
    except ValueError:
        message = without_answer(answer.returncode, answer.stderr)
        raise HostError(message, hint=f"run: {extras.install('local')}") from None
    return document


def without_answer(status: int | None, said: bytes) -> str:
    """Return the message about an entrypoint that ended too early. ``said``: its standard error."""
    last = "; ".join(said.decode("utf-8", "replace").strip().splitlines()[-3:])
    return f"the entrypoint ended with status {status} and without an answer: {last}"


def entrypoint_failed(message: str, *, hint: str) -> ErrorInfo:
    """Return the error of an entrypoint that ended without a report."""
    return {"code": "entrypoint-failed", "stage": None, "message": message, "hint": hint, "retryable": True}


@contextlib.contextmanager
def secret_file(content: str | None) -> Iterator[int | None]:
    """Yield a descriptor from which a child reads a secret. It isn't on any disk, so it leaves nothing behind."""
    if content is None:
        yield None
        return
    with memory_file() as descriptor:
        os.write(descriptor, content.encode("utf-8"))
        yield descriptor


@contextlib.contextmanager
def memory_file() -> Iterator[int]:
    """Yield the descriptor of an empty file in memory."""
    descriptor = os.memfd_create("secret")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def unread_log() -> IO[bytes]:
    """Return an in-memory file for a child's output that is not read in time: a pipe would fill up.

    ``tempfile.TemporaryFile`` tests its directory with a named file, which a power cut would leave behind.
    """
    return open(os.memfd_create("log"), "w+b")  # closed by the caller


def path_of(descriptor: int | None) -> Path | None:
    """Return the path under which a child that inherits a descriptor finds it."""
    return None if descriptor is None else Path(f"/proc/self/fd/{descriptor}")


@contextlib.contextmanager
def fetch_child() -> Iterator[FetchChild]:
    """Start a child that will fetch; it is ended with the block. It imports what it needs while its job is made."""
    with unread_log() as log, memory_file() as secrets:
        process = subprocess.Popen(
            argv("fetch", "/dev/stdin", "--parent", str(os.getpid())), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, env=environment(), pass_fds=[secrets], start_new_session=True,
        )  # fmt: skip
        try:
            yield FetchChild(process, log, secrets)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_TERM_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
