"""Where an engine comes from: an in-toto statement with SLSA provenance, derived only from the engine's report."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import PurePosixPath
from typing import Any, Dict, List, Mapping, Optional

from .report import ModelReport

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PROJECT = "https://github.com/prepare-models/prepare-models"
_BUILD_TYPE = f"{_PROJECT}/blob/main/docs/provenance.md#build-type-engine-version-1"


def statement(report: ModelReport, plan: str, others: Optional[Mapping[str, str]] = None) -> str:
    """Return the statement about the engine of a report.

    ``plan``: path in the model's directory. ``others``: sha256 of further files of the build, by their names.
    """
    engine = report["engine"]
    files = {plan: engine["sha256"] if engine else "", **(others or {})}
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in files.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": _definition(report), "runDetails": _details(report)},
    }
    return json.dumps(document, indent=2) + "\n"


def _definition(report: ModelReport) -> Dict[str, object]:
    identity = report["identity"] or {}
    asked = {key: identity.get(key) for key in ("inputs", "builder", "conversion")}
    return {
        "buildType": _BUILD_TYPE,
        "externalParameters": {
            "model": report["name"],
            "source": report["source"],
            "precision": report["precision_proof"]["requested"],
            **asked,
        },
        "internalParameters": {
            "buildKey": report["build_key"],
            "identity": {key: value for key, value in identity.items() if key not in asked},
            "precisionDelivered": report["precision_proof"]["delivered"],
            "converter": report["converter"],
            "device": _device(report),
        },
        "resolvedDependencies": _dependencies(report, identity),
    }


def _dependencies(report: ModelReport, identity: Dict[str, Any]) -> List[Dict[str, object]]:
    found: List[Dict[str, object]] = [
        {"name": material["role"], "uri": _uri(material["source"]), "digest": {"sha256": material["sha256"]}}
        for material in report["materials"]
    ]
    found += [{"name": "plugin", "digest": {"sha256": digest}} for digest in identity.get("plugins_sha256") or ()]
    image = report["made_by"]["image"]
    if image is not None:
        algorithm, _, digest = image.rpartition(":")
        found.append({"name": "container image", "digest": {algorithm or "sha256": digest}})
    return found


def _details(report: ModelReport) -> Dict[str, object]:
    runtime, stages = report["runtime"], report["stages"]
    backend, gpu = (runtime["backend"], runtime["gpu"]) if runtime else (None, None)
    versions = {"prepare-models": report["made_by"]["tool"]}
    if runtime is not None:
        versions["python"] = runtime["python"]
    if backend is not None:
        versions[backend["name"]] = backend["version"]
    if gpu is not None:
        versions.update({"cuda": gpu["cuda_version"], "driver": gpu["driver"] or "unknown"})
    metadata: Dict[str, object] = {}
    if stages:
        last = stages[-1]
        metadata = {
            "startedOn": _time(stages[0]["started_at"]),
            "finishedOn": _time(last["started_at"] + last["seconds"]),
        }
    return {
        "builder": {"id": f"{_PROJECT}#{'image' if report['made_by']['image'] else 'local'}", "version": versions},
        "metadata": metadata,
    }


def _device(report: ModelReport) -> Dict[str, Optional[str]]:
    runtime = report["runtime"]
    gpu = runtime["gpu"] if runtime else None
    return {
        "machine": runtime["machine"] if runtime else None,
        "gpu": gpu["name"] if gpu else None,
        "computeCapability": gpu["compute_capability"] if gpu else None,
        "target": (report["identity"] or {}).get("target"),
    }


def _uri(source: str) -> str:
    return PurePosixPath(source).as_uri() if source.startswith("/") else source


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
