"""The engine store: each engine once, by its build key, for all models directories of this user.

The rest of the tool only knows ``Store``; ``open_store`` returns the one in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from prepare_models_entrypoint.contract.report import ModelReport
from prepare_models_entrypoint.contract.values import Value

from ..support.file_digests import Digests, open_digests
from ..support.paths import contents_dir

PLAN = "model.plan"
CALIBRATION = "calibration.cache"
FILES = (PLAN, CALIBRATION)


class Entry(Value):
    """An engine in the store.

    files: the plan, and a calibration cache if the build made one, by their names (see ``FILES``).
    record: the report of the build. bytes: size of all files. used_at: when it was last stored or used, in epoch
    seconds.
    """

    key: str
    files: Mapping[str, Path]
    record: ModelReport
    bytes: int
    used_at: float

    @property
    def plan(self) -> Path:
        """Return the plan file."""
        return self.files[PLAN]


class Turn(Value):
    """The right to build an engine. ``waited``: whether another process had it first. ``last_place``: its place."""

    waited: bool
    last_place: Path | None


class Store(Protocol):
    """Engines by their build keys. All methods are safe in several threads and processes at once."""

    def has(self, key: str) -> bool:
        """Return whether there is an engine, without reading its bytes."""

    def may_hold(self, model_bytes: int) -> bool:
        """Return whether any engine was ever made from a model file of this size."""

    def find(self, key: str) -> Entry | None:
        """Return an engine whose record and bytes are as stored; None if there is none or it is damaged."""

    def put(self, record: ModelReport, files: Mapping[str, Path]) -> Entry:
        """Store an engine under its record's build key, replacing any other. Call it while holding that key's turn.

        The caller keeps its files, and is responsible for their bytes, which are verified when the engine is used.

        Raises:
            ValueError: the record is not that of an engine, or not of these files.
        """

    def problem(self, entry: Entry) -> str | None:
        """Return why an engine doesn't match its record, or None."""

    def remove(self, key: str) -> bool:
        """Remove an engine; return False if it is being built."""

    def sweep(self) -> None:
        """Remove what processes left when killed while storing or removing an engine."""

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, with bytes unverified."""

    def turn(
        self, key: str, place: Path, *, on_wait: Callable[[str], None], stopped: Callable[[], bool]
    ) -> AbstractContextManager[Turn]:
        """Hold the right to build an engine: one process at a time has it, and loses it when it dies.

        Args:
            key: its build key.
            place: model directory that the engine is for.
            on_wait: called once with the id of the process that has it.
            stopped: called while waiting; returning True gives up with InterruptedError.
        """


def open_store(digests: Digests | None = None) -> Store:
    """Return the store in use: the one under ``paths.contents_dir()``."""
    from .local import LocalStore

    return LocalStore(contents_dir() / "engines", digests or open_digests())
