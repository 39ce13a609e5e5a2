"""How a process of the entrypoint ended, and what it means if it left no report."""

from __future__ import annotations

from prepare_models_entrypoint.contract.report import ErrorInfo
from prepare_models_entrypoint.contract.values import Value

from ..running.child import AGAIN, entrypoint_failed

_KILLED = (137, 143)


class Outcome(Value):
    """How a process ended.

    what: name of the process in messages and of its log. oom: whether the kernel killed something in it for lack of
    memory. expired_s: the time limit, in seconds, that ended it. memory_bytes: its memory limit; 0 for none.
    hint: what to do if the cause is unknown.
    """

    what: str
    exit_code: int
    oom: bool = False
    expired_s: float | None = None
    memory_bytes: int = 0
    hint: str = AGAIN

    def without_report(self, tail: str) -> ErrorInfo:
        """Return why there is no report. ``tail``: the last lines of the log."""
        last = f"; its last lines:\n{tail}" if tail else ""
        if self.expired_s is not None:
            return _error(
                "build-timeout", f"the {self.what} was stopped after {self.expired_s:g} s{last}", "raise --timeout"
            )
        if self.oom:
            return _error("out-of-memory", f"the {self.what} ran out of memory{last}", self._memory_hint())
        if self.what == CONTAINER and self.exit_code in _KILLED:
            return _error("container-killed", f"the {self.what} was killed from outside{last}", "run again")
        message = f"the {self.what} ended with status {self.exit_code} and without a report{last}"
        return entrypoint_failed(message, hint=self.hint)

    def hint_for(self, error: ErrorInfo) -> str:
        """Return the hint of an error, which for one about memory names the limit that the process had."""
        if error["code"] == "out-of-memory" and self.oom:
            return self._memory_hint()
        if error["code"] == "memory-insufficient" and self.memory_bytes:
            return f"the limit was {self.memory_bytes >> 20} MiB: raise --memory"
        return error["hint"]

    def _memory_hint(self) -> str:
        """Return a hint for when memory runs out."""
        less = "lower builder.workspace, run with --jobs 1"
        limit = self.memory_bytes >> 20
        return f"the limit was {limit} MiB: raise --memory, {less}" if limit else f"{less}, add memory or swap"


CONTAINER = "container"


def _error(code: str, message: str, hint: str) -> ErrorInfo:
    return ErrorInfo(code=code, stage=None, message=message, hint=hint, retryable=True)
