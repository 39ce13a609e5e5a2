"""What will be done for each model of a manifest, and why. Reads existing files; changes nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract import companions, downloads
from prepare_models_entrypoint.contract.digest import Digest, Pending, combined, is_known
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.identity import Change, build_key, changes, differences, identity
from prepare_models_entrypoint.contract.report import ModelReport, record_or_problem
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value

from ..errors import CodedError, UsageError
from ..manifest.model import Manifest, ModelSpec
from ..signing.origins import untrusted
from ..store.local import Entry, Store, open_store
from ..support.file_digests import Digests, open_digests
from ..support.paths import contents_dir
from .planned import BUILD, REBUILD, RESTORE, UP_TO_DATE, PlannedModel

PLAN = Path(companions.PLAN)
_LARGE = 64 << 20  # bytes; that many take a tenth of a second to read and hash


class SourceMissingError(Exception):
    """A local source doesn't exist."""


def expected_identity(
    spec: ModelSpec,
    runtime: RuntimeInfo,
    record: ModelReport | None,
    digests: Digests,
    is_read: Callable[[Path], bool] = lambda _: True,
) -> dict[str, object]:
    """Return the identity of the engine that a build would produce now.

    Digests of sources that must first be fetched or read are pending. ``record``: report of the existing engine, with
    the digests that its sources had when fetched. ``is_read``: called for a local model file; False leaves its digest
    pending.

    Raises:
        SourceMissingError: a local source doesn't exist.
        ExternalDataError: weights of a local model are missing, or outside the allowed directories.
        OSError: a local source can't be read.
    """
    path = Source.of(spec.source).path
    model_file = path if path is not None and path.is_file() else None
    unread = model_file is not None and spec.sha256 is None and not is_read(model_file)
    model = Pending.NOT_READ if unread else _digest(spec.source, spec.sha256, "model", record, digests)
    calibration: Digest | None = None
    if spec.calibration_cache is not None:
        calibration = _digest(spec.calibration_cache, spec.calibration_sha256, "calibration_cache", record, digests)
    elif spec.calibration is not None:
        calibration = spec.calibration.samples_sha256(digests.of)
    return identity(
        spec.job(Path()),
        runtime,
        model_sha256=model,
        calibration_sha256=calibration,
        samples_sha256=spec.verify.samples_sha256(digests.of) if spec.verify is not None else None,
        weights_sha256=_weights(spec, model, model_file, record, digests) if not unread else None,
    )


def _weights(
    spec: ModelSpec, model: Digest, model_file: Path | None, record: ModelReport | None, digests: Digests
) -> Digest | None:
    """Return the digest of a model's external data, or None without any.

    For a fetched model, the download store has the structure, which names the weights. If that is gone, the record has
    them; without a record, no engine of a model with weights is found, and it is built.
    """
    if model_file is not None:
        return digests.weights_of(model_file)
    blob = downloads.blob(contents_dir() / "downloads", model) if isinstance(model, str) else None
    named = digests.locations(blob) if blob is not None and blob.is_file() else ()
    sources = [source for location in named if (source := Source.of(spec.source).beside(location)) is not None]
    found = [spec.pins.sha256.get(source.id) or _fetched(source, digests) for source in sources]
    if found and all(found):
        return combined(digest for digest in found if digest)
    recorded = record["identity"] if record is not None else None
    if recorded is None or recorded["model_sha256"] != model:
        return Pending.NOT_FETCHED if named else None
    others = [each for each in record["materials"] if each["role"] == "external_data"] if record else []
    if any(spec.pins.sha256.get(each["source_id"], each["sha256"]) != each["sha256"] for each in others):
        return Pending.NOT_FETCHED
    weights: str | None = recorded["weights_sha256"]
    changed = changed_at(Source.of(spec.source).outer.path)
    is_newer = changed and record is not None and _is_newer(changed, record)
    return Pending.ARCHIVE_CHANGED if weights is not None and is_newer else weights


def _digest(source: str, pinned: str | None, role: str, record: ModelReport | None, digests: Digests) -> Digest:
    """Return the digest that a source has (local file), must have (pinned) or had when fetched."""
    if pinned is not None:
        return pinned
    path = Source.of(source).path
    if path is not None and not path.is_file():
        raise SourceMissingError(source)
    if path is not None:
        return digests.of(path)
    archive = Source.of(source).outer.path
    if archive is not None and not archive.is_file():
        raise SourceMissingError(source)
    known = _fetched(Source.of(source), digests)
    if known is not None:
        return known
    if record is None:
        return Pending.NOT_FETCHED
    if archive is not None and _is_newer(changed_at(archive), record):
        return Pending.ARCHIVE_CHANGED
    for material in record["materials"]:
        if material["role"] == role and material["source_id"] == Source.of(source).id:
            return material["sha256"]
    return Pending.NOT_FETCHED


def _fetched(source: Source, digests: Digests) -> str | None:
    """Return the digest that a source had when fetched; of an archive that was touched, if its bytes are the same."""
    archive = source.outer.path
    known = digests.of_source(source.id, since=changed_at(archive))
    if known is None and archive is not None and digests.of_source(source.id) is not None:
        known = digests.of_source(in_archive(digests.of(archive), source.id))
    return known


def in_archive(sha256: str, source_id: str) -> str:
    """Return the name under which the digest of a file in exactly this archive is remembered."""
    return f"{sha256}!{source_id}"


def changed_at(file: Path | None) -> float:
    """Return when a local file was last changed, in epoch seconds; 0 without one."""
    return file.stat().st_ctime if file is not None and file.exists() else 0.0


def _is_newer(changed: float, record: ModelReport) -> bool:
    """Return whether an archive was put in place, or modified, after the engine was built."""
    engine = record["engine"]
    return engine is None or changed > Path(engine["path"]).stat().st_mtime


class _Finding(Value):
    """Why existing files are not what is wanted. ``sound``: whether the engine is, and only its companions are not."""

    reason: str
    changes: Sequence[Change] = ()
    sound: bool = False


def select(manifest: Manifest, names: Sequence[str]) -> tuple[ModelSpec, ...]:
    """Return the models that the user named, in the manifest's order; all if none is named."""
    known = {spec.name for spec in manifest.models}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"{manifest.path} has no model {', '.join(unknown)}", hint=f"its models: {', '.join(sorted(known))}"
        )
    return tuple(spec for spec in manifest.models if not names or spec.name in names)


class Planner(Value):
    """What all plans share.

    models_dir: the Triton model repository. runtime: environment of the executor that would build.
    force: also build what is up to date or in the store. digests: known digests of files.
    """

    models_dir: Path
    runtime: RuntimeInfo
    store: Store
    digests: Digests
    force: bool = False

    def plan(self, spec: ModelSpec, *, thorough: bool = False) -> PlannedModel:
        """Plan one model.

        A large local model without any engine is not read for its digest unless ``thorough``: its build reads it
        anyway.

        Raises:
            InterruptedError: computing digests was stopped.
        """
        output_dir = self.models_dir / spec.label
        record, problem = record_or_problem(output_dir)
        expected: dict[str, object] = {}
        key: str | None = None
        found: _Finding | None
        try:
            with contextlib.suppress(SourceMissingError):
                is_read = lambda path: thorough or self._pays(path, record)  # noqa: E731  # shorter than a function, and used once
                expected = expected_identity(spec, self.runtime, record, self.digests, is_read)
                key = build_key(expected) if is_known(expected) else None
            found = self._why_not(spec, output_dir, record or problem, expected, key)
        except InterruptedError:
            raise
        except OSError as error:
            found = _Finding(f"{error.filename or 'a file'} can't be read: {error.strerror}")
        except ExternalDataError as error:
            found = _Finding(str(error))
        except (AttributeError, LookupError, TypeError):  # an edited record
            found = _Finding("the record of the engine is damaged")
        known = key is not None
        turn = key or build_key(_without_pending(expected, spec))
        if found is None:
            reason = "same model, settings, backend and target"
            return PlannedModel(spec, output_dir, UP_TO_DATE, reason, record, turn=turn, turn_is_key=known)
        action = REBUILD if companions.has_engine(output_dir) else BUILD
        if known and not self.force and (found.sound or self.store.has(turn)):
            action = RESTORE
        return PlannedModel(spec, output_dir, action, found.reason, None, found.changes, turn, known)

    def _pays(self, model: Path, record: ModelReport | None) -> bool:
        """Return whether a model's digest may identify an existing engine, or is cheap to compute."""
        size = model.stat().st_size
        if (record is not None and record["engine"] is not None) or self.store.may_hold(size):
            return True
        files = (model,) if size > _LARGE else (model, *self.digests.weights_files(model))
        return sum(file.stat().st_size for file in files) <= _LARGE or all(map(self.digests.knows, files))

    def _why_not(
        self,
        spec: ModelSpec,
        output_dir: Path,
        record: ModelReport | str | None,
        expected: dict[str, object],
        key: str | None,
    ) -> _Finding | None:
        """Return why the existing engine is not the one that would be built, or None.

        ``record``: its report, or why it can't be read, or None if there is none. ``expected``: the identity that it
        would have; empty if the source is missing. ``key``: its build key, None while that is not known.
        """
        if self.force:
            return _Finding("--force")
        plan = output_dir / PLAN
        if not companions.has_engine(output_dir):
            return _Finding("no engine yet")
        if isinstance(record, str):
            return _Finding(f"the record of the engine can't be used: {record}")
        if record is None or record["identity"] is None or record["engine"] is None:
            return _Finding("the engine has no record of what it was made from")
        foreign = untrusted(record, output_dir, spec.engines)
        if foreign is not None:
            return _Finding(foreign)
        if not expected:
            return _Finding("the source is missing")
        if key is None or not key == record["build_key"] == build_key(record["identity"]):
            text = "; ".join(changes(record["identity"], expected)) or "the record of the engine was changed"
            return _Finding(text, differences(record["identity"], expected))
        engine = record["engine"]
        if plan.stat().st_size != engine["bytes"] or self.digests.of(plan) != engine["sha256"]:
            return _Finding("the engine has changed since it was built")
        mismatch = spec.unfit(record)
        if mismatch is not None:
            return _Finding(mismatch)
        stale = _stale_companion(spec, output_dir, record)
        return _Finding(stale, sound=True) if stale else None


def built(manifest: Manifest, runtime: RuntimeInfo) -> Iterator[tuple[ModelSpec, Entry]]:
    """Yield each model with the store's engine that a run with this runtime would use.

    Raises:
        CodedError: a model has no engine in the store.
    """
    digests = open_digests()
    store = open_store(digests)
    planner = Planner(manifest.path.parent / "no-models", runtime, store, digests)
    for spec in manifest.models:
        entry = store.find(planner.plan(spec, thorough=True).turn)
        if entry is None or untrusted(entry.record, locked=spec.engines) is not None:
            raise CodedError(
                "engine-missing",
                f"{spec.name} has no engine in the store of this machine",
                hint="build it: prepare-models run --force; or leave out --engines",
            )
        yield spec, entry


def _without_pending(expected: dict[str, object], spec: ModelSpec) -> dict[str, object]:
    """Return a substitute for an identity while digests are pending: it contains the sources instead."""
    known = {name: value for name, value in expected.items() if not isinstance(value, Pending)}
    return {**known, "sources": [spec.source, spec.calibration_cache]}


def _stale_companion(spec: ModelSpec, output_dir: Path, record: ModelReport) -> str | None:
    """Return which file next to an engine is not what the manifest asks for, in words, or None."""
    place, engine = str(output_dir), record["engine"]
    for name in companions.ALWAYS:
        if not os.path.exists(f"{place}/{name}"):
            return f"{name} is missing"
    built_at, plan = engine["path"] if engine else None, f"{place}/{companions.PLAN}"
    if built_at not in (None, plan) and not (os.path.exists(built_at) and os.path.samefile(built_at, plan)):
        return f"the engine was moved here from {built_at}, which the files next to it name"
    if record["tensor_names"] not in (None, spec.ros.resolve(record["io"])):
        return "the names of tensors in ROS messages changed"
    if {**record["deployment"], "version": None} != {**spec.deployed(), "version": None}:
        return "deploy_dir, consumers, warm-up or deepstream changed"
    return None
