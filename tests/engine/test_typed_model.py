"""The file that a typed backend reads: rewritten as the manifest asks, beside a source that stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.conversion import OnnxConfig
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph import calibration_cache, edits, graph
from prepare_models_entrypoint.onnx_graph.typed_model import TypedModel, prepared
from tests import networks
from tests.engine.caches import measured
from tests.engine.graphs import answers, quantized


def rewritten(source: Path, work: Path, *, cache: Any = None, check_only: bool = False, **asked: Any) -> Any:
    job = ModelJob(name="m", source=str(source), output_dir="out", deploy_dir="out", **asked)
    return prepared(job, source, work, cache=cache, on_phase=lambda _: None, check_only=check_only)


def test_layers_that_shall_stay_in_fp32_do(tmp_path: Path) -> None:
    source = networks.heavy(tmp_path / "model.onnx", layers=4)
    cache = calibration_cache.read(measured(source, tmp_path / "cal.bin"), "cal.bin")
    names = [node.name for node in onnx.load(str(source)).graph.node if node.op_type == "MatMul"]
    with rewritten(source, tmp_path, precision="int8", cache=cache, keep_fp32=(names[0],)) as typed:
        assert typed.evidence.layers == {"int8": 3, "fp32": 1}


def test_the_source_and_the_work_directory_are_left_as_they_were(tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx")
    before = source.read_bytes()
    (tmp_path / "work").mkdir()
    typed: TypedModel
    with rewritten(source, tmp_path / "work", precision="fp16") as typed:
        assert typed.path != source
    assert source.read_bytes() == before
    assert list((tmp_path / "work").iterdir()) == []


def test_an_old_opset_is_lifted_for_scales_by_channel(tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx")
    model = onnx.load(str(source))
    model.opset_import[0].version = 11
    onnx.save(model, str(source))
    cache = calibration_cache.read(measured(source, tmp_path / "cal.bin"), "cal.bin")
    with rewritten(
        source, tmp_path, precision="int8", cache=cache, builder=BuilderConfig(int8_remainder="fp32")
    ) as typed:
        lifted = onnx.load(str(typed.path))
    assert graph.opset(lifted) >= 13
    onnx.checker.check_model(lifted, full_check=True)


def test_static_shapes_outputs_and_folding_change_the_graph(tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx", ("batch", 3, 32, 32))
    changes = OnnxConfig(static_shapes={"input": (2, 3, 32, 32)}, outputs=("hidden",))
    model = edits.apply(onnx.load(str(source)), changes)
    assert [value.name for value in model.graph.output] == ["hidden"]
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    feed = np.zeros((2, 3, 32, 32), np.float32)
    assert answers(model, feed)[0].shape == (2, 4, 32, 32)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (OnnxConfig(static_shapes={"nope": (1,)}), "inputs-unknown"),
        (OnnxConfig(static_shapes={"input": (1,)}), "inputs-mismatch"),
        (OnnxConfig(outputs=("nope",)), "onnx-outputs-unknown"),
    ],
)
def test_changes_that_do_not_fit_are_refused(tmp_path: Path, changes: OnnxConfig, code: str) -> None:
    model = onnx.load(str(networks.conv(tmp_path / "model.onnx")))
    with pytest.raises(ConvertError) as caught:
        edits.apply(model, changes)
    assert caught.value.code == code


@pytest.mark.parametrize("check_only", [True, False])
def test_a_pattern_that_keeps_nothing_in_fp32_is_told(tmp_path: Path, check_only: bool) -> None:
    source = networks.conv(tmp_path / "model.onnx")
    asked: dict[str, Any] = {"precision": "fp16", "keep_fp32": ("conv", "softmax*"), "check_only": check_only}
    with rewritten(source, tmp_path, **asked) as typed:
        (warning,) = typed.warnings
    assert (warning["code"], warning["message"]) == ("keep-fp32-unmatched", "keep_fp32: no layer is named softmax*")


def test_layers_of_a_model_with_its_own_types_can_not_be_kept_in_fp32(tmp_path: Path) -> None:
    model = onnx.load(str(networks.conv(tmp_path / "model.onnx")))
    quantized(model, "input")
    onnx.save(model, str(tmp_path / "model.onnx"))
    with (
        pytest.raises(ConvertError, match="keep_fp32 would be ignored") as caught,
        rewritten(tmp_path / "model.onnx", tmp_path, precision="int8", keep_fp32=("conv",)),
    ):
        pass
    assert caught.value.code == "builder-option-unavailable"


def test_a_precision_that_no_layer_can_have_is_refused_with_the_layers(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[5,1,3] x, float[1,3] s) => (float[1,3] e, float[5,1,3] y) <float[3,3] w = {1,2,3,4,5,6,7,8,9}>
        { e, y = Scan <num_scan_inputs = 1, body = b (float[1,3] a, float[1,3] i) => (float[1,3] o, float[1,3] p)
        { m = MatMul(i, w) o = Add(a, m) p = Identity(o) }> (s, x) }"""
    )
    onnx.save(model, str(tmp_path / "model.onnx"))
    job = ModelJob(name="m", source="model.onnx", output_dir="out", deploy_dir="out", precision="fp16")
    with (
        rewritten(tmp_path / "model.onnx", tmp_path, precision="fp16") as typed,
        pytest.raises(ConvertError, match=r"MatMul/m \(TensorRT computes what a Scan repeats in float32\)"),
    ):
        typed.proof(job)
