"""Failures of the tool itself: each class has an exit status. A model that fails is data, not an exception."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from prepare_models_entrypoint.contract.error_codes import ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from prepare_models_entrypoint.contract.extras import Missing
    from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport

    from .support.page import Message

EXIT_OK = 0
EXIT_MODEL_FAILED = 1
EXIT_DIFFERENT = 1  # like diff
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


def _message(*parts: str) -> Message:
    from .support.page import Message  # imported here, as successful commands print no messages

    return Message(*parts)


class PrepareModelsError(Exception):
    """An expected failure: one message, one hint about the next step, one exit status."""

    exit_code = EXIT_MODEL_FAILED
    code = "failed"
    about = "prepare-models"  # what the message is about: the command, unless a class overrides it

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def shown(self) -> list[Message]:
        """Return the error as messages for people: each problem, in the layout that all errors have."""
        return [_message("error", self.code, self.about, self.message, self.hint)]

    def info(self, stage: str | None = None) -> ErrorInfo:
        """Return the error in the form that documents have."""
        return {"code": self.code, "stage": stage, "message": self.message, "hint": self.hint, "retryable": False}

    def to_dict(self) -> dict[str, object]:
        """Return the document that ``--json`` prints instead of a result."""
        problems = [{"about": each.about, **each.info()} for each in self.shown()]
        return {"error": self.info(), "problems": problems, "exit_status": self.exit_code}


class CodedError(PrepareModelsError):
    """An error of one of several codes. ``hint``: by default the code's own."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or ERRORS[code].advice)
        self.code = code


class UsageError(PrepareModelsError):
    """The command line is invalid. ``about``: the command, with its action."""

    exit_code = EXIT_USAGE
    code = "usage"

    def __init__(self, message: str, *, hint: str = "", about: str = "") -> None:
        super().__init__(message, hint=hint)
        self.about = about or self.about


class Problem(NamedTuple):
    """One problem in a manifest: where, and what was expected."""

    line: int
    path: str
    message: str


class ManifestError(UsageError):
    """The manifest has problems; all of them are reported at once."""

    code = "manifest-invalid"

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        places = [f"{file}:{p.line}: " if p.line else "" for p in problems]  # no place if the manifest is not a file
        lines = [f"{at}{p.path + ': ' if p.path else ''}{p.message}" for at, p in zip(places, problems, strict=True)]
        super().__init__("\n".join(lines))
        self.file = file
        self.problems = list(problems)

    def shown(self) -> list[Message]:
        """Return each problem with its place."""
        return [
            _message("error", self.code, f"{self.file}:{p.line}", f"{p.path + ': ' if p.path else ''}{p.message}")
            for p in self.problems
        ]


class HostError(PrepareModelsError):
    """This machine can't do what was asked for: no backend, no permission, a full disk."""

    exit_code = EXIT_ENVIRONMENT
    code = "environment"


class ExtraMissingError(HostError):
    """An extra of this tool is not installed."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.message, hint=missing.hint)


class NoRoomError(HostError):
    """A disk is full, or has less room than is needed."""

    code = "disk-full"


class ContainerError(CodedError, HostError):
    """A container engine, image or GPU can't do what is needed. ``code`` says which."""


class FarmError(CodedError, HostError):
    """A farm, or a worker of it, does not do what is needed. ``code`` says which."""


class KeyUnavailableError(PrepareModelsError):
    """The key of a model is not where the manifest says."""

    code = "etlt-key-missing"


class InspectionError(PrepareModelsError):
    """A file can't be inspected, or a directory can't be linted. ``code`` says why."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(error["message"], hint=error["hint"])
        self.code = error["code"]


class ModelsFailedError(PrepareModelsError):
    """Models of a run failed. ``failed``: their reports. Message and hint name each; ``code`` is the first one's."""

    def __init__(self, failed: Sequence[ModelReport]) -> None:
        errors = [(model["name"], model["error"]) for model in failed if model["error"] is not None]
        super().__init__(
            "\n".join(f"{name}: {error['message']} [{error['code']}]" for name, error in errors),
            hint="\n".join(dict.fromkeys(error["hint"] for _, error in errors if error["hint"])),
        )
        self.failed = list(failed)
        self.code = errors[0][1]["code"] if errors else self.code


class ReleaseError(CodedError):
    """Releases of a model can't be written, switched or rolled back. ``code`` says why."""


class LockError(PrepareModelsError):
    """Something differs from the lock. ``drift``: a sentence for each difference."""

    code = "lock-drift"

    def __init__(self, drift: Sequence[str], *, hint: str) -> None:
        super().__init__("\n".join(drift), hint=hint)
        self.drift = list(drift)

    def shown(self) -> list[Message]:
        """Return each difference; the last one has the common hint."""
        *others, last = [_message("error", self.code, self.about, each) for each in self.drift]
        return [*others, last._replace(hint=self.hint)]


class SourcesError(PrepareModelsError):
    """Sources could not be fetched. ``failed``: each with the error that the entrypoint reported."""

    code = "sources-failed"

    def __init__(self, failed: Sequence[tuple[str, ErrorInfo]]) -> None:
        lines = [f"{error['message']} [{error['code']}]\n  -> {error['hint']}" for _, error in failed]
        super().__init__("\n".join(lines))
        self.failed = list(failed)

    def shown(self) -> list[Message]:
        """Return the error of each source."""
        from .support.page import of_error

        return [of_error(error, source) for source, error in self.failed]


class BundleError(CodedError):
    """A bundle is damaged or incomplete, or something for it is not available. ``code`` says which."""


class SharedStoreError(CodedError):
    """A shared store can't be reached, or an engine in it must not be used. ``code`` says which."""

    UNREACHABLE, DAMAGED, UNTRUSTED = CODES = (
        "shared-store-unreachable", "shared-engine-damaged", "shared-engine-untrusted",
    )  # fmt: skip


class SignatureError(CodedError):
    """A bundle, lock or list of keys is not signed by a trusted key, or is older than the last accepted one."""

    def __init__(self, kind: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{kind}-signature", message, hint=hint)


class InterruptedRunError(PrepareModelsError):
    """The run was stopped from outside."""

    exit_code = EXIT_INTERRUPTED
    code = "interrupted"


class BugError(PrepareModelsError):
    """An unforeseen error. ``file``: what to attach to a bug report."""

    exit_code = EXIT_BUG
    code = "internal"

    def __init__(self, what: str, file: Path) -> None:
        super().__init__(f"a bug: {what}", hint=f"please report it with {file}")
