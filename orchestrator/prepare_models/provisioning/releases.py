"""One model's directory as several releases, of which one is current; decision 017 has why it looks like this.

    NAME/.releases/3/               a model directory as ``run`` writes one; it never changes
    NAME/.releases/current -> 3     the switch: one rename
    NAME/config.pbtxt -> .releases/current/config.pbtxt, and so on for every file of a release
    NAME/3 -> .releases/3/1         what Triton serves, as config.pbtxt has ``specific { versions: [3] }``
    NAME/1/model.plan               the current engine, for those who need a stable path

Callers of functions that write hold the model's lock. All links are relative, so that the directory can be mounted
anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path

from prepare_models_entrypoint.contract import companions, schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import PARTIAL, sha256_file, sync_directory, write_own
from prepare_models_entrypoint.contract.report import DeploymentInfo, ErrorInfo, ModelReport, read_record
from prepare_models_entrypoint.contract.shared_files import share_file
from prepare_models_entrypoint.contract.values import Value

from ..errors import ReleaseError
from ..planning.planner import PLAN
from ..running.publishing import Publisher

_NOTES = "notes.json"
_REMEMBERED = 8  # rejected releases
_LARGEST = 10**12  # far beyond any release; what is larger was not numbered by this tool
_OWN = frozenset((*companions.ALWAYS, companions.DEEPSTREAM, companions.LABELS, companions.SIGNED, companions.REPORT))


class Rejected(Value):
    """A release that is never switched to automatically. ``engine``: its ``fingerprint``."""

    release: int
    engine: str
    why: str


class Notes(Value):
    """What is known of releases besides their files.

    newest: the highest number that was current. trial: the release whose health command has not answered yet.
    """

    newest: int = 0

    trial: int | None = None
    rejected: Sequence[Rejected] = field(default_factory=list)


def fingerprint(build_key: str, deployment: DeploymentInfo) -> str:
    """Return a value that is equal for releases that serve the same engine in the same way."""
    facts = [build_key, {**deployment, "version": None}]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8")).hexdigest()


class Releases:
    """The releases of one model. ``folder``: its directory in the models directory, absolute; it need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / companions.RELEASES

    @property
    def current(self) -> int | None:
        """Return the current release, None without any."""
        try:
            number = _number(os.readlink(self.folder / companions.CURRENT))
        except OSError:
            return None
        return number if number is not None and self.path(number).is_dir() else None

    @property
    def previous(self) -> int | None:
        """Return the release to roll back to: the newest one before the current that was not rejected."""
        bad, current = self._rejected_numbers(), self.current or 0
        return max((number for number in self.numbers() if number < current and number not in bad), default=None)

    def numbers(self) -> list[int]:
        """Return the existing releases, in order."""
        return sorted(number for name in _names(self.root) if (number := _number(name)) is not None)

    def path(self, number: int) -> Path:
        """Return the directory of a release."""
        return self.root / str(number)

    def record(self, number: int) -> ModelReport | None:
        """Return the record of a release, or None if it can't be read."""
        return read_record(self.path(number))

    def engine_sha256(self, number: int | None) -> str | None:
        """Return the sha256 of the engine of a release, or None if unknown."""
        record = self.record(number) if number is not None else None
        return record["engine"]["sha256"] if record is not None and record["engine"] is not None else None

    @property
    def notes(self) -> Notes:
        """Return the notes; empty if unreadable."""
        try:
            notes = schema.read(Notes, schema.load(self.root / _NOTES), _NOTES)
        except (OSError, ContractError):
            return Notes()
        return notes if notes.newest < _LARGEST else Notes()

    def note(self, notes: Notes) -> None:
        """Write what is known besides, if that is anything new; nothing needs no file."""
        if notes == Notes():
            (self.root / _NOTES).unlink(missing_ok=True)
        elif notes != self.notes:
            write_own(self.root / _NOTES, json.dumps(asdict(notes)).encode("ascii"))

    def rejected(self, engine: str) -> Rejected | None:
        """Return the release with a fingerprint that was rejected, None if none was."""
        return next((each for each in self.notes.rejected if each.engine == engine), None)

    def add(self, report: ModelReport, files: Mapping[str, Path], publisher: Publisher) -> int:
        """Write a release, whole and on the disk, and return its number. It is not current yet.

        Raises:
            ReleaseError: it could not be written, or its engine is not the one in the report.
        """
        self._refuse_links()
        number = 1 + max((1, self.notes.newest, *self.numbers(), *(_number(name) or 0 for name in _names(self.folder))))
        partial = self.root / f".{number}{PARTIAL}"
        report["deployment"]["version"] = number
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _refuse(publisher.publish(files, report, partial, self.folder))
            refuse_damage(partial, sha256_file(partial / PLAN))
            _sync(partial)
            partial.rename(self.path(number))
            sync_directory(self.root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            self._leave_if_empty()
            raise
        return number

    def switch(self, number: int) -> None:
        """Make another release current. At every moment, one of the two is, with all its files."""
        names = set(_names(self.path(number)))
        for name in _names(self.folder):
            if name not in names and (name in _OWN or _target(self.folder / name) == f"{companions.CURRENT}/{name}"):
                (self.folder / name).unlink()  # a dangling link would keep Triton from reading the directory
        _link(self.folder / str(number), f"{companions.RELEASES}/{number}/1")
        sync_directory(self.folder)
        _link(self.folder / companions.CURRENT, str(number))
        sync_directory(self.root)
        self.mend()

    def mend(self) -> None:
        """Finish what a killed process began, and remove its leftovers."""
        self._refuse_links()
        for folder in (self.folder, self.root, self.folder / "1"):
            for name in _names(folder):
                if name.endswith(PARTIAL):
                    _remove(folder / name)
        notes, current, previous = self.notes, self.current, self.previous
        if notes.trial not in (None, current):
            self.note(replace(notes, trial=None))
        if current in self._rejected_numbers() and previous is not None:
            _link(self.folder / companions.CURRENT, str(previous))
        current, notes = self.current, self.notes
        newest = max(current or 0, notes.newest)
        self.note(replace(notes, newest=newest))
        self._forget(number for number in self.numbers() if number > newest)  # complete, and never current
        if current is None:
            self._leave_if_empty()
            return
        self.keep_signature(current)
        stable = self.folder / PLAN
        stable.parent.mkdir(exist_ok=True)
        made = [_link(stable, f"../{companions.CURRENT}/{PLAN}")]
        made += [_link(self.folder / str(n), f"{companions.RELEASES}/{n}/1") for n in self.numbers()]
        # Last comes what Triton takes for a model: a first version shows when it is complete.
        files = [name for name in _names(self.path(current)) if not (self.path(current) / name).is_dir()]
        files.sort(key=lambda name: name == companions.CONFIG)
        made += [_link(self.folder / name, f"{companions.CURRENT}/{name}") for name in files]
        if any(made):
            sync_directory(self.folder)
            sync_directory(stable.parent)

    def keep_signature(self, number: int) -> None:
        """Copy a signature added to the model's directory into the release, if it signs the release's statement."""
        signed, statements = self.folder / companions.SIGNED, (self.folder, self.path(number))
        if signed.is_file() and not signed.is_symlink():
            one, other = ((folder / companions.PROVENANCE).read_bytes() for folder in statements)
            if one == other:
                share_file(signed, self.path(number) / companions.SIGNED, link=False)
                _sync(self.path(number))

    def reject(self, number: int, why: str) -> None:
        """Remember never to switch automatically to a release, or to one with the same fingerprint."""
        record, notes = self.record(number), self.notes
        if record is not None:
            rejected = Rejected(number, fingerprint(record["build_key"] or "", record["deployment"]), why)
            others = [each for each in notes.rejected if each.engine != rejected.engine]
            notes = replace(notes, rejected=[*others, rejected][-_REMEMBERED:])
        self.note(replace(notes, trial=None))

    def accept(self, number: int) -> None:
        """Forget the rejection of a release, and of others with the same fingerprint."""
        record, notes = self.record(number), self.notes
        engine = fingerprint(record["build_key"] or "", record["deployment"]) if record else ""
        same = {each.release for each in notes.rejected if engine == each.engine}
        self._forget(same & {*self.numbers()} - {number, self.current})
        kept = [each for each in notes.rejected if each.release not in {*same, number}]
        self.note(replace(notes, trial=None, rejected=kept))

    def prune(self, keep: int) -> None:
        """Keep the current release and the newest others, rejected ones last. ``keep``: at least 1."""
        bad, current = self._rejected_numbers(), self.current
        others = [number for number in self.numbers() if number != current]
        self._forget(sorted(others, key=lambda number: (number not in bad, number))[: len(others) - (keep - 1)])

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in list(numbers):
            _remove(self.folder / str(number))  # first, as it must not dangle
            sync_directory(self.folder)
            partial = self.root / f".{number}{PARTIAL}"
            self.path(number).rename(partial)
            _remove(partial)

    def _rejected_numbers(self) -> set[int]:
        return {each.release for each in self.notes.rejected}

    def _leave_if_empty(self) -> None:
        """Remove the directory if it is empty: Triton considers every directory a model."""
        for folder in (self.root, self.folder):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _refuse_links(self) -> None:
        for place in (self.folder, self.root, self.folder / "1"):
            if place.is_symlink():
                text = f"{place} is a link, and releases are written into directories"
                raise ReleaseError("release-damaged", text, hint=f"replace it by a directory, or remove it: {place}")


def refuse_damage(folder: Path, sha256: str) -> None:
    """Refuse a release whose engine is not the one in its record. ``sha256``: that of the actual engine.

    Raises:
        ReleaseError: it is not.
    """
    record = read_record(folder)
    if record is None or record["engine"] is None or record["engine"]["sha256"] != sha256:
        raise ReleaseError("release-damaged", f"{folder} has an engine that is not the one of its record")


def _refuse(error: ErrorInfo | None) -> None:
    if error is not None:
        raise ReleaseError(error["code"], error["message"], hint=error["hint"])


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _number(name: str) -> int | None:
    return int(name) if re.fullmatch("0|[1-9][0-9]*", name) and len(name) < len(str(_LARGEST)) else None


def _target(place: Path) -> str | None:
    return os.readlink(place) if place.is_symlink() else None


def _link(place: Path, target: str) -> bool:
    """Make a link point to a target, atomically; return whether that changed it."""
    if _target(place) == target:
        return False
    partial = place.with_name(f".{place.name}{PARTIAL}")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    partial.symlink_to(target)
    partial.replace(place)
    return True


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Flush a directory and everything in it to the disk."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(place, name), "rb") as stream:
                os.fsync(stream.fileno())
        sync_directory(place)
