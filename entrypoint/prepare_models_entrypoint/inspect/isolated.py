"""Reading an untrusted file in a separate process, which contains crashes, hangs and excessive memory use."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict

from .. import reach
from ..confinement import confine
from ..contract.external_errors import ExternalDataError
from ..contract.files import pass_on
from ..errors import InspectError, StageError, from_external_data
from ..processes import answer_of, die_with_parent, show_as, supervise_fork, tail

Document = Dict[str, Any]
# Called with what is known so far; the last call counts if the process dies afterwards.
Tell = Callable[[Document], None]

TIMEOUT_S = 120.0


def read_apart(read: Callable[[Tell], None], file: Path, *, timeout_s: float = TIMEOUT_S) -> Document:
    """Return what ``read`` reported last.

    If its process died after reporting something, the document's ``died`` says how.

    ``read`` may call its argument more than once; its process can open only ``file`` and the weights that this names.

    Raises:
        InspectError: the process died before it reported anything, or ``read`` raised this.
    """
    what = file.name
    with tempfile.TemporaryDirectory(prefix="prepare-models-inspect-") as private:
        answer, log = Path(private) / "answer.json", Path(private) / "log"
        parent = os.getpid()

        def tell(document: Document) -> None:
            pass_on(answer, json.dumps(document).encode("utf-8"))

        def work(events_fd: int) -> int:
            os.close(events_fd)
            die_with_parent(parent)
            show_as("prepare-inspect")
            confine(reach.of(work_dir=Path(private), source=file), private=Path(private))
            try:
                read(tell)
            except StageError as error:
                tell({"error": error.info("inspect")})
            except ExternalDataError as error:
                tell({"error": from_external_data(error).info("inspect")})
            except OSError as error:
                tell({"error": unreadable(what, error).info("inspect")})
            except MemoryError:
                return 1
            return 0

        ended = supervise_fork(work, log=log, on_line=lambda _: None, timeout_s=timeout_s)
        document = answer_of(answer, Document)
        if ended.exit_code == 0 and document is not None:
            return document
        said = tail(log, 1)
    last = f": {said}" if said else ""
    if ended.timed_out:
        how = f"took longer than {timeout_s:g} s"
    else:
        how = f"died of {ended.signal.name}{last}" if ended.signal else f"ended with status {ended.exit_code}{last}"
    if document is None:
        raise InspectError(
            "inspect-failed",
            f"the process that reads {what} {how}",
            hint="the file is damaged, or needs more memory than there is; 'python -m onnx.checker FILE' may tell more",
        )
    return {**document, "died": how}


def unreadable(what: str, error: Exception) -> InspectError:
    """Return the error for a file that the system doesn't let this user read."""
    why = (error.strerror if isinstance(error, OSError) else None) or error
    return InspectError(
        "source-unreadable", f"{what} can't be read: {why}", hint="check the path, and give this user read access"
    )
