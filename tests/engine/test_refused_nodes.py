"""Nodes that the backend refuses in less than fp32: they stay in fp32, and the record says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.onnx_graph import sites, typed_model
from prepare_models_entrypoint.onnx_graph.findings import Findings, of_proof
from tests.engine.attempts import attempt

from .refused_models import FLOAT, IMAGE, INT64, W, model, node, value


@pytest.mark.parametrize("check_only", [True, False])
@pytest.mark.parametrize(("operator", "precision"), [("Celu", "bf16"), ("HardSwish", "bf16"), ("Mish", "bf16")])
def test_nodes_that_the_builder_refuses_in_less_stay_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str, precision: str, *, check_only: bool
) -> None:
    """With the table of these empty, it is the builder itself that tells."""
    monkeypatch.setattr(sites, "FULL_IN_TENSORRT", {"fp16": (), "bf16": ()})
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node(operator, ["a"], ["b"], name="bad"),
        node("Conv", ["b", "v"], ["y"], name="last"),
    ]
    proto = model(
        nodes, [value("x", FLOAT, IMAGE)], [value("y", FLOAT, None)], w=W, v=np.ones((4, 4, 3, 3), np.float32)
    )
    found = attempt(proto, tmp_path, check_only=check_only, precision=precision)
    assert found["error"] is None
    kept = [(each["name"], each["reason"]) for each in found["precision_proof"]["kept"]]
    assert kept == [("bad", f"the builder refuses it in {precision}")]
    assert found["precision_proof"]["layers"] == {precision: 2}


@pytest.mark.parametrize("check_only", [True, False])
def test_what_int8_leaves_to_fp16_and_the_builder_refuses_stays_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, check_only: bool
) -> None:
    monkeypatch.setattr(sites, "FULL_IN_TENSORRT", {"fp16": (), "bf16": ()})
    nodes = [
        node("MatMul", ["update", "w"], ["a"], name="product"),
        node("TensorScatter", ["past", "a", "at"], ["y"], name="bad"),
    ]
    inputs = [value("past", FLOAT, [1, 1, 4, 5]), value("update", FLOAT, [1, 1, 1, 5]), value("at", INT64, [1])]
    proto = model(nodes, inputs, [value("y", FLOAT, None)], 24, w=np.ones((5, 5), np.float32))
    scales = dict.fromkeys(("past", "update", "a", "y"), 0.1)
    found = attempt(proto, tmp_path, check_only=check_only, precision="int8", scales=scales)
    assert found["error"] is None
    assert [each["name"] for each in found["precision_proof"]["kept"]] == ["bad"]
    assert found["precision_proof"]["layers"] == {"int8": 1}


def test_the_record_of_nodes_that_were_refused_gives_the_same_graph_again(tmp_path: Path) -> None:
    """A verification rewrites the model by its record."""
    nodes = [node("Conv", ["x", "w"], ["a"], name="first"), node("Exp", ["a"], ["y"], name="second")]
    onnx.save(model(nodes, [value("x", FLOAT, IMAGE)], [value("y", FLOAT, None)], w=W), str(tmp_path / "model.onnx"))
    job = ModelJob(name="m", source="model.onnx", output_dir=".", deploy_dir=".", precision="fp16")
    graphs, findings = [], Findings({"second": "the builder refuses it in fp16"}, None, trusted=False)
    for _ in range(2):
        with typed_model.prepared(
            job, tmp_path / "model.onnx", tmp_path, cache=None, on_phase=lambda _: None, findings=findings
        ) as typed:
            graphs.append(typed.path.read_bytes())
            findings = Findings.from_dict(of_proof(typed.proof(job)).to_dict())
    assert findings.keep == {"second": "the builder refuses it in fp16"}
    assert graphs[0] == graphs[1]
