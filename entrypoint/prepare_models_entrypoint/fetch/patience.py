"""How long a fetch goes on in spite of failures: attempts without progress, failures in all, and time spent waiting."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, TypeVar

from ..errors import FetchError

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")

FIRST_WAIT_S = 0.4


@dataclass(frozen=True)
class Patience:
    """Limits of one fetch.

    attempts: failures in a row without a single new byte. failures: failures in all.
    first_wait_s, longest_wait_s: bounds of the random exponential wait between attempts.
    budget_s: seconds that may be spent waiting between attempts, Retry-After included.
    connect_s: seconds for a connection. stall_s: seconds without a byte.
    """

    attempts: int = 5
    failures: int = 100
    first_wait_s: float = field(default_factory=lambda: FIRST_WAIT_S)
    longest_wait_s: float = 10.0
    budget_s: float = 300.0
    connect_s: float = 15.0
    stall_s: float = 30.0


@dataclass
class Effort:
    """What one fetch has cost up to now. ``progress`` is called when new bytes came."""

    patience: Patience
    idle: int = 0
    failures: int = 0
    waited_s: float = 0.0

    def progress(self) -> None:
        """Note that new bytes came: what failed before is made good."""
        self.idle = 0

    def run(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns, calling it again after failures that may pass.

        Raises:
            FetchError: the last failure, when it is final or patience has ended.
        """
        try:
            return attempt()
        except FetchError as error:
            if not _may_pass(error):
                raise
            return self._again(attempt, error)

    def _again(self, attempt: Callable[[], T], failed: FetchError) -> T:
        import tenacity  # costs as much as a small download, and most need it never

        failures = [failed]

        def next_attempt() -> T:
            if failures:
                raise failures.pop()
            return attempt()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=self._enough,
            wait=self._wait,
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(next_attempt)
        except FetchError as error:
            error.tried_enough = True
            raise

    def _enough(self, state: "tenacity.RetryCallState") -> bool:
        self.idle += 1
        self.failures += 1
        wait = self._asked(state)
        too_long = wait is not None and self.waited_s + wait > self.patience.budget_s
        spent = self.waited_s >= self.patience.budget_s
        return too_long or spent or self.idle >= self.patience.attempts or self.failures >= self.patience.failures

    def _wait(self, state: "tenacity.RetryCallState") -> float:
        wait = self._asked(state)
        if wait is None:
            longest = self.patience.first_wait_s * 2.0**self.idle
            wait = random.uniform(0.0, min(longest, self.patience.longest_wait_s))  # noqa: S311  # jitter, no secret
        self.waited_s += wait
        return wait

    @staticmethod
    def _asked(state: "tenacity.RetryCallState") -> "float | None":
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after_s if isinstance(error, FetchError) else None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, FetchError) and error.retryable and not error.tried_enough
