"""How long a fetch continues despite failures, and how long its whole call waits in total."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Callable, List, Optional, TypeVar

from ..errors import FetchError

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")

FIRST_WAIT_S = 0.4
BUDGET_S = 300.0


class Budget:
    """Seconds that the fetches of one call may wait in total, however many wait at once."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._guard = threading.Lock()
        self._waiting = 0
        self._since = 0.0

    def left(self) -> float:
        """Return how many seconds are left."""
        with self._guard:
            return self._left - (time.monotonic() - self._since if self._waiting else 0.0)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        with self._guard:
            self._since = self._since if self._waiting else time.monotonic()
            self._waiting += 1
        try:
            time.sleep(seconds)
        finally:
            with self._guard:
                self._waiting -= 1
                if not self._waiting:
                    self._left -= time.monotonic() - self._since


class RetryLimits:
    """Limits of one fetch, and of its whole call.

    Args:
        attempts: consecutive failures without a single new byte.
        stall_s: seconds without a byte.
        first_wait_s: longest wait after the first failure; each further one doubles it, up to ``longest_wait_s``.
    """

    failures = 100  # in all
    longest_wait_s = 10.0
    connect_s = 15.0  # for a connection

    def __init__(
        self, *, attempts: Optional[int] = None, stall_s: Optional[float] = None, first_wait_s: Optional[float] = None
    ) -> None:
        self.attempts = 5 if attempts is None else attempts
        self.stall_s = 30.0 if stall_s is None else stall_s
        self.first_wait_s = FIRST_WAIT_S if first_wait_s is None else first_wait_s
        self.budget = Budget(BUDGET_S)  # for waiting between attempts, Retry-After included


class Effort:
    """What one fetch has cost so far."""

    def __init__(self, retry_limits: RetryLimits) -> None:
        self.retry_limits = retry_limits
        self.idle = self.failures = 0

    def progress(self) -> None:
        """Record that new bytes came: earlier failures no longer count."""
        self.idle = 0

    def run(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns, calling it again after temporary failures.

        Raises:
            FetchError: the last failure, if it is permanent or the limits are reached.
        """
        failures: List[FetchError] = []
        try:
            return attempt()
        except FetchError as error:
            failures.append(error)

        def again() -> T:
            if failures:
                raise failures.pop()
            return attempt()

        import tenacity  # with the first failure: most fetches have none

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=self._enough,
            wait=self._wait,
            sleep=self.retry_limits.budget.wait,
            reraise=True,
        )
        try:
            return retrying(again)
        except FetchError as error:
            error.tried_enough = True
            raise

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        self.idle += 1
        self.failures += 1
        left = self.retry_limits.budget.left()
        return (
            left <= 0
            or (self._asked(state) or 0) > left
            or self.idle >= self.retry_limits.attempts
            or self.failures >= self.retry_limits.failures
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        wait = self._asked(state)
        if wait is None:
            longest = self.retry_limits.first_wait_s * 2.0**self.idle
            wait = random.uniform(0.0, min(longest, self.retry_limits.longest_wait_s))  # noqa: S311  # jitter, no secret
        return wait

    @staticmethod
    def _asked(state: tenacity.RetryCallState) -> Optional[float]:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after_s if isinstance(error, FetchError) else None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, FetchError) and error.retryable and not error.tried_enough
