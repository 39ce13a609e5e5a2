"""What will be done for each model of a manifest, and why. Reads what is there; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prepare_models_entrypoint.contract import ContractError, ModelJob
from prepare_models_entrypoint.contract.converters import Choice, choose, find
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.identity import build_key, changes, identity
from prepare_models_entrypoint.contract.report import ModelReport, RuntimeInfo, read
from prepare_models_entrypoint.contract.source import local_path, member_of, source_id

from .errors import UsageError
from .manifest import Manifest, ModelSpec

BUILD = "build"
REUSE = "reuse"


@dataclass(frozen=True)
class PlannedModel:
    """One model: build or reuse, the reason in a sentence, and the record of the engine that is there."""

    spec: ModelSpec
    output_dir: Path
    action: str
    reason: str
    record: ModelReport | None = None


def select(manifest: Manifest, names: Sequence[str]) -> tuple[ModelSpec, ...]:
    """Return the models that the user named, in the manifest's order; all of them when none is named."""
    known = {spec.name for spec in manifest.models}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"{manifest.path} has no model {', '.join(unknown)}", hint=f"its models: {', '.join(sorted(known))}"
        )
    return tuple(spec for spec in manifest.models if not names or spec.name in names)


def make(spec: ModelSpec, *, models_dir: Path, runtime: RuntimeInfo, force: bool) -> PlannedModel:
    """Plan one model.

    Args:
        spec: the model.
        models_dir: the Triton model repository.
        runtime: backend and GPU that an executor would build with.
        force: build what is up to date, too.
    """
    output_dir = models_dir / spec.name
    record = read_record(output_dir)
    try:
        reason = "--force" if force else _why_build(spec, output_dir, runtime, record)
    except OSError as error:
        reason = f"{error.filename or 'a file'} can't be read: {error.strerror}"
    except (AttributeError, LookupError, TypeError):  # a record that somebody edited
        reason = "the record of the engine is damaged"
    if reason:
        return PlannedModel(spec, output_dir, BUILD, reason)
    return PlannedModel(spec, output_dir, REUSE, "same model, settings, backend and target", record)


def converter(spec: ModelSpec, runtime: RuntimeInfo) -> Choice:
    """Return the converter that will be used, as far as it can be told before the file is there, and why."""
    encrypted = Path(spec.source.partition("?")[0]).suffix.lower() == ".etlt"
    backend = runtime["backend"]
    return choose(
        spec.converter, encrypted=encrypted, payload=None, bindings=backend["name"] if backend else None, found=find()
    )


def read_record(output_dir: Path) -> ModelReport | None:
    """Return the report that stands beside an engine, or None where it is missing or can't be read."""
    try:
        return read(json.loads((output_dir / "report.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, ContractError):
        return None


def _why_build(spec: ModelSpec, output_dir: Path, runtime: RuntimeInfo, record: ModelReport | None) -> str:
    """Return the reason to build, or nothing when the engine that is there is the one that would be built."""
    plan = output_dir / "1" / "model.plan"
    if not plan.exists():
        return "no engine yet"
    if record is None or record["identity"] is None or record["engine"] is None:
        return "the engine has no record of what it was made from"
    for name in ("config.pbtxt", "isaac_ros.yaml"):
        if not (output_dir / name).exists():
            return f"{name} is missing"
    found = [binding["name"] for binding in record["io"] if binding["mode"] == "output"]
    if spec.outputs and sorted(spec.outputs) != sorted(found):
        return f"the engine's outputs are {', '.join(found)}, expected {', '.join(spec.outputs)}"
    expected = _expected_identity(spec, runtime, record)
    if expected is None:
        return "the source is not there"
    if build_key(expected) != record["build_key"]:
        return "; ".join(changes(record["identity"], expected)) or "the record of the engine was changed"
    if plan.stat().st_size != record["engine"]["bytes"] or sha256_file(plan) != record["engine"]["sha256"]:
        return "the engine's bytes are not those that were built"
    return ""


def _expected_identity(spec: ModelSpec, runtime: RuntimeInfo, record: ModelReport) -> dict[str, object] | None:
    """Return the identity of the engine that a build would give now, or None where a source is missing."""
    digests: dict[str, str | None] = {"model": None, "calibration_cache": None}
    for role, source in (("model", spec.source), ("calibration_cache", spec.calibration_cache)):
        if source is None:
            continue
        digests[role] = _digest(source, spec.sha256 if role == "model" else None, role, record)
        if digests[role] is None:
            return None
    job = model_job(spec, output_dir=Path())
    samples = spec.calibration.samples_sha256() if spec.calibration else None
    return identity(
        job, runtime, model_sha256=digests["model"] or "", calibration_sha256=digests["calibration_cache"] or samples
    )


def _digest(source: str, pinned: str | None, role: str, record: ModelReport) -> str | None:
    """Return the digest that a source has (local file), must have (pinned) or had when it was downloaded."""
    if pinned is not None:
        return pinned
    path = local_path(source)
    if path is not None:
        return sha256_file(path) if path.is_file() else None
    member = member_of(source)
    archive = local_path(member.archive) if member else None
    if archive is not None and not archive.is_file():
        return None
    if archive is not None and _is_newer(archive, record):
        return "in an archive that changed"
    for material in record["materials"]:
        if material["role"] == role and material["source_id"] == source_id(source):
            return material["sha256"]
    return "not fetched yet"


def _is_newer(archive: Path, record: ModelReport) -> bool:
    """Tell whether an archive came to its place, or was written to, after the engine was built."""
    engine = record["engine"]
    return engine is None or archive.stat().st_ctime > Path(engine["path"]).stat().st_mtime


def model_job(
    spec: ModelSpec, *, output_dir: Path, key_file: Path | None = None, timeout_s: float | None = None
) -> ModelJob:
    """Return what the entrypoint is asked for a model."""
    return ModelJob(
        name=spec.name,
        source=spec.source,
        output_dir=str(output_dir),
        deploy_dir=str(output_dir),
        sha256=spec.sha256,
        precision=spec.precision,
        key_file=str(key_file) if key_file else None,
        calibration_cache=spec.calibration_cache,
        inputs=dict(spec.inputs),
        outputs=spec.outputs,
        builder=spec.builder,
        converter=spec.converter,
        timeout_s=timeout_s,
        profiles=spec.profiles,
        keep_fp32=spec.keep_fp32,
        allow_fallback=spec.allow_fallback,
        plugins=spec.plugins,
        onnx=spec.onnx,
        tao=spec.tao,
        calibration=spec.calibration,
        ros=spec.ros,
    )
