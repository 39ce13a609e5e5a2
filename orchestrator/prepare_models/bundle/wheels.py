"""The tool's own wheels for the bundle, which pip gets from the index that the user has configured."""

from __future__ import annotations

import csv
import importlib.util
import platform as system
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.values import Value

from ..errors import BundleError, HostError, UsageError
from ..running import child

_SELF = canonicalize_name("prepare-models")
_OURS = ("prepare_models/", "prepare_models_entrypoint/")
_WITHOUT = "leave the tool out of the bundle with --no-wheels"
_INSTEAD = f"put its wheel into a directory and give --wheels DIR, or {_WITHOUT}"
_EPOCH = "315532800"  # 1980: the earliest time in a zip


class _Revision(TypedDict):
    vcs: str
    commit_id: str


class _Origin(TypedDict):
    """What PEP 610 records about a package that isn't from an index."""

    url: str
    dir_info: dict[str, bool]
    vcs_info: _Revision | None
    subdirectory: str | None


class Target(Value):
    """A machine's Python: version such as 3.12, machine x86_64 or aarch64."""

    python: str
    machine: str

    @classmethod
    def here(cls) -> Target:
        """Return this Python."""
        return cls(f"{sys.version_info.major}.{sys.version_info.minor}", system.machine())

    def markers(self) -> dict[str, str]:
        """Return the values for environment markers."""
        return {
            "python_version": self.python, "python_full_version": f"{self.python}.0", "platform_machine": self.machine,
            "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux",
            "implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": "",
        }  # fmt: skip

    def options(self) -> list[str]:
        """Return pip's options for wheels of this target."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in (28, 17)] + [f"manylinux2014_{self.machine}"]
        words = [word for platform in platforms for word in ("--platform", platform)]
        return ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python, *words]


def collect(target: Target, extras: frozenset[str], given: Path | None, work: Path) -> list[Path]:
    """Return the wheels that ``pip install --no-index`` needs to install this tool, in the versions installed here.

    ``given``: directory of wheels, which take precedence. ``work``: directory for what pip downloads.

    Raises:
        BundleError: a wheel for the target is not available.
        UsageError: the directory is missing.
        HostError: this Python has no pip.
    """
    if given is not None and not given.is_dir():
        raise UsageError(f"{given} is not a directory", hint="give the directory of the wheels")
    theirs = _by_name(given) if given is not None else {}
    wanted = _closure(target, extras)
    missing = {name: found for name, found in sorted(wanted.items()) if name not in theirs}
    got = _from_pip(missing, target, work / "wheels") if missing else {}
    return [theirs.get(name) or got[name] for name in sorted(wanted)]


def _closure(target: Target, extras: frozenset[str]) -> dict[NormalizedName, Distribution]:
    found: dict[NormalizedName, Distribution] = {}
    todo: list[tuple[str, frozenset[str]]] = [(_SELF, extras)]
    while todo:
        name, wanted = todo.pop()
        key = canonicalize_name(name)
        if key in found and not wanted:
            continue
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:
            raise BundleError(
                "wheel-missing", f"{name} is not installed here, so its version is unknown",
                hint=f"install it, or {_WITHOUT}",
            ) from None  # fmt: skip
        for text in found[key].requires or ():
            requirement = Requirement(text)
            environments = [{**target.markers(), "extra": extra} for extra in ("", *wanted)]
            if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
                todo.append((requirement.name, frozenset(requirement.extras)))
    return found


def _from_pip(missing: dict[NormalizedName, Distribution], target: Target, folder: Path) -> dict[NormalizedName, Path]:
    """Let pip download wheels into a new folder; packages installed from a URL or directory come from there again."""
    if importlib.util.find_spec("pip") is None:
        by_uv = f"uv pip install --python {sys.executable} pip"
        install = by_uv if shutil.which("uv") else f"{sys.executable} -m ensurepip"
        raise HostError(f"pip downloads the wheels, and {sys.executable} has no pip", hint=f"{install}; or {_WITHOUT}")
    folder.mkdir()
    places = {name: place for name, found in missing.items() if (place := _place(found)) is not None}
    _pip(folder, ["wheel"], [f"{name} @ {place}" for name, place in places.items()])
    pinned = [f"{name}=={found.version}" for name, found in missing.items() if name not in places]
    here = target == Target.here()
    _pip(folder, ["wheel"] if here else ["download", "--dest", ".", *target.options()], pinned)
    got = _by_name(folder)
    for name, found in missing.items():
        if name not in got or (name in places and not here and not got[name].stem.endswith("-none-any")):
            what = f"no wheel of {name} {found.version} for Python {target.python} on {target.machine}"
            raise BundleError("wheel-missing", what, hint=_INSTEAD)
    if _SELF in missing:
        _check_own(missing[_SELF], got[_SELF])
    return got


def _pip(folder: Path, action: Sequence[str], requirements: Iterable[str]) -> None:
    """Run pip in a folder, as -m first looks for modules in the current directory, which may be anyone's."""
    wanted = list(requirements)
    if not wanted:
        return
    command = [sys.executable, "-m", "pip", *action, "--quiet", "--no-input", "--no-deps", *wanted]
    environment = {**child.environment(), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "SOURCE_DATE_EPOCH": _EPOCH}
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False, cwd=folder, env=environment
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in lines if line.lower().startswith("error")] or lines or [f"status {done.returncode}"]
        raise BundleError(
            "wheel-missing", f"pip can't get the wheels of this tool: {said[-1]}",
            hint=f"check pip's index and the network (pip config list); or {_INSTEAD}",
        )  # fmt: skip


def _place(found: Distribution) -> str | None:
    """Return the URL that a package was installed from, or None if from an index.

    Raises:
        BundleError: it is a directory or file that no longer exists.
    """
    origin = _origin(found)
    if origin is None:
        return None
    url, version = origin["url"], origin["vcs_info"]
    parts = urlsplit(url)
    if version is not None:
        url = f"{version['vcs']}+{url}@{version['commit_id']}"
    elif parts.scheme == "file" and not Path(url2pathname(parts.path)).exists():
        name, path = found.metadata["Name"], url2pathname(parts.path)
        raise BundleError("wheel-missing", f"{name} was installed from {path}, which no longer exists", hint=_INSTEAD)
    return f"{url}#subdirectory={origin['subdirectory']}" if origin["subdirectory"] else url


def _origin(found: Distribution) -> _Origin | None:
    """Return where a package came from; None if from an index, or unknown."""
    try:
        return schema.read(_Origin, schema.loads(found.read_text("direct_url.json") or ""), "direct_url.json")
    except ContractError:
        return None


def _check_own(found: Distribution, wheel: Path) -> None:
    """Refuse a wheel whose code differs from what runs here: from a clone that has moved on, or a namesake."""
    origin = _origin(found)
    if origin is not None and origin["dir_info"].get("editable"):  # the code in its directory is what runs
        return
    installed = {str(entry): f"{entry.hash.mode}={entry.hash.value}" for entry in found.files or () if entry.hash}
    installed = {name: digest for name, digest in installed.items() if name.startswith(_OURS)}
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(archive.read(record).decode("utf-8").splitlines()))
    if {name: digest for name, digest, _ in rows if name.startswith(_OURS)} != installed:
        what = f"{_place(found) or 'the index'} has another {_SELF} than the installed one"
        raise BundleError("wheel-changed", what, hint=f"install it again from there; or {_INSTEAD}")


def _by_name(folder: Path) -> dict[NormalizedName, Path]:
    found = {}
    for file in sorted(folder.glob("*.whl")):
        try:
            found[parse_wheel_filename(file.name)[0]] = file
        except InvalidWheelFilename:
            continue
    return found
