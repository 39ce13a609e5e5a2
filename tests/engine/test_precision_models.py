"""Models that rewriting tends to break keep their types and, rounded, their results; or they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.verification import VerifyConfig
from prepare_models_entrypoint.errors import StageError
from prepare_models_entrypoint.onnx_graph import calibration_cache, graph, model_file, rounding
from prepare_models_entrypoint.onnx_graph.prepare import prepare
from prepare_models_entrypoint.onnx_graph.segments import Segments, session
from prepare_models_entrypoint.onnx_graph.typed_model import prepared
from prepare_models_entrypoint.verify import analysis
from tests import precision_models
from tests.command import Workplace
from tests.precision_models import MODELS

LIMITS = {"fp16": 0.02, "bf16": 0.1, "int8": 0.2}
REFUSED = {
    ("bfloat16_already", "fp16"), ("bfloat16_already", "bf16"), ("bfloat16_already", "int8"), ("recurrent", "int8"),
}  # fmt: skip
KEPT = {
    "large_factor": {"Mul/b", "Mul/g"},
    "large_weights": {"MatMul/b", "Mul/g"},
    "infinite_mask": {"Add/b"},
    "masked_by_where": {"Where/b", "Softmax/g"},
    "tiny_epsilon": {"Add/v", "Sqrt/r", "Div/g"},
    "tiny_weights": {"MatMul/b", "Mul/g", "MatMul/y"},
    "large_input": {"Mul/n"},
    "normalization_with_large_variance": {"BatchNormalization/y"},
}
LAST_BITS = {"index", "where"}  # places of the largest values, which rounding may swap


def declared(model: onnx.ModelProto) -> list[tuple[str, int]]:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    return [(value.name, value.type.tensor_type.elem_type) for value in (*inputs, *model.graph.output)]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_its_contract_and_its_results_stay(name: str, precision: str, tmp_path: Path) -> None:
    model, source = MODELS[name](), tmp_path / "model.onnx"
    source.write_bytes(model.SerializeToString())
    feed = precision_models.feeds(model, name)
    np.savez(tmp_path / "samples.npz", **feed)
    cache = None
    if precision == "int8":
        names = graph.tensor_names(prepare(model_file.load(source)))
        (tmp_path / "cal.bin").write_bytes(calibration_cache.write(dict.fromkeys(names, 0.05)))
        cache = calibration_cache.read(tmp_path / "cal.bin", "cal.bin")
    job = ModelJob(
        name="net", source=str(source), output_dir="", deploy_dir="", precision=precision,
        verify=VerifyConfig(npz=str(tmp_path / "samples.npz")),
    )  # fmt: skip
    if (name, precision) in REFUSED:
        with pytest.raises(StageError):
            judged(job, source, cache, feed, tmp_path)
        return
    far, kept = judged(job, source, cache, feed, tmp_path)
    assert {output: error for output, error in far.items() if error > LIMITS[precision]} == {}
    if precision == "fp16":
        assert kept == KEPT.get(name, set())


def judged(
    job: ModelJob, source: Path, cache: Any, feed: dict[str, Any], work: Path
) -> tuple[dict[str, float], set[str]]:
    """Return how far each output is off, over its range, and the nodes that were kept for their values."""
    findings = analysis.find(job, source, lambda _: None)
    with prepared(job, source, work, cache=cache, on_phase=lambda _: None, findings=findings) as typed:
        rewritten, kept = onnx.load(str(typed.path)), {node.name for node in typed.kept if not node.harmless}
        made = [node.name for node in rewritten.graph.node]
        assert len(set(made)) == len(made)
        assert declared(rewritten) == declared(onnx.load(str(source)))
        if job.precision == "fp16":
            session(rewritten)
        found = Segments(rounding.rounded(model_file.load(typed.path)).model).run(feed)
    right = Segments(prepare(model_file.load(source))).run(feed)
    return {name: off(right[name], found[name]) for name in right if name not in LAST_BITS}, kept


def off(right: Any, found: Any) -> float:
    if right.dtype.kind != "f":
        return float((right != found).mean())
    return float(np.abs(right.astype(float) - found).max() / max(float(np.ptp(right.astype(float))), 1e-3))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_tool_builds_and_verifies_them(place: Workplace, precision: str) -> None:
    built = ("many_equal_names", "old_opset", "function_of_functions", "every_constant", "large_factor")
    models = []
    for name in built:
        source, samples = place.folder / f"{name}.onnx", place.folder / f"{name}.npz"
        model = MODELS[name]()
        source.write_bytes(model.SerializeToString())
        np.savez(samples, **precision_models.feeds(model, name))
        models.append({"name": name, "source": str(source), "precision": precision, "verify": {"npz": str(samples)}})
        if precision == "int8":
            names = graph.tensor_names(prepare(model_file.load(source)))
            (place.folder / f"{name}.bin").write_bytes(calibration_cache.write(dict.fromkeys(names, 0.05)))
            models[-1]["calibration_cache"] = f"{name}.bin"
    place.write(*models)
    result = place.run()
    for name in built:
        found = result.model(name)
        assert found["error"] is None, name
        assert found["verification"]["verdict"] == "passed", name
