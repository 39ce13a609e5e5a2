"""``models.lock`` as values, and its form on the disk: JSON in a stable order, one line per fact."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.digest import is_sha256
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.files import read_small, write_own
from prepare_models_entrypoint.contract.values import Value

from .. import __version__
from ..errors import HostError, LockError
from ..support.os_errors import writing

if TYPE_CHECKING:
    from ..docker.daemon import Image
    from ..machine.platforms import Platform


VERSION = 1
ROLES = (
    "model", "external_data", "calibration_cache", "calibration_samples", "plugin", "verification_samples",
    "verification_arrays",
)  # fmt: skip


Facts = Mapping[str, str]


class LockedFile(Value):
    """A file that a model is made from.

    role: one of ``ROLES``. source: in its public form; a local path below the manifest's directory is relative to it.
    sha256, bytes: of the file; of the member for a source in an archive; of all samples for a directory of samples.
    source_id: distinguishes remote sources with the same public form. promised: who gave the digest of a remote source
    before its bytes came: manifest, server, or nobody (None), so that the first fetch was trusted. revision: the commit
    of the repository that the bytes come from.
    """

    role: str
    source: str
    sha256: str
    bytes: int
    source_id: str | None = None
    promised: str | None = None
    revision: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Return what identifies the file within its model."""
        return self.role, self.source


class LockedEngine(Value):
    """The engine of a model for one kind of machine.

    platform: its name among the lock's platforms, and its GPU if one was used. build_key: identifies what the engine
    was made from and for. sha256, bytes: of the engine file.
    """

    platform: str
    build_key: str
    sha256: str
    bytes: int


class Lock(Value):
    """Files and engines by model, and facts by platform."""

    models: Mapping[str, tuple[LockedFile, ...]] = field(default_factory=dict)
    platforms: Mapping[str, Facts] = field(default_factory=dict)
    engines: Mapping[str, tuple[LockedEngine, ...]] = field(default_factory=dict)

    def engine_digests(self, model: str) -> Mapping[str, str]:
        """Return the sha256 of each locked engine of a model by its build key."""
        return {engine.build_key: engine.sha256 for engine in self.engines.get(model, ())}

    @property
    def digest(self) -> str:
        """Return the sha256 of the document, which signatures sign."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()

    def to_json(self) -> str:
        """Return the serialized document; equal locks give equal text."""
        models = {
            name: [_raw(file) for file in sorted(files, key=lambda file: (ROLES.index(file.role), file.source))]
            for name, files in sorted(self.models.items())
        }
        platforms = {name: dict(sorted(facts.items())) for name, facts in sorted(self.platforms.items())}
        document: dict[str, object] = {"version": VERSION, "models": models, "platforms": platforms}
        if self.engines:
            document["engines"] = {
                name: [
                    vars(engine) for engine in sorted(engines, key=lambda engine: (engine.platform, engine.build_key))
                ]
                for name, engines in sorted(self.engines.items())
            }
        return json.dumps(document, indent=2) + "\n"


def path_of(manifest: Path) -> Path:
    """Return where the lock of a manifest is: ``models.lock`` next to ``models.yaml``."""
    return manifest.with_suffix(".lock")


def read(file: Path) -> Lock | None:
    """Return the lock in a file, or None if there is no file.

    Raises:
        LockError: it is not a lock, or one of another version.
    """
    try:
        return parse(read_small(file, largest=schema.LARGEST_DOCUMENT), str(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{file} can't be read: {error.strerror}", hint="give read access to it") from None


def parse(data: bytes, name: str) -> Lock:
    """Return the lock in a document; ``name``: its name in errors."""
    try:
        raw = schema.loads(data)
        version = raw.pop("version", None) if isinstance(raw, dict) else None
        if version != VERSION:
            raise _unreadable(name, f"it has version {version}, but this tool reads {VERSION}")
        lock = schema.read(Lock, raw, "lock")
        _check(raw, lock)
    except ContractError as error:
        raise _unreadable(name, str(error)) from None
    return lock


def write(file: Path, lock: Lock) -> None:
    """Write a lock atomically. A link in its place, which may be planted, is replaced."""
    with writing(file, "give write access to its directory"):
        write_own(file, lock.to_json().encode("utf-8"))


def _check(raw: Collection[str], lock: Lock) -> None:
    if not {"models", "platforms"} <= set(raw):
        raise ContractError("models or platforms are missing")
    for file in (file for files in lock.models.values() for file in files):
        if file.role not in ROLES or not is_sha256(file.sha256) or file.bytes < 0:
            raise ContractError(f"{file.source}: role, sha256 or bytes is wrong")
    for engine in (engine for engines in lock.engines.values() for engine in engines):
        digests = (engine.build_key, engine.sha256)
        if not all(map(is_sha256, digests)) or engine.bytes < 0:
            raise ContractError(f"engine {engine.build_key[:16]}: build_key, sha256 or bytes is wrong")


def _raw(file: LockedFile) -> dict[str, object]:
    raw = dict(vars(file))
    if file.source_id is None:  # local file
        del raw["source_id"], raw["promised"]
    if file.revision is None:
        del raw["revision"]
    return raw


def _unreadable(name: str, why: str) -> LockError:
    return LockError([f"{name} is not a lock: {why}"], hint="restore it, or remove it and run prepare-models lock")


# Packages of the extra ``local``; others come with extras that not everybody has.
_REWRITING = ("onnx",)


def facts_of_python(runtime: RuntimeInfo) -> tuple[str, Facts]:
    """Return name and facts of this Python as a platform."""
    backend = runtime["backend"]
    facts = {"tool": __version__}
    if backend is not None:
        facts.update(backend=backend["name"], backend_version=backend["version"])
    facts.update({name: found for name, found in runtime.get("packages", {}).items() if name in _REWRITING})
    return f"local-{os.uname().machine}", facts


def facts_of_image(row: Platform, image: Image) -> tuple[str, Facts]:
    """Return name and facts of an image as a platform."""
    facts = {"tool": __version__, "image_id": image.id, "tensorrt": row.tensorrt}
    return f"{row.name}-{image.machine}", facts
