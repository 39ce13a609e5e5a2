"""The shared store of one run: which engines it takes from there, and which it puts there."""

from __future__ import annotations

import random
import threading

from prepare_models_entrypoint.contract.report import BUILT, RESTORED, ModelReport, WarningInfo

from ..errors import CodedError, SharedStoreError, UsageError
from ..options import BUILD_AND_PUSH, POLICIES, PULL_ONLY, Sharing
from ..planning.planned import PlannedModel
from ..signing import envelopes
from ..store.local import Store
from ..store.shared import SharedStore


class Supply:
    """The shared store of one run. Once it can't be reached, it is not asked again; the local store goes on serving.

    replace: whether what is built takes the place of what is there.

    Raises:
        UsageError: the settings contradict each other, or the URL or the key can't be used.
        HostError: a module is missing.
    """

    def __init__(self, sharing: Sharing, store: Store, *, replace: bool = False) -> None:
        if sharing.policy not in POLICIES:
            raise UsageError(f"there is no policy {sharing.policy!r}", hint=f"one of {', '.join(POLICIES)}")
        if replace and sharing.policy == PULL_ONLY:
            raise UsageError("--force builds, --policy pull-only never does", hint="leave one of them out")
        if sharing.sign is not None and not sharing.pushes:
            raise UsageError(f"--policy {sharing.policy} signs nothing", hint=f"--policy {BUILD_AND_PUSH}")
        self._shared = SharedStore(sharing.url, bytes_per_s=sharing.bytes_per_s)
        if sharing.pushes:
            self._shared.refuse_read_only()
        self._sharing, self._store, self._replace = sharing, store, replace
        key = sharing.sign
        self._signer: envelopes.Signer | None = envelopes.private_key(key, sharing.password_file) if key else None
        self._guard = threading.Lock()
        self._met = False
        self._lost: SharedStoreError | None = None
        self._there: set[str] | None = None
        self._damaged: set[str] = set()
        self._warnings: dict[str, list[WarningInfo]] = {}

    def pull(self, planned: PlannedModel, stop: threading.Event) -> bool:
        """Bring the engine of a model into the local store, in whose turn this is called; return whether it is there.

        Raises:
            SharedStoreError: nothing else may be done than to take it from there.
            InterruptedError: ``stop`` was set.
        """
        if not planned.turn_is_key:
            return False
        try:
            self._meet(stop)
            locked = planned.spec.engines
            return self._shared.pull(planned.turn, self._store, locked=locked, stopped=stop.is_set) is not None
        except SharedStoreError as error:
            if error.code == error.DAMAGED:
                self._damaged.add(planned.turn)
            if self._sharing.policy == PULL_ONLY:
                self._note(error)
                raise
            self._warn(planned.spec.name, error)
            return False

    def refuse_build(self, planned: PlannedModel) -> None:
        """Raise CodedError where nothing may be built."""
        if self._sharing.policy != PULL_ONLY:
            return
        where = self._shared.url
        if not planned.turn_is_key:
            message = f"what it is made from is not known yet, so no engine of it can be found in {where}"
            raise CodedError("engine-missing", message, hint="pin its sources: prepare-models lock")
        message = f"{where} has no engine with build key {planned.turn[:16]} that the manifest asks for"
        hint = f"build it on a machine of this kind: prepare-models run --store URL --policy {BUILD_AND_PUSH}"
        raise CodedError("engine-missing", message, hint=hint)

    def hand_on(self, report: ModelReport, stop: threading.Event) -> None:
        """Put the engine of a report there if it was built on this machine and the store lacks it."""
        key = report["build_key"]
        if not self._sharing.pushes or report["engine"] is None or report["origin"] is not None or key is None:
            return
        fresh = report["status"] == BUILT
        try:
            self._meet(stop)
            if not fresh and key in self._known():
                return
            entry = self._store.find(key)
            if entry is not None:
                self._shared.push(entry, self._signer, replace=fresh and (self._replace or key in self._damaged))
        except SharedStoreError as error:
            self._warn(report["name"], error)

    def with_warnings(self, report: ModelReport) -> ModelReport:
        """Return a report with what went wrong between its model and the store.

        An untrusted engine in the store deserves no warning if a worker of the farm still had its own.
        """
        found = self._warnings.pop(report["name"], [])
        if report["status"] == RESTORED:
            found = [each for each in found if each["code"] != SharedStoreError.UNTRUSTED]
        return {**report, "warnings": [*report["warnings"], *found]} if found else report

    def _known(self) -> set[str]:
        """Return the build keys that have an entry, signed by the key of this run if it has one."""
        with self._guard:
            if self._there is None:
                self._there = self._shared.keys()
                if self._signer is not None:
                    keyid = self._signer.public_key.keyid
                    offers = self._shared.offers(filter(self._store.has, self._there))
                    self._there = {key for key, offer in offers.items() if keyid in offer.keyids}
            return self._there

    def _meet(self, stop: threading.Event) -> None:
        """Wait before the first contact, and never come again to a store that can't be reached."""
        with self._guard:
            if not self._met and self._sharing.jitter_s:
                stop.wait(random.uniform(0.0, self._sharing.jitter_s))  # noqa: S311  # jitter, no secret
            self._met = True
            if stop.is_set():
                raise InterruptedError(self._shared.url)
            if self._lost is not None:
                raise self._lost

    def _note(self, error: SharedStoreError) -> bool:
        """Remember that the store can't be reached; return whether that is news."""
        news = error is not self._lost
        if error.code == error.UNREACHABLE:
            self._lost = error
        return news

    def _warn(self, name: str, error: SharedStoreError) -> None:
        if self._note(error):
            warning = WarningInfo(code=error.code, message=error.message, hint=error.hint)
            self._warnings.setdefault(name, []).append(warning)
