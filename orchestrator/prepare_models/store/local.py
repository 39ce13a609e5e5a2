"""The engine store of this machine: each engine once, by its build key, for all models directories of this user.

    <key>/model.plan          the engine, read-only; hard-linked or cloned into models directories
    <key>/calibration.cache   a calibration cache that the build made
    <key>/record.json         the report of the build; its time of change is that of the last use
    <key>/record.sha256       of that report: companions are made from it, and a bit of it may rot as well as the plan's
    locks/<key>.lock          whose turn it is to build
    sizes/<bytes>             there was an engine of a model file of that size

A directory is renamed into place when all of it is on the disk, so engines are never incomplete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prepare_models_entrypoint.contract import companions, schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import PARTIAL, read_small, sync_directory, write_all_own
from prepare_models_entrypoint.contract.identity import build_key
from prepare_models_entrypoint.contract.report import ModelReport, blank, read
from prepare_models_entrypoint.contract.shared_files import share_file
from prepare_models_entrypoint.contract.values import Value

from ..running.writer_lock import OnWait, Stopped, flocked, locked_now
from ..support.file_digests import Digests, open_digests
from ..support.paths import contents_dir
from . import FILES, PLAN

RECORD, RECORD_SHA256 = "record.json", "record.sha256"
_KEY = r"[0-9a-f]{64}"


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
    """The right to build an engine.

    waited: whether another process had it first. last_place: its place. last_began: if it was killed while it built,
    digest of the record that was there when it began. begin: to be called before a build.
    """

    waited: bool
    last_place: Path | None
    last_began: str | None = None
    begin: Callable[[], None] = lambda: None


class Store:
    """Engines in a directory. All methods are safe in several threads and processes at once.

    root: the directory; it is created when something is stored. digests: known digests of files, so that untouched
    engines are not read again.
    """

    def __init__(self, root: Path, digests: Digests) -> None:
        self.root = root
        self._digests = digests

    def has(self, key: str) -> bool:
        """Return whether there is an engine, without reading its bytes."""
        return (self.root / key / RECORD).is_file()

    def may_hold(self, model_bytes: int) -> bool:
        """Return whether any engine was ever made from a model file of this size."""
        return (self.root / "sizes" / str(model_bytes)).exists()

    def find(self, key: str) -> Entry | None:
        """Return an engine whose record and bytes are as stored; None if there is none or it is damaged."""
        entry = self._entry(key)
        if entry is None or self.problem(entry) is not None:
            return None
        with contextlib.suppress(OSError):  # for a read-only store
            os.utime(self.root / key / RECORD)
        return entry

    def problem(self, entry: Entry) -> str | None:
        """Return why an engine doesn't match its record, or None."""
        identity, engine = entry.record["identity"], entry.record["engine"]
        if (
            not isinstance(identity, dict)
            or not isinstance(engine, dict)
            or not (build_key(identity) == entry.record["build_key"] == entry.key)
        ):
            return "its record is damaged or belongs to another engine"
        try:
            if self._digests.of(entry.plan) != engine.get("sha256"):
                return "it has changed since it was built"
        except OSError as error:
            return f"its plan can't be read: {error.strerror}"
        return None

    def put(self, record: ModelReport, files: Mapping[str, Path]) -> Entry:
        """Store an engine under its record's build key, replacing any other. Call it while holding that key's turn.

        The caller keeps its files, and is responsible for their bytes, which are verified when the engine is used.

        Raises:
            ValueError: the record is not that of an engine, or not of these files.
        """
        key, engine = record["build_key"], record["engine"]
        if key is None or engine is None or not re.fullmatch(_KEY, key):
            raise ValueError(f"{record['name']}: no record of an engine")
        if not set(files) <= set(FILES) or files[PLAN].stat().st_size != engine["bytes"]:
            raise ValueError(f"{record['name']}: the record does not match these files")
        self.root.mkdir(parents=True, exist_ok=True)
        fresh = self._unfinished(key)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            for name, file in files.items():
                share_file(file, fresh / name, link=True)
                (fresh / name).chmod(file.stat().st_mode & 0o444)
            write_record(fresh, json.dumps(record).encode("utf-8"))
            sizes = self.root / "sizes"
            sizes.mkdir(exist_ok=True)
            for material in record["materials"]:
                if material["role"] == "model":
                    (sizes / str(material["bytes"])).touch()
            self._discard(key)
            fresh.rename(self.root / key)
            sync_directory(self.root)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        entry = self._entry(key)
        if entry is None:
            raise ValueError(f"{record['name']}: the record can't be read again")
        return entry

    def remove(self, key: str) -> bool:
        """Remove an engine; return False if it is being built."""

        def give_up(owner: str) -> None:
            raise InterruptedError(owner)

        try:
            with self.turn(key, self.root, on_wait=give_up, stopped=lambda: True):
                self._discard(key)
                shutil.rmtree(self._unfinished(key), ignore_errors=True)
                return True
        except InterruptedError:
            return False

    def sweep(self) -> None:
        """Remove what processes left when killed while storing or removing an engine."""
        for folder in self.root.glob(f".*{PARTIAL}"):
            key = folder.name[1:].partition(".")[0]
            with contextlib.suppress(OSError), locked_now(self.root / "locks" / f"{key}.lock"):
                shutil.rmtree(folder, ignore_errors=True)

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, with bytes unverified."""
        for folder in sorted(self.root.glob("*")):
            if re.fullmatch(_KEY, folder.name) and (entry := self._entry(folder.name)) is not None:
                yield entry

    @contextlib.contextmanager
    def turn(
        self, key: str, place: Path, *, on_wait: OnWait = lambda _: None, stopped: Stopped = lambda: False
    ) -> Iterator[Turn]:
        """Hold the right to build an engine: one process at a time has it, and loses it when it dies.

        ``place``: model directory that the engine is for. ``on_wait``, ``stopped``: as in ``writer_lock.flocked``.
        """
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        owner = f"{os.getpid()} {place.absolute()}"
        tell = lambda text: on_wait(text.partition(" ")[0])  # noqa: E731  # shorter than a function, and used once
        with flocked(locks / f"{key}.lock", owner, on_wait=tell, stopped=stopped) as lock:
            last_place, began, record = lock.last_owner.partition(" ")[2].partition("\0")
            yield Turn(
                lock.waited, Path(last_place) if last_place else None, record if began else None,
                lambda: lock.note(f"{owner}\0{record_digest(place)}"),
            )  # fmt: skip
            with contextlib.suppress(OSError):  # what has ended is in the store, or stays where it is
                lock.note(owner)

    def _entry(self, key: str) -> Entry | None:
        folder = self.root / key
        try:
            files = {name: folder / name for name in FILES if (folder / name).is_file()}
            size = sum(file.stat().st_size for file in folder.iterdir())
            used_at = (folder / RECORD).stat().st_mtime
        except OSError:
            return None
        return Entry(key, files, _record(folder / RECORD), size, used_at) if PLAN in files else None

    def _unfinished(self, key: str) -> Path:
        return self.root / f".{key}{PARTIAL}"

    def _discard(self, key: str) -> None:
        """Remove an engine atomically: nobody ever finds half of it."""
        doomed = self.root / f".{key}.old{PARTIAL}"
        shutil.rmtree(doomed, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self.root / key).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def open_store(digests: Digests | None = None) -> Store:
    """Return the store in use: the one under ``paths.contents_dir()``."""
    return Store(contents_dir() / "engines", digests or open_digests())


def record_digest(place: Path) -> str:
    """Return the digest of the record in a model directory, an empty text without any."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(read_small(place / companions.REPORT, largest=schema.LARGEST_DOCUMENT)).hexdigest()
    return ""


def write_record(folder: Path, data: bytes) -> None:
    """Write the report of a build, with its digest."""
    write_all_own(folder, {RECORD: data, RECORD_SHA256: hashlib.sha256(data).hexdigest().encode("ascii")})


def _record(file: Path) -> ModelReport:
    """Return the report of a build; one that tells nothing where it is damaged, so that the engine is still seen."""
    with contextlib.suppress(OSError, ContractError):
        data = read_small(file, largest=schema.LARGEST_DOCUMENT)
        if hashlib.sha256(data).hexdigest().encode("ascii") == read_small(file.with_name(RECORD_SHA256)):
            return read(schema.loads(data))
    return blank("?", "", precision="?", converter="auto")
