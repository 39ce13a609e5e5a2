"""What rules look at: the files of one model directory, and what is known about the engines in it."""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, Mapping, Optional, Sequence

from ..contract import schema
from ..contract.codec import ContractError
from ..contract.companions import PLAN_ENDINGS, REPORT
from ..contract.deployment import Deployment
from ..contract.files import read_small, sha256_file
from ..contract.report import Binding, ModelReport, read
from ..contract.values import Value

_LARGEST_TEXT = 4 << 20  # bytes


class Plan(Value):
    """An engine that a record describes. version: name of its directory; file: its name there."""

    version: str
    file: str
    report: ModelReport


class Model(Value):
    """One model directory, or an engine that has none yet.

    report: of the engine; None without a record of an engine in this directory.
    plans: engines with their records. versions: names of the version directories with the files in them.
    folders: names of all directories. unread: why records couldn't be read.
    published: whether the files in the directory belong to this engine rather than to an earlier one.
    """

    directory: Path
    report: Optional[ModelReport] = None
    plans: Sequence[Plan] = ()
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    folders: Sequence[str] = ()
    unread: Sequence[str] = ()
    published: bool = True

    @property
    def io(self) -> List[Binding]:
        """Return the bindings; empty if unknown."""
        return self.report["io"] if self.report else []

    def of(self, mode: str) -> List[Binding]:
        """Return the inputs or the outputs."""
        return [binding for binding in self.io if binding["mode"] == mode]

    def text(self, name: str, *, errors: str = "strict") -> Optional[str]:
        """Return the text of a file in the engine's directory, or None if it is missing.

        ``errors``: what becomes of bytes that are not UTF-8, see ``bytes.decode``.

        Raises:
            ValueError: it can't be read; the message says why.
        """
        if not self.published:
            return None
        try:
            return read_small(self.directory / name, largest=_LARGEST_TEXT).decode("utf-8", errors)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ValueError(str(error.strerror)) from error
        except UnicodeDecodeError as error:
            raise ValueError("it is not text in UTF-8") from error

    def plan(self, version: str, file: str) -> Optional[Plan]:
        """Return the engine of this name, if a record describes it."""
        return next((plan for plan in self.plans if (plan.version, plan.file) == (version, file)), None)

    @property
    def place(self) -> PurePosixPath:
        """Return the directory as consumers see it: the deploy directory in the record, or itself."""
        here = self.directory.absolute().as_posix()
        if self.report is None:
            return PurePosixPath(here)
        return PurePosixPath(Deployment.of(self.report["deployment"]).directory(self.directory.name, here))

    def names_engine(self, path: str) -> bool:
        """Return whether a path ends in this directory, one of its versions, and a file there."""
        parts = PurePosixPath(path).parts[-3:]
        if len(parts) < 3 or parts[0] != self.directory.name:
            return False
        return parts[2] in self.versions.get(parts[1], ()) if self.versions else parts[1:] == ("1", "model.plan")

    def of_engine(self, path: str) -> Model:
        """Return the model with the record of the engine that a path names, if another version has its own record."""
        plan = self.plan(*PurePosixPath(path).parts[-2:]) if self.names_engine(path) and self.plans else None
        return self if plan is None else replace(self, report=plan.report)

    def elsewhere(self, path: PurePosixPath) -> Optional[str]:
        """Return why a path to this directory is wrong, or None. Relative paths can't be checked.

        A path that is neither the directory nor that of its deployment is fine if it leads to such a directory here.
        """
        expected = self.place
        if not path.is_absolute() or path == expected:
            return None
        here = expected == PurePosixPath(self.directory.absolute().as_posix())
        if here and any((Path(str(path)) / version).is_dir() for version in self.versions):
            return None
        return f"{path}, which does not exist; the directory is {expected}" if here else f"{path}, not {expected}"


def read_model(folder: Path) -> Model:
    """Read a model directory."""
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir())
    versions = {name: sorted(path.name for path in (folder / name).iterdir()) for name in folders if name[:1].isdigit()}
    unread: List[str] = []
    plans = [plan for version in versions for plan in _plans(folder, version, versions[version], unread)]
    report = plans[0].report if plans else None
    return Model(folder, report, plans, versions, folders, tuple(dict.fromkeys(unread)))


def _plans(folder: Path, version: str, names: Sequence[str], unread: List[str]) -> Iterator[Plan]:
    """Yield the files of a version that a record describes: a record next to them, or that of the directory."""
    digests: Dict[str, str] = {}
    own = [folder / version / name for name in names if name.endswith(f".{REPORT}")]  # one per engine
    for file in (*own, folder / version / REPORT, folder / REPORT):
        report = _record(file, unread)
        engine = report["engine"] if report is not None else None
        if report is None or engine is None:
            continue
        for name in _candidates(folder / version, names, engine["bytes"]):
            digests.setdefault(name, sha256_file(folder / version / name))
            if digests[name] == engine["sha256"]:
                yield Plan(version, name, report)


def _candidates(folder: Path, names: Sequence[str], size: int) -> List[str]:
    """Return the files that a record may describe: those of its size, so that no others have to be read."""
    files = [name for name in names if not name.endswith(REPORT) and (folder / name).is_file()]
    same = [name for name in files if (folder / name).stat().st_size == size]
    return same or [name for name in files if name.endswith(PLAN_ENDINGS)]


def _record(file: Path, unread: List[str]) -> Optional[ModelReport]:
    try:
        report = read(schema.load(file))
        Deployment.of(report["deployment"])
        _check_ranks(report["io"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ContractError) as error:  # no record, or one of another version
        unread.append(f"{file.parent.name}/{file.name}: {error}")
        return None
    return report


def _check_ranks(io: Sequence[Binding]) -> None:
    """Refuse bindings that no engine can have, such as those in a record that was edited."""
    for binding in io:
        shapes = [shape for each in binding["profiles"] for shape in (each["min"], each["opt"], each["max"])]
        if binding["mode"] not in ("input", "output") or any(len(shape) != len(binding["shape"]) for shape in shapes):
            raise ContractError(f"report: {binding['name']!r} is not an input or output of an engine")
