"""Every report that a run writes fits its JSON Schema, which knows each key of the contract and no other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from prepare_models.manifest.load import load
from prepare_models.options import RunSettings
from prepare_models.reports import schema
from prepare_models.reports.schema import report_schema, status_schema
from prepare_models.running.progress import Observer
from prepare_models.running.runner import Run
from prepare_models.running.selection import Chosen
from prepare_models_entrypoint.contract import comparison, environment
from prepare_models_entrypoint.contract import report as contract
from prepare_models_entrypoint.contract.identity import LABELS

from ..doubles.executor import ReportingExecutor
from .records import digest, lay_down

SCHEMA: dict[str, Any] = json.loads(json.dumps(report_schema()))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

MANIFEST = """\
version: 1
models:
- {name: there, source: a.onnx}
- {name: fresh, source: a.onnx}
- {name: broken, source: a.onnx}
- {name: locked, source: a.etlt, key: {env: PREPARE_MODELS_NO_SUCH_KEY}}
- {name: late, source: a.onnx}
"""


def run(tmp_path: Path, *, fail_fast: bool = False) -> dict[str, Any]:
    (tmp_path / "a.onnx").write_bytes(b"model")
    (tmp_path / "models.yaml").write_text(MANIFEST, encoding="utf-8")
    manifest = load(tmp_path / "models.yaml")
    models_dir = tmp_path / "models"
    lay_down(manifest.models[0], models_dir, {"model": digest(b"model")})
    chosen = Chosen(manifest, manifest.models, ReportingExecutor())
    one = Run(chosen, RunSettings(models_dir, fail_fast=fail_fast), Observer())
    one.models()
    report: dict[str, Any] = json.loads(json.dumps(one.report(time.time())))
    return report


def test_a_run_of_every_outcome_fits(tmp_path: Path) -> None:
    report = run(tmp_path, fail_fast=True)
    assert list(VALIDATOR.iter_errors(report)) == []
    assert [model["status"] for model in report["models"]] == ["up-to-date", "built", "failed", "skipped", "skipped"]
    assert report["summary"] == {"built": 1, "restored": 0, "up-to-date": 1, "failed": 1, "skipped": 2}
    assert report["models"][4]["reason"] == "an earlier model failed (--fail-fast)"


def test_a_missing_key_is_the_failure_of_its_model_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREPARE_MODELS_NO_SUCH_KEY", raising=False)
    report = run(tmp_path)
    assert list(VALIDATOR.iter_errors(report)) == []
    assert [model["status"] for model in report["models"]] == ["up-to-date", "built", "failed", "failed", "failed"]
    assert report["models"][3]["error"]["code"] == "etlt-key-missing"


@pytest.mark.parametrize("place", [[], ["models", 1], ["models", 1, "engine"], ["models", 1, "io", 0], ["host"]])
def test_a_key_that_the_schema_does_not_know_is_drift(tmp_path: Path, place: list[Any]) -> None:
    report = run(tmp_path)
    node: Any = report
    for step in place:
        node = node[step]
    node["new_key"] = 1
    assert not VALIDATOR.is_valid(report)
    del node["new_key"]
    node.popitem()
    assert not VALIDATOR.is_valid(report)


_OPTIONAL = {"profile_shapes": ("values",)}  # of shape tensors alone


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ("model", contract.ModelReport),
        ("error", contract.ErrorInfo),
        ("warning", contract.WarningInfo),
        ("material", contract.Material),
        ("profile_shapes", contract.ProfileShapes),
        ("binding", contract.Binding),
        ("engine", contract.Engine),
        ("stage", contract.StageResult),
        ("precision_proof", contract.PrecisionProof),
        ("backend", environment.BackendInfo),
        ("gpu", environment.GpuInfo),
        ("runtime", environment.RuntimeInfo),
        ("made_by", contract.MadeBy),
        ("verification", comparison.Verification),
        ("comparison", comparison.OutputComparison),
        ("latency", comparison.Latency),
    ],
)
def test_the_schema_knows_every_key_of_the_contract(definition: str, kind: type) -> None:
    entry = SCHEMA["$defs"][definition]
    assert list(entry["properties"]) == list(kind.__annotations__)
    assert [key for key in kind.__annotations__ if key not in _OPTIONAL.get(definition, ())] == entry["required"]
    assert entry["additionalProperties"] is False


def test_the_schema_knows_statuses_identity_and_version() -> None:
    assert tuple(SCHEMA["$defs"]["model"]["properties"]["status"]["enum"]) == contract.STATUSES
    assert tuple(SCHEMA["properties"]["summary"]["properties"]) == contract.STATUSES
    assert list(SCHEMA["$defs"]["identity"]["properties"]) == list(LABELS)
    assert SCHEMA["properties"]["schema_version"]["const"] == contract.SCHEMA_VERSION
    assert "ignore keys that they don't know" in SCHEMA["$comment"]


def test_whatever_is_said_about_a_field_is_in_a_schema() -> None:
    shown = json.dumps([SCHEMA, status_schema()])
    fields = json.loads(Path(schema.__file__).with_name("fields.json").read_text(encoding="utf-8"))
    for kind, about in fields.items():
        told = {
            name: rules if isinstance(rules, str) else rules.get("description", "") for name, rules in about.items()
        }
        assert [name for name, text in told.items() if json.dumps(text)[1:-1] not in shown] == [], kind
    assert '"@' not in shown


def test_the_example_in_the_documentation_fits() -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "report.json"
    assert list(VALIDATOR.iter_errors(json.loads(example.read_text(encoding="utf-8")))) == []
