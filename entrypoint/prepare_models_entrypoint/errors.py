"""Failures of a stage, as data.

StageError          one model failed; the run goes on
  FetchError        the bytes could not be had, or are not the promised ones
  ConvertError      the engine could not be built as asked
  InspectError      the engine is not what the manifest expects, or can't be read
  VerifyError       the engine's numbers are not its model's, or could not be compared

``CODES`` lists every stable code with its meaning; docs/errors.md carries the same list.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Callable, Dict, Optional

from .contract.external_data import ExternalDataError, UnreadableError
from .masking import mask

if TYPE_CHECKING:
    from .contract.report import ErrorInfo

CODES: Dict[str, str] = {
    "source-not-found": "the source does not exist",
    "source-unreadable": "the source exists but can't be read",
    "source-changed": "the source changed while it was being converted",
    "source-unreachable": "the server could not be reached or broke off",
    "source-refused": "the server refused access",
    "source-key-refused": "NGC does not accept the key that was sent",
    "source-rate-limited": "the server wants fewer requests, for longer than a run waits",
    "source-not-a-model": "what was found is no model (an HTML page, an empty file)",
    "network-intercepted": "a proxy or captive portal answered in place of the server",
    "tls-untrusted": "the server's certificate is not trusted here",
    "licence-not-accepted": "the licence of the model must be accepted first",
    "archive-invalid": "the archive can't be read, or its member is no plain file",
    "digest-mismatch": "the bytes are not those that the manifest pins or the server lists",
    "output-name-taken": "two sources would have the same file name in the output directory",
    "disk-full": "a disk had no room",
    "output-not-writable": "the models or cache directory can't be written",
    "onnx-invalid": "the file is no valid ONNX model",
    "onnx-too-large": "the ONNX file is larger than protobuf can hold",
    "onnx-unsupported-operator": "the backend does not know an operator of the model",
    "network-empty": "the model has no layers, inputs or outputs",
    "inputs-unknown": "the manifest names inputs that the model does not have",
    "inputs-mismatch": "the manifest's shapes contradict the model",
    "inputs-missing": "the model has dynamic dimensions and the manifest no shapes for them",
    "outputs-mismatch": "the model's outputs are not those that the manifest expects",
    "tensor-names-mismatch": "the names for ROS don't fit the model's inputs and outputs",
    "etlt-key-missing": "an encrypted model needs a key",
    "etlt-key-wrong": "the key does not decrypt the model",
    "etlt-invalid": "the file is no .etlt container",
    "etlt-uff": "the .etlt holds a UFF network",
    "etlt-codec-missing": "NVIDIA's .etlt codec is not installed",
    "etlt-truncated": "the .etlt ends too early",
    "calibration-cache-invalid": "the calibration cache can't be read",
    "calibration-cache-foreign": "the calibration cache belongs to another model",
    "calibration-cache-refused": "the builder did not take the calibration cache",
    "calibration-missing": "int8 needs a calibration cache or a model with Q/DQ nodes",
    "calibration-samples-unusable": "the samples for a calibration can't be used",
    "onnx-external-data": "the weights that belong to an ONNX file are missing or incomplete",
    "onnx-node-invalid": "a node of the model lacks what its operator needs",
    "onnx-outputs-unknown": "the tensors that shall become outputs are not in the model",
    "plugin-missing": "an operator needs a plugin library that is not loaded",
    "plugin-invalid": "a plugin library is not the pinned one or does not load",
    "precision-not-delivered": "the engine did not get the precision that was asked for",
    "memory-insufficient": "the model needs more memory than this machine has",
    "compute-capability-unsupported": "this backend has no code for the GPU",
    "workspace-too-small": "a layer has no implementation within the workspace limit",
    "converter-failed": "the converter ended with an error",
    "precision-unavailable": "the precision can't be delivered by this backend and version",
    "builder-option-unavailable": "this backend would ignore a builder option",
    "converter-unavailable": "the converter can't be used here",
    "backend-missing": "no TensorRT module in this environment",
    "backend-unusable": "the TensorRT module does not start",
    "build-failed": "the builder gave up",
    "build-crashed": "the build process died",
    "build-timeout": "the build took longer than allowed",
    "out-of-memory": "the build ran out of memory",
    "engine-invalid": "the plan file is not what a builder writes",
    "inspect-failed": "the process that reads a file died of it",
    "engine-unusable": "this machine can't load the engine that it built",
    "engine-missing": "there is no engine with a record to verify or relocate",
    "verification-failed": "the engine's numbers are too far from its model's",
    "verification-impossible": "the numbers could not be compared",
    "verification-samples-unusable": "the samples for a verification can't be used",
    "entrypoint-failed": "the entrypoint ended without a report",
    "module-missing": "a Python module is not installed beside the entrypoint",
    "internal": "a bug in prepare-models",
}


class StageError(Exception):
    """A stage can't do its work on a model.

    Args:
        code: one of ``CODES``.
        message: what happened and why, naming what was found.
        hint: what the user does next.
        retryable: whether the same call may succeed later.
    """

    def __init__(self, code: str, message: str, *, hint: str, retryable: bool = False) -> None:
        super().__init__(message)
        if code not in CODES:
            raise ValueError(f"unknown error code {code}")
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable

    def info(self, stage: Optional[str]) -> ErrorInfo:
        """Return the error as it stands in reports."""
        return {
            "code": self.code, "stage": stage, "message": self.message, "hint": self.hint, "retryable": self.retryable,
        }  # fmt: skip


class FetchError(StageError):
    """The bytes of a source could not be had, or are not the promised ones.

    ``retry_after_s``: seconds for which the server asked to be left alone. ``tried_enough``: whether it was tried again
    already for as long as it is worth it.
    """

    retry_after_s: Optional[float] = None
    tried_enough = False

    def __init__(self, code: str, message: str, *, hint: str, retryable: bool = False) -> None:
        super().__init__(code, mask(message), hint=mask(hint), retryable=retryable)


class ConvertError(StageError):
    """The engine could not be built as asked."""


class InspectError(StageError):
    """The engine is not what the manifest expects, or can't be read."""


class VerifyError(StageError):
    """The engine's numbers are not those of its source model, or they could not be compared."""


def from_os_error(error: OSError) -> StageError:
    """Turn the operating system's refusal into an error that says what to do."""
    where = error.filename2 or error.filename or "the models or cache directory"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StageError(
            "disk-full", f"no room left to write {where}", hint="free disk space there, then run again", retryable=True
        )
    if error.errno == errno.ENAMETOOLONG:
        return StageError(
            "output-not-writable",
            f"{os.path.basename(str(where))[:60]}... is too long a name for a file here",
            hint="fetch it from a shorter URL, or put it there by hand",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return StageError(
            "output-not-writable",
            f"{where} can't be written: {os.strerror(error.errno)}",
            hint="choose another --models-dir or cache directory, or give this user write access",
        )
    if error.errno in _LIMITS:
        code, what, hint = _LIMITS[error.errno]
        return StageError(code, f"{what}: {where}", hint=hint, retryable=True)
    return StageError("internal", f"{type(error).__name__}: {error}", hint="please report this")


_LIMITS = {
    errno.EFBIG: ("output-not-writable", "a file exceeds the limit of this shell", "raise it: ulimit -f unlimited"),
    errno.EMFILE: ("out-of-memory", "too many open files", "raise the limit: ulimit -n 4096, or use --jobs 1"),
    errno.ENFILE: ("out-of-memory", "too many open files on this machine", "end other programs"),
    errno.ENOMEM: ("out-of-memory", "no memory left", "end other programs, or add swap, then run again"),
    errno.EIO: ("output-not-writable", "a disk or its connection fails", "look for errors of the disk: sudo dmesg"),
}


def outcome(
    work: Callable[[], object], stage: Optional[str], *, no_memory: Optional[StageError] = None
) -> Optional[ErrorInfo]:
    """Do a process's work and return the error that it ended with, as its parent reads it; None when it went well.

    Args:
        work: what to do.
        stage: the stage that the error names.
        no_memory: the error that running out of memory amounts to.
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


_NO_MEMORY = ConvertError(
    "out-of-memory", "the process got no more memory", hint="close other programs, or use a machine with more memory"
)


def from_external_data(error: ExternalDataError) -> ConvertError:
    """Turn the refusal of a model's weights files into an error that says what to do."""
    if isinstance(error, UnreadableError):
        return ConvertError("onnx-invalid", str(error), hint="download or export the file again")
    return ConvertError(
        "onnx-external-data",
        str(error),
        hint="download the weights files of the model, too, and keep them in its folder under their own names",
    )
