"""The tool's own wheels: packed again from what is installed here, or downloaded for another machine."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import platform as system
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename

from ..errors import BundleError, UsageError

_SELF = "prepare-models"
_OWN_WHEEL = b"Wheel-Version: 1.0\nGenerator: prepare-models\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = re.compile(r"\.\.|.*\.pyc$|.*\.dist-info/(INSTALLER|REQUESTED|RECORD|direct_url\.json|uv_cache\.json)$")


@dataclass(frozen=True)
class Target:
    """A machine's Python: version such as 3.12, machine x86_64 or aarch64."""

    python: str
    machine: str

    @classmethod
    def here(cls) -> Target:
        """Return this Python."""
        return cls(f"{sys.version_info.major}.{sys.version_info.minor}", system.machine())

    def markers(self) -> dict[str, str]:
        """Return what environment markers compare with."""
        return {
            "python_version": self.python, "python_full_version": f"{self.python}.0", "platform_machine": self.machine,
            "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux",
            "implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": "",
        }  # fmt: skip


def collect(target: Target, extras: frozenset[str], given: Path | None, work: Path) -> list[Path]:
    """Return wheels with which ``pip install --no-index`` installs this tool on a target.

    Versions are those that are installed here.

    Args:
        target: the Python that installs them.
        extras: extras of the tool.
        given: directory of wheels, which are taken before any other.
        work: directory that receives what is packed or downloaded.

    Raises:
        BundleError: a wheel for the target can't be had.
    """
    if given is not None and not given.is_dir():
        raise UsageError(f"{given} is no directory", hint="give the directory of the wheels")
    theirs = {name: file for file in _wheels(given) if (name := _name(file)) is not None}
    return [theirs.get(name) or _wheel(found, target, work) for name, found in sorted(_closure(target, extras).items())]


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
                "wheel-missing", f"{name} is not installed here, so its version is not known",
                hint="install it, or leave it out with --no-wheels",
            ) from None  # fmt: skip
        for text in found[key].requires or ():
            requirement = Requirement(text)
            environments = [{**target.markers(), "extra": extra} for extra in ("", *wanted)]
            if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
                todo.append((requirement.name, frozenset(requirement.extras)))
    return found


def _wheel(found: Distribution, target: Target, work: Path) -> Path:
    name = found.metadata["Name"]
    if canonicalize_name(name) == _SELF:
        return _packed(found, ["py3-none-any"], _own_files(), work)
    tags = re.findall(r"^Tag: (.+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    if tags and (target == Target.here() or all(tag.endswith("-none-any") for tag in tags)):
        return _packed(found, tags, dict(_installed_files(found)), work)
    return _downloaded(name, found.version, target, work)


def _own_files() -> dict[str, Path]:
    import prepare_models
    import prepare_models_entrypoint.contract

    from ..docker.images import docker_directory

    entrypoint = Path(prepare_models_entrypoint.contract.__file__).parents[1]
    roots = {
        "prepare_models": Path(prepare_models.__path__[0]),
        "prepare_models_entrypoint": entrypoint,
        "prepare_models/dockerfiles": docker_directory(),
    }
    return {
        f"{prefix}/{file.relative_to(root).as_posix()}": file
        for prefix, root in roots.items()
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def _installed_files(found: Distribution) -> Iterator[tuple[str, Path]]:
    for entry in found.files or ():
        name, file = entry.as_posix(), Path(str(entry.locate()))
        if _LEFT_OUT.match(name):
            continue
        if entry.hash is not None and _record_digest(file.read_bytes()) != f"{entry.hash.mode}={entry.hash.value}":
            raise BundleError(
                "wheel-changed", f"{file} is not as {found.metadata['Name']} installed it", hint="install it again"
            )
        yield name, file


def _packed(found: Distribution, tags: list[str], files: Mapping[str, Path], work: Path) -> Path:
    """Write a wheel; the same files give the same bytes."""
    stem = f"{canonicalize_name(found.metadata['Name']).replace('-', '_')}-{found.version}"
    data = {name: file.read_bytes() for name, file in files.items()}
    info = next((name.partition("/")[0] for name in data if name.partition("/")[0].endswith(".dist-info")), None)
    info = info or f"{stem}.dist-info"
    if f"{info}/METADATA" not in data:  # the tool itself, whose metadata an editable installation keeps elsewhere
        for name in ("METADATA", "entry_points.txt"):
            data[f"{info}/{name}"] = (found.read_text(name) or "").encode("utf-8")
        data[f"{info}/WHEEL"] = _OWN_WHEEL
    rows = [(name, _record_digest(content), len(content)) for name, content in sorted(data.items())]
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    data[f"{info}/RECORD"] = record.getvalue().encode("utf-8")
    target = work / f"{stem}-{_compressed(tags)}.whl"
    with zipfile.ZipFile(target, "w") as pack:
        for name, content in sorted(data.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            pack.writestr(entry, content, zipfile.ZIP_DEFLATED, 1)  # what any pip can read; the bundle leaves it so
    return target


def _compressed(tags: list[str]) -> str:
    """Return the tags of a wheel as they stand in its name."""
    parsed = [Tag(*tag.split("-", 2)) for tag in tags]
    parts = ([tag.interpreter for tag in parsed], [tag.abi for tag in parsed], [tag.platform for tag in parsed])
    return "-".join(".".join(dict.fromkeys(part)) for part in parts)


def _record_digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")


def _downloaded(name: str, version: str, target: Target, work: Path) -> Path:
    folder = work / "downloaded"
    folder.mkdir(exist_ok=True)
    platforms = [f"manylinux_2_{minor}_{target.machine}" for minor in (28, 17)] + [f"manylinux2014_{target.machine}"]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, "--dest", str(folder),
        *(word for platform in platforms for word in ("--platform", platform)), f"{name}=={version}",
    ]  # fmt: skip
    # There, as -m looks into the current directory for modules first, which may be anybody's.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    found = [file for file in _wheels(folder) if _name(file) == canonicalize_name(name)]
    if done.returncode or not found:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        raise BundleError(
            "wheel-missing",
            f"no wheel of {name} {version} for Python {target.python} on {target.machine}: {last}",
            hint="put it into a directory and give --wheels DIR, or leave wheels out with --no-wheels",
        )
    return found[0]


def _wheels(folder: Path | None) -> list[Path]:
    return sorted(folder.glob("*.whl")) if folder is not None else []


def _name(file: Path) -> NormalizedName | None:
    try:
        return parse_wheel_filename(file.name)[0]
    except InvalidWheelFilename:
        return None
