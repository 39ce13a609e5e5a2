"""What an engine is made from and for. Equal build keys mean equal engines; paths, names and times don't count.

docs/identity.md lists every field.
"""

from __future__ import annotations

import hashlib
import json
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, TypedDict, cast

from .backends import PRODUCTS
from .builder import BuilderConfig
from .converters import Case, Choice, Found, choose, is_encrypted
from .digest import Digest, Pending
from .environment import RuntimeInfo
from .job import ModelJob
from .packages import taking_part
from .precision import AUTO, NONE

# Version of what this tool itself does to a network before it reaches the builder. Raise it with every change that
# produces other engines from the same input.
RECIPE = "3"

# Fields of an identity, each with the words that report a change of it.
LABELS = {
    "model_sha256": "model sha256",
    "weights_sha256": "external weights sha256",
    "calibration_sha256": "calibration sha256",
    "plugins_sha256": "plugins sha256",
    "precision": "precision",
    "converter": "converter",
    "converter_version": "converter version",
    "packages": "package",
    "inputs": "input shapes",
    "builder": "builder",
    "conversion": "conversion",
    "backend": "backend",
    "backend_version": "backend version",
    "target": "target",
    "machine": "architecture",
    "system": "operating system",
}
_PORTABLE = "portable"


class Change(TypedDict):
    """A field that differs between two identities. ``field`` is dotted, such as builder.optimization_level."""

    field: str
    old: object
    new: object


def identity(
    job: ModelJob,
    runtime: RuntimeInfo,
    *,
    model_sha256: Digest,
    calibration_sha256: Optional[Digest],
    weights_sha256: Optional[Digest] = None,
    samples_sha256: Optional[str] = None,
) -> Dict[str, object]:
    """Return the fields that decide the bytes of an engine. While a digest in them is pending, there is no build key.

    Args:
        job: what the manifest asks for.
        runtime: the environment that builds.
        model_sha256: digest of the model file, before any decryption.
        calibration_sha256: digest of the calibration cache, or of the samples that it is made from; None without.
        weights_sha256: digest of the files with external data that belong to the model; None without.
        samples_sha256: digest of the samples of the verification; None without.
    """
    converter = converter_of(job, runtime).converter or (job.converter if job.converter != "auto" else None)
    backend, version = _backend(runtime, converter)
    packages = taking_part(job, converter=converter, backend=backend, version=version)
    return {
        "model_sha256": model_sha256,
        "weights_sha256": weights_sha256,
        "calibration_sha256": calibration_sha256,
        "plugins_sha256": sorted(plugin.sha256 for plugin in job.plugins),
        "precision": job.precision,
        "converter": converter,
        "converter_version": runtime.get("programs", {}).get(converter or "", RECIPE),
        "packages": {name: runtime.get("packages", {}).get(name) for name in sorted(packages)},
        "inputs": {name: shapes.to_dict() for name, shapes in sorted(job.inputs.items())},
        "builder": job.builder.to_dict(),
        "conversion": _conversion(job, samples_sha256),
        "backend": backend,
        "backend_version": version,
        "target": target(runtime, job.builder),
        "machine": runtime["machine"],
        "system": runtime.get("system", "linux"),
    }


def converter_of(job: ModelJob, runtime: RuntimeInfo) -> Choice:
    """Return the converter that an environment uses for a model, and why, without reading the model's bytes."""
    programs = runtime.get("programs", {})
    backend = runtime["backend"]
    return choose(
        job.converter,
        Case(
            encrypted=is_encrypted(job.source.partition("?")[0]),
            payload=None,
            bindings=backend["name"] if backend else None,
            found=Found(programs, runtime.get("etlt_codec", True)),
        ),
    )


def _backend(runtime: RuntimeInfo, converter: Optional[str]) -> Tuple[Optional[str], Optional[str]]:
    """Return the name and exact version of the builder: the Python module, or the library that a program loads."""
    backend = runtime["backend"]
    if backend is not None:
        return backend["name"], backend["version"]
    return (None, None) if converter is None else ("tensorrt", runtime.get("library"))


def _conversion(job: ModelJob, samples_sha256: Optional[str]) -> Dict[str, object]:
    conversion = job.conversion()
    del conversion["plugins"]  # their bytes count instead
    overruled = {None: (), True: (NONE,), False: (AUTO,)}[job.keep_auto]
    conversion["keep_fp32"] = sorted(set(job.keep_fp32).difference(overruled))
    if job.calibration is not None:
        calibration = job.calibration.to_dict()
        del calibration["images"]  # a path; the bytes of the samples in it count instead
        conversion["calibration"] = calibration
    if job.verify is not None and job.samples_decide:
        conversion["samples"] = build_key({"verify": job.verify.without_paths(), "sha256": samples_sha256})
    return conversion


def target(runtime: RuntimeInfo, builder: BuilderConfig = BuilderConfig()) -> Optional[str]:
    """Name what the engine is built for: a GPU, or the portable set of TensorRT-RTX. None if unknown.

    A Jetson's module counts, too: modules with the same GPU architecture differ in multiprocessors and DLA cores.
    """
    backend, gpu = runtime["backend"], runtime["gpu"]
    if backend and backend["name"] == "tensorrt_rtx":
        return _PORTABLE
    if gpu is None:
        return None
    capability = f"compute capability {gpu['compute_capability']}"
    if builder.hardware_compatibility == "ampere+":
        return "compute capability 8.0 and later"
    if builder.hardware_compatibility == "same-compute-capability":
        return capability
    board = runtime.get("board")
    return f"{gpu['name']} ({capability}{f', module {board}' if board else ''})"


def device_class(runtime: RuntimeInfo) -> Optional[str]:
    """Name the class of devices that an environment builds for, such as sm_87/trt10.3 or portable/rtx1.7.

    None where it builds nothing. Engines of one class may still be of different GPUs: ``target`` tells these apart.
    """
    name, version = _backend(runtime, next(iter(runtime.get("programs", {})), None))
    release = ".".join((version or "").split(".")[:2])
    if name == "tensorrt_rtx":
        return f"{_PORTABLE}/rtx{release}"
    gpu = runtime["gpu"]
    return f"sm_{gpu['compute_capability'].replace('.', '')}/trt{release}" if gpu and release else None


def build_key(fields: Mapping[str, object]) -> str:
    """Return the sha256 of an identity, in hexadecimal digits. All its digests must be known."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> List[Change]:
    """Return what differs between two identities, in the order of the fields.

    A package that takes part in only one of them is left out if a setting changed, as it follows from that.
    """
    found: List[Change] = []
    for name in LABELS:
        before, after = dict(_leaves(name, old.get(name))), dict(_leaves(name, new.get(name)))
        fields = sorted(field for field in {*before, *after} if before.get(field) != after.get(field))
        found += [Change(field=field, old=before.get(field), new=after.get(field)) for field in fields]
    packages = [
        {f"packages.{name}" for name in cast("Iterable[str]", fields.get("packages") or ())} for fields in (old, new)
    ]
    causes = [change for change in found if change["field"] not in packages[0] ^ packages[1]]
    return causes or found


def changes(old: Mapping[str, object], new: Mapping[str, object]) -> List[str]:
    """Return what differs between two identities, in words and in the order of the fields."""
    texts = []
    for change in differences(old, new):
        field, _, rest = change["field"].partition(".")
        if field in ("backend", "backend_version"):
            if field == "backend" or old.get("backend") == new.get("backend"):
                texts.append(_backend_change(old, new))
            continue
        label = f"{LABELS[field]}.{rest}" if rest else LABELS[field]
        texts.append(f"{label} {_short(change['old'])} -> {_short(change['new'])}")
    return texts


def _backend_change(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """Return one description of a change of name, version or both."""
    before, after = (PRODUCTS.get(str(fields.get("backend") or ""), "no TensorRT") for fields in (old, new))
    versions = [str(fields.get("backend_version") or "").strip() for fields in (old, new)]
    if before == after:
        return f"{before} {versions[0]} -> {versions[1]}"
    return f"{before} {versions[0]}".strip() + " -> " + f"{after} {versions[1]}".strip()


def _leaves(name: str, value: object) -> Iterator[Tuple[str, object]]:
    """Yield the values of nested objects with dotted names; a range of shapes is one value."""
    if isinstance(value, Mapping) and set(value) == {"min", "opt", "max"}:
        shapes = ["x".join(map(str, value[key])) for key in ("min", "opt", "max")]
        yield name, shapes[0] if len(set(shapes)) == 1 else " .. ".join(shapes)
    elif isinstance(value, Mapping):
        for key in value:
            yield from _leaves(f"{name}.{key}", value[key])
    else:
        yield name, value.value if isinstance(value, Pending) else value


def _short(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return json.dumps([_short(item) if isinstance(item, str) else item for item in value])
    if isinstance(value, str):
        return value[:12] if len(value) == 64 else value
    return json.dumps(value)
