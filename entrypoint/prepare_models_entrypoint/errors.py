"""Failures of a stage, as data.

StageError          one model failed; the run continues
  FetchError        the bytes could not be fetched, or are not the promised ones
  ConvertError      the engine could not be built as asked
  InspectError      the engine is not what the manifest expects, or can't be read
  VerifyError       the engine's outputs are not its model's, or could not be compared

``contract/error_codes.py`` lists every stable code.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Callable, Optional, Tuple, Type, TypeVar, Union

from .contract import extras
from .contract.error_codes import ERRORS, LIMITS
from .contract.external_errors import ExternalDataError, UnreadableError
from .contract.files import NO_ROOM, TOO_LARGE, no_room
from .masking import mask

if TYPE_CHECKING:
    from .contract.report import ErrorInfo
CODES = {code: row.meaning for code, row in ERRORS.items() if row.where == "model"}


class StageError(Exception):
    """A stage can't do its work on a model.

    Args:
        code: one of ``CODES``.
        message: what happened and why, naming what was found.
        hint: what the user should do next; by default the code's own hint.
        retryable: whether the same call may succeed later.
    """

    of_stage: Optional[str] = None  # if that is not the current one

    def __init__(self, code: str, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        if code not in CODES:
            raise ValueError(f"unknown error code {code}")
        self.code = code
        self.message = message
        self.hint = hint or ERRORS[code].advice
        self.retryable = retryable

    def info(self, stage: Optional[str]) -> ErrorInfo:
        """Return the error in the form that reports have; ``stage``: the stage that was running."""
        return {
            "code": self.code, "stage": self.of_stage or stage, "message": self.message, "hint": self.hint,
            "retryable": self.retryable,
        }  # fmt: skip


class FetchError(StageError):
    """The bytes of a source could not be fetched, or are not the promised ones.

    ``retry_after_s``: seconds to wait that the server asked for. ``tried_enough``: whether it was already retried as
    long as is worthwhile.
    """

    retry_after_s: Optional[float] = None
    tried_enough = False

    def __init__(self, code: str, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(code, mask(message), hint=mask(hint), retryable=retryable)


class ConvertError(StageError):
    """The engine could not be built as asked.

    nodes: those of the graph that the backend names. around: those close to them.
    said: everything that the backend said about its errors, if the message has less.
    of_sizes: whether it is about contradictory sizes.
    """

    nodes: Tuple[str, ...] = ()
    around: Tuple[str, ...] = ()
    said: str = ""
    of_sizes = False


class InspectError(StageError):
    """The engine is not what the manifest expects, or can't be read."""


class VerifyError(StageError):
    """The engine's outputs are not those of its source model, or could not be compared.

    Also raised before the build, if something that a verification needs is missing.
    """

    of_stage = "verify"


def from_os_error(error: OSError) -> StageError:
    """Turn the operating system's refusal into an error that says what to do."""
    where = error.filename2 or error.filename or "the models or cache directory"
    if error.errno in NO_ROOM:
        text = no_room(error.filename2 or error.filename)
        return StageError("disk-full", text, retryable=True)
    if error.errno == errno.ENAMETOOLONG:
        return StageError(
            "output-not-writable",
            f"{os.path.basename(str(where))[:60]}... is too long a name for a file here",
            hint="fetch it from a shorter URL, or put it there by hand",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return StageError("output-not-writable", f"{where} can't be written: {os.strerror(error.errno)}")
    if error.errno in (errno.EINVAL, TOO_LARGE) and error.filename:
        hint = "give a smaller file" if error.errno == TOO_LARGE else "give the path of a regular file"
        return StageError("source-unreadable", f"{where}: {error.strerror}", hint=hint)
    limit = LIMITS.get(error.errno or 0)
    if limit is not None:
        return StageError(limit.code, f"{limit.what}: {where}", hint=limit.fix, retryable=True)
    return StageError("internal", f"{type(error).__name__}: {error}", hint="please report this")


def outcome(
    work: Callable[[], object], stage: Optional[str], *, no_memory: Optional[StageError] = None
) -> Optional[ErrorInfo]:
    """Do a process's work and return the error that ended it, in the form that its parent reads, or None.

    Args:
        work: what to do.
        stage: the stage that the error names.
        no_memory: the error to return when memory runs out.
    """
    try:
        work()
    except StageError as error:
        return error.info(stage)
    except ExternalDataError as error:
        return from_external_data(error).info(stage)
    except OSError as error:
        return from_os_error(error).info(stage)
    except MemoryError:
        return (no_memory or _NO_MEMORY).info(stage)
    return None


Kind = TypeVar("Kind", bound=StageError)


def missing(kind: Type[Kind], what: str, extra: str, why: Union[ImportError, str]) -> Kind:
    """Return the error for an extra that is not installed; see ``extras.missing``."""
    lacking = extras.missing(what, extra, why)
    return kind("module-missing", lacking.message, hint=lacking.hint)


def reported(error: ErrorInfo, kind: Type[StageError]) -> StageError:
    """Return the error that a process reported which a model may have taken over."""
    if error["code"] not in CODES:
        return taken_over(f"error has the code {error['code']!r}")
    return kind(error["code"], error["message"], hint=error["hint"], retryable=error["retryable"])


def taken_over(what: str) -> ConvertError:
    """Return the error for something that no process of this package would report or leave behind."""
    return ConvertError(
        "build-crashed",
        f"the process that works on the model can't be trusted: its {what}",
        hint="the model may have taken it over: use the model only if you trust where it comes from",
    )


_NO_MEMORY = ConvertError(
    "out-of-memory", "the process ran out of memory", hint="close other programs, or use a machine with more memory"
)


def from_external_data(error: ExternalDataError) -> ConvertError:
    """Turn the refusal of a model's weights files into an error that says what to do."""
    if isinstance(error, UnreadableError):
        return ConvertError("onnx-invalid", str(error), hint="download or export the file again")
    return ConvertError("onnx-external-data", str(error))
