"""Failures of the tool itself, one class for each exit status. A model that fails is data, not an exception.

PrepareModelsError
  UsageError            2   the command line can't be followed
    ManifestError       2   the manifest can't be read as one; carries every problem with its line
  HostError             3   this machine can't do what was asked
  KeyUnavailableError   1   the key of one model is not where the manifest says
  NoRoomError           1   a disk got full while a model was worked on
  LicenceError          1   the terms of one model were not accepted
  LockError             1   something is not as it was locked; carries every difference
  SourcesError          1   sources could not be fetched; carries each with its reason
  BundleError           1   a bundle is damaged or incomplete, or can't be made
  SignatureError        1   a bundle, lock or list of keys is not signed as it has to be
  InterruptedRunError 130   the user, or the system, stopped the run
anything else          70   a bug
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prepare_models_entrypoint.contract.error_codes import ERRORS

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.report import ErrorInfo

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # errno of a disk, or of a user's share of it, that is full

EXIT_OK = 0
EXIT_MODEL_FAILED = 1
EXIT_DIFFERENT = 1  # as diff does
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class PrepareModelsError(Exception):
    """An expected failure: one message, one hint about the next step, one exit status."""

    exit_code = EXIT_MODEL_FAILED
    code = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def diagnostics(self) -> str:
        """Return the text for a person."""
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class UsageError(PrepareModelsError):
    """The command line can't be followed."""

    exit_code = EXIT_USAGE
    code = "usage"


class Problem(NamedTuple):
    """One thing wrong in a manifest: where, and what was expected."""

    line: int
    path: str
    message: str


class ManifestError(UsageError):
    """The manifest has problems; all of them are reported at once."""

    code = "manifest-invalid"

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        lines = [f"{file}:{p.line}: {p.path + ': ' if p.path else ''}{p.message}" for p in problems]
        super().__init__("\n".join(lines))
        self.problems = list(problems)


class HostError(PrepareModelsError):
    """This machine can't do what was asked: no backend, no permission, no room."""

    exit_code = EXIT_ENVIRONMENT
    code = "environment"


class ContainerError(HostError):
    """A container engine, image or GPU does not do what is needed. ``code`` says which."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or ERRORS[code].hint)
        self.code = code


class KeyUnavailableError(PrepareModelsError):
    """The key of a model is not where the manifest says."""

    code = "etlt-key-missing"


class NoRoomError(PrepareModelsError):
    """A disk got full while a model was worked on."""

    code = "disk-full"


class LicenceError(PrepareModelsError):
    """The terms of a model were not accepted."""

    code = "licence-not-accepted"


class LockError(PrepareModelsError):
    """Something is not as it was locked. ``drift``: each difference in a sentence."""

    code = "lock-drift"

    def __init__(self, drift: Sequence[str], *, hint: str) -> None:
        super().__init__("\n".join(drift), hint=hint)
        self.drift = list(drift)


class SourcesError(PrepareModelsError):
    """Sources could not be fetched. ``failed``: each with the error that the entrypoint reported."""

    code = "sources-failed"

    def __init__(self, failed: Sequence[tuple[str, ErrorInfo]]) -> None:
        lines = [f"{error['message']} [{error['code']}]\n  -> {error['hint']}" for _, error in failed]
        super().__init__("\n".join(lines))
        self.failed = list(failed)


class BundleError(PrepareModelsError):
    """A bundle is damaged or incomplete, or what belongs into it can't be had. ``code`` says which."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} [{code}]", hint=hint or ERRORS[code].hint)
        self.code = code


class SignatureError(PrepareModelsError):
    """A bundle, lock or list of keys is not signed by a trusted key, or older than the last that was accepted."""

    def __init__(self, kind: str, message: str, *, hint: str = "") -> None:
        self.code = f"{kind}-signature"
        super().__init__(f"{message} [{self.code}]", hint=hint or ERRORS[self.code].hint)


class InterruptedRunError(PrepareModelsError):
    """The run was stopped from outside."""

    exit_code = EXIT_INTERRUPTED
    code = "interrupted"
