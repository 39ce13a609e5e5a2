"""What it means when a container ends without a report."""

from __future__ import annotations

from prepare_models_entrypoint.contract.report import ErrorInfo

from ..docker.container import Ended


def without_report(ended: Ended, told: str, timeout_s: float | None, memory_bytes: int) -> ErrorInfo:
    """Return why a container ended that wrote no report. ``told``: its last words."""
    last = f"; its last words:\n{told}" if told else ""
    if ended.timed_out:
        return _info("build-timeout", f"the container was stopped after {timeout_s:g} s{last}", "raise --timeout")
    if ended.oom:
        return _info("out-of-memory", f"the container ran out of memory{last}", memory_hint(memory_bytes))
    if ended.exit_code in (137, 143):
        return _info("container-killed", f"the container was killed from outside{last}", "run again")
    return _info(
        "entrypoint-failed",
        f"the container ended with status {ended.exit_code} and no report{last}",
        "build the image anew with prepare-models image build; if it stays, please report it",
    )


def _info(code: str, message: str, hint: str) -> ErrorInfo:
    return ErrorInfo(code=code, stage=None, message=message, hint=hint, retryable=True)


def memory_hint(limit: int) -> str:
    """Say what helps against want of memory. ``limit``: the container's, in bytes; 0 for none."""
    less = "lower builder.workspace, run with --jobs 1"
    return f"the limit was {limit >> 20} MiB: raise --memory, {less}" if limit else f"{less}, add memory or swap"
