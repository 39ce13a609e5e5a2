"""What can't be fp16 is found by samples, named, kept in fp32 and verified; the rest becomes fp16."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from onnx import TensorProto, helper

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.verification import VerifyConfig
from prepare_models_entrypoint.onnx_graph.findings import Findings
from prepare_models_entrypoint.verify import analysis, worker
from tests import networks, planted
from tests.command import Workplace
from tests.engine.caches import measured


def found(source: Path, verify: VerifyConfig | None, **more: Any) -> Findings | None:
    return analysis.find(job(source, verify, **more), source, lambda _: None)


def job(source: Path, verify: VerifyConfig | None, **more: Any) -> ModelJob:
    asked: dict[str, Any] = {"precision": "fp16", **more}
    return ModelJob(name="net", source=str(source), output_dir="", deploy_dir="", verify=verify, **asked)


def verified(source: Path, verify: VerifyConfig, findings: Findings | None, tmp_path: Path) -> Any:
    request = {
        "model": job(source, verify).to_dict(), "source": str(source), "plan": "", "work_dir": str(tmp_path),
        "cache_file": None, "backend": None, "gpu": None, "no_gpu": "none", "tf32": False, "by_flags": False,
        "rescued": False, "findings": findings.to_dict() if findings else None,
    }  # fmt: skip
    return json.loads(json.dumps(worker.Comparison(request).verification()))


@pytest.mark.parametrize("seed", range(30))
def test_a_planted_overflow_is_found_named_kept_and_verified(tmp_path: Path, seed: int) -> None:
    source = planted.network(tmp_path / "net.onnx", seed, overflows=True)
    verify = VerifyConfig(ranges={"x": (-2.0, 2.0)}, count=2)
    findings = found(source, verify)
    assert findings is not None
    overflowing = [name for name, why in findings.keep.items() if "reaches" in why and "fp16 ends at 65504" in why]
    assert any(name.startswith("planted") for name in overflowing)
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"
    unkept = verified(source, verify, Findings({}, "nothing kept"), tmp_path)
    assert unkept["verdict"] == "failed"
    assert "is not finite: 'planted" in unkept["origin"]


@pytest.mark.parametrize("seed", range(30))
def test_without_overflow_nothing_is_kept(tmp_path: Path, seed: int) -> None:
    source = planted.network(tmp_path / "net.onnx", seed, overflows=False)
    verify = VerifyConfig(ranges={"x": (-2.0, 2.0)}, count=2)
    findings = found(source, verify)
    assert findings is not None
    assert findings.keep == {}
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"


@pytest.mark.parametrize("mean", [5.0, 20.0])
def test_a_cancelling_normalization_keeps_its_chain(tmp_path: Path, mean: float) -> None:
    source = planted.cancelling_norm(tmp_path / "net.onnx", mean)
    verify = VerifyConfig(ranges={"x": (-1.0, 1.0)}, count=2)
    findings = found(source, verify)
    assert findings is not None
    assert {"cancel", "average_square", "square_average", "square"} <= set(findings.keep)
    assert {"first", "last", "divide"}.isdisjoint(findings.keep)
    assert "rounding moves 'variance'" in findings.keep["cancel"]
    assert "leads to 'cancel'" in findings.keep["square"]
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"
    unkept = verified(source, verify, Findings({}, "nothing kept"), tmp_path)
    assert unkept["verdict"] == "failed"
    assert "'variance', made by cancel (Sub)" in unkept["origin"]


@pytest.mark.parametrize("loud", [0, 2])  # samples before the quiet one, which hide what it shows
def test_a_log_mel_front_end_stays_in_fp32_from_its_powers_on(tmp_path: Path, loud: int) -> None:
    source = planted.log_mel(tmp_path / "net.onnx")
    random, time = np.random.default_rng(0), np.arange(8000) / 16000
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) * (time < 0.25) + 1e-5 * random.standard_normal(8000)
    noise = 0.5 * random.standard_normal((loud, 1, 8000))
    np.savez(tmp_path / "audio.npz", x=np.concatenate([noise, tone[None, None]]).astype(np.float32))
    verify = VerifyConfig(npz=str(tmp_path / "audio.npz"))
    findings = found(source, verify)
    assert findings is not None
    assert {"log", "mel", "power"} <= set(findings.keep)
    assert "head" not in findings.keep
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"
    assert verified(source, verify, Findings({}, "nothing kept"), tmp_path)["verdict"] == "failed"


def test_scores_that_are_joined_with_boxes_count_over_their_own_range(tmp_path: Path) -> None:
    weights = {
        "w": np.random.default_rng(0).standard_normal((6, 3, 1, 1)).astype(np.float32),
        "large": np.float32(3000),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["made"], name="conv"),
        helper.make_node("Split", ["made", "parts"], ["where", "what"], name="split", axis=1),
        helper.make_node("Mul", ["where", "pixels"], ["boxes"], name="boxes"),
        helper.make_node("Add", ["what", "large"], ["far"], name="add"),
        helper.make_node("Relu", ["far"], ["positive"], name="relu"),
        helper.make_node("Sub", ["positive", "large"], ["logits"], name="cancels"),
        helper.make_node("Sigmoid", ["logits"], ["scores"], name="scores"),
        helper.make_node("Concat", ["boxes", "scores"], ["joined"], name="join", axis=1),
        helper.make_node("Reshape", ["joined", "flat"], ["y"], name="reshape"),
    ]
    more = {"parts": np.array([4, 2]), "pixels": np.float32(640), "flat": np.array([1, 6, -1])}
    ends = [("x", TensorProto.FLOAT, (1, 3, 8, 8))], [("y", TensorProto.FLOAT, (1, 6, 64))]
    source = networks.save(tmp_path / "net.onnx", nodes, *ends, {**weights, **more})
    findings = found(source, VerifyConfig())
    assert findings is not None
    assert "cancels" in findings.keep
    assert verified(source, VerifyConfig(), findings, tmp_path)["verdict"] == "passed"
    unkept = verified(source, VerifyConfig(), Findings({}, "nothing kept"), tmp_path)
    assert unkept["verdict"] == "failed"
    assert unkept["outputs"][0]["cosine"] > 0.9999


def test_what_overflows_within_a_loop_stays_in_fp32_with_the_whole_loop(tmp_path: Path) -> None:
    source = planted.overflowing_loop(tmp_path / "net.onnx")
    verify = VerifyConfig(count=2)
    findings = found(source, verify)
    assert findings is not None
    assert {"loop", "inner_scale", "inner_square", "inner_root"} <= set(findings.keep)
    assert findings.keep["loop"] == "rounding moves 'y' to infinity"
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"


def test_peaks_are_told_apart_in_fp32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["raw"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["raw"], ["heat"], name="heat"),
        helper.make_node("MaxPool", ["heat"], ["most"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Equal", ["most", "heat"], ["same"], name="equal"),
        helper.make_node("Cast", ["same"], ["peak"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["heat", "peak"], ["y"], name="kept"),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    ends = [("x", TensorProto.FLOAT, (1, 3, 32, 32))], [("y", TensorProto.FLOAT, (1, 4, 32, 32))]
    source = networks.save(tmp_path / "net.onnx", nodes, *ends, weights)
    verify = VerifyConfig(ranges={"x": (0.49, 0.51)}, count=2)
    findings = found(source, verify)
    assert findings is not None
    assert {"conv", "heat", "cast"} <= set(findings.keep)
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"
    assert verified(source, verify, Findings({}, "nothing kept"), tmp_path)["verdict"] == "failed"


def counted(monkeypatch: pytest.MonkeyPatch, tensor: str) -> list[str]:
    """Have ONNX Runtime count how often it computes a tensor in float32, whoever asks for it."""
    runs: list[str] = []
    run = onnxruntime.InferenceSession.run

    def counting(session: Any, names: Any, *others: Any) -> Any:
        results = run(session, names, *others)
        runs.extend(
            name for name, value in zip(names, results, strict=True) if (name, value.dtype) == (tensor, "float32")
        )
        return results

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", counting)
    return runs


@pytest.mark.parametrize(
    ("make", "first", "runs"),
    [
        (lambda path: planted.network(path, 0, overflows=False), "layer_0_out", 2),
        (lambda path: planted.network(path, 0, overflows=True), "layer_0_out", 2),
        (lambda path: planted.cancelling_norm(path, 20.0), "h0", 3),
    ],
)
def test_the_model_runs_three_times_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, first: str, runs: int
) -> None:
    source = make(tmp_path / "net.onnx")
    computed = counted(monkeypatch, first)
    findings = found(source, VerifyConfig(ranges={"x": (-1.0, 1.0)}, count=8))
    assert findings is not None
    assert len(computed) == findings.runs == runs


def test_a_choice_of_the_precision_runs_the_model_no_more_often(place: Workplace) -> None:
    planted.cancelling_norm(place.folder / "net.onnx", 20.0)
    place.write({"name": "net", "source": "net.onnx", "precision": "auto", "verify": {}})
    proof = place.run().model("net")["precision_proof"]
    assert (proof["delivered"], proof["measured_runs"]) == ("fp16", 3)


def test_the_same_search_gives_the_same_nodes(tmp_path: Path) -> None:
    source = planted.cancelling_norm(tmp_path / "net.onnx", 20.0)
    assert found(source, VerifyConfig()) == found(source, VerifyConfig())


def test_random_numbers_that_nobody_asked_for_keep_and_warn(tmp_path: Path) -> None:
    source = planted.network(tmp_path / "net.onnx", 4, overflows=True)
    findings = found(source, None)
    assert findings is not None
    assert "planted_matmul" in findings.keep
    assert [warning["code"] for warning in findings.warnings] == ["ranges-from-random"]
    assert "planted_matmul" in findings.warnings[0]["message"]
    assert found(networks.conv(tmp_path / "conv.onnx"), None) == Findings(
        {}, "1 random samples (seed 0)", trusted=False, runs=1, share=0.0
    )
    assert found(source, None, keep_fp32=("none",)) is None


def test_an_overflow_is_built_with_exactly_those_layers_in_fp32_and_the_report_says_why(place: Workplace) -> None:
    planted.network(place.folder / "net.onnx", 0, overflows=True)
    model = {"name": "net", "source": "net.onnx", "precision": "fp16", "verify": {"random": {"ranges": {"x": [-2, 2]}}}}
    place.write(model)
    result = place.run()
    net = result.model("net")
    assert result.status == 0, net["error"]
    proof = net["precision_proof"]
    assert {layer["name"] for layer in proof["kept"]} == {"planted_square", "planted_sum", "planted_sqrt"}
    assert "'planted_square_out' reaches" in proof["kept"][0]["reason"]
    assert proof["measured"] == "4 random samples (seed 0)"
    assert "with each fp16 tensor rounded and sums in fp32" in net["verification"]["statement"]


def test_an_overflow_that_nothing_may_keep_is_refused_with_the_tensor_named(place: Workplace) -> None:
    planted.network(place.folder / "net.onnx", 3, overflows=True)
    place.write({"name": "net", "source": "net.onnx", "precision": "fp16", "keep_fp32": "none", "verify": {}})
    result = place.run()
    error = result.model("net")["error"]
    assert (result.status, error["code"], error["stage"]) == (1, "verification-failed", "verify")
    assert "is not finite: 'planted_pow_out', made by planted_pow (Pow)" in error["message"]


@pytest.mark.parametrize(
    ("thresholds", "chosen", "verdicts"),
    [
        ({}, "fp16", {"int8": "impossible", "fp16": "chosen", "fp32": "not-tried"}),
        ({"max_abs": 1e-9}, "fp32", {"int8": "impossible", "fp16": "missed", "fp32": "chosen"}),
    ],
)
def test_auto_takes_the_lowest_precision_that_meets_the_thresholds(
    place: Workplace, thresholds: dict[str, float], chosen: str, verdicts: dict[str, str]
) -> None:
    planted.network(place.folder / "net.onnx", 0, overflows=True)
    verify: dict[str, Any] = {
        "random": {"ranges": {"x": [-2, 2]}},
        **({"thresholds": thresholds} if thresholds else {}),
    }
    place.write({"name": "net", "source": "net.onnx", "precision": "auto", "verify": verify})
    result = place.run()
    net = result.model("net")
    assert result.status == 0, net["error"]
    proof = net["precision_proof"]
    assert (proof["requested"], proof["delivered"]) == ("auto", chosen)
    assert {row["precision"]: row["verdict"] for row in proof["choices"]} == verdicts
    again = place.call("plan", str(place.manifest), "--models-dir", str(place.models_dir)).stdout
    assert "up-to-date" in again


def test_auto_takes_int8_where_a_calibration_holds(place: Workplace) -> None:
    measured(networks.conv(place.folder / "net.onnx"), place.folder / "cal.bin")
    place.write(
        {"name": "net", "source": "net.onnx", "precision": "auto", "calibration_cache": "cal.bin", "verify": {}}
    )
    result = place.run()
    net = result.model("net")
    assert result.status == 0, net["error"]
    assert (net["precision_proof"]["delivered"], net["precision_proof"]["means"]) == ("int8", "inserted-qdq")
    assert net["precision_proof"]["choices"][0]["error"] < 0.2
    assert "Compared the model rewritten to int8" in net["verification"]["statement"]


@pytest.mark.parametrize(
    ("verify", "code"),
    [
        ({"npz": "missing.npz"}, "verification-samples-unusable"),
        ({"outputs": {"z": {"cosine": 1}}}, "outputs-mismatch"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_a_verification_lacks_is_told_before_the_build(
    place: Workplace, verify: dict[str, Any], code: str, precision: str
) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx", "precision": precision, "verify": verify})
    result = place.run()
    net = result.model("net")
    assert (result.status, net["error"]["code"], net["error"]["stage"]) == (1, code, "verify")
    assert [stage["name"] for stage in net["stages"]] == ["fetch", "convert"]
    checked = place.call("check", str(place.manifest), "--json")
    assert checked.model("net")["error"]["code"] == code


@pytest.mark.parametrize("gain", [20.0, 30.0, 40.0])
def test_where_errors_add_up_the_layers_that_err_most_stay_in_fp32(tmp_path: Path, gain: float) -> None:
    source = planted.steep(tmp_path / "net.onnx", gain)
    verify = VerifyConfig(ranges={"x": (-1.0, 1.0)}, count=8)
    findings = found(source, verify)
    assert findings is not None
    turns = {int(name.removeprefix("turn_")) for name in findings.keep if name.startswith("turn_")}
    assert len(turns) < 12
    assert bool(turns) == (gain > 20)  # less takes no layer: what is between them is enough
    assert {f"drop_{index}" for index in planted.COARSE} <= set(findings.keep)
    assert all("moves an output by" in findings.keep[f"turn_{index}"] for index in turns)
    assert findings.runs == 3
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"
    assert verified(source, verify, Findings({}, "nothing kept"), tmp_path)["verdict"] == "failed"


def test_a_sample_that_shows_more_than_the_first_ones_counts(tmp_path: Path) -> None:
    source = planted.steep(tmp_path / "net.onnx", 30.0)
    values = np.random.default_rng(0).uniform(-1, 1, (6, 8, 32)).astype(np.float32)
    values[:5] *= 0.4  # the sigmoid is not steep for these
    np.savez(tmp_path / "samples.npz", x=values.reshape(48, 32))
    verify = VerifyConfig(npz=str(tmp_path / "samples.npz"))
    findings = found(source, verify)
    assert findings is not None
    assert findings.keep
    assert findings.runs == 3
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"


def test_a_sample_of_which_the_output_says_little_is_held_against_the_range_that_all_have(tmp_path: Path) -> None:
    source = planted.steep(tmp_path / "net.onnx", 16.0)
    values = np.random.default_rng(0).uniform(-1, 1, (4, 8, 32)).astype(np.float32)
    values[2:] *= 0.001  # what rounding moves is much of their own range
    np.savez(tmp_path / "samples.npz", x=values.reshape(32, 32))
    verify = VerifyConfig(npz=str(tmp_path / "samples.npz"))
    findings = found(source, verify)
    assert findings is not None
    assert len([name for name in findings.keep if name.startswith("turn_")]) <= 1  # by their own range, seven
    assert verified(source, verify, findings, tmp_path)["verdict"] == "passed"


def test_a_network_that_is_nothing_without_fp32_is_refused_with_what_will_do(place: Workplace) -> None:
    planted.steep(place.folder / "net.onnx", 3000.0)
    verify: dict[str, Any] = {"random": {"ranges": {"x": [-1, 1]}}}
    model = {"name": "net", "source": "net.onnx", "precision": "fp16", "verify": verify}
    place.write(model)
    error = place.run().model("net")["error"]
    assert error["code"] == "precision-not-delivered"
    assert "these have to stay in fp32: " in error["message"]
    assert "Even 21 of 24 layers in fp32, with all between them, leave an error of " in error["message"]
    found = re.fullmatch(r"use precision: fp32, or (thresholds: .+) under verify: if such .+", error["hint"])
    assert found is not None, error["hint"]
    place.write({**model, "verify": {**verify, **yaml.safe_load(found[1])}})
    net = place.run().model("net")
    assert net["error"] is None
    assert net["precision_proof"]["layers"]["fp16"] >= 3


def test_what_stays_in_fp32_is_found_in_the_branch_that_the_manifest_decides(place: Workplace) -> None:
    planted.branched(place.folder / "net.onnx")
    random = np.random.default_rng(0)
    np.savez(place.folder / "samples.npz", x=random.uniform(-2, 2, (4, 32)).astype(np.float32))
    model = {
        "name": "net", "source": "net.onnx", "precision": "fp16", "onnx": {"constants": {"sr": 16000}},
        "verify": {"npz": "samples.npz"},
    }  # fmt: skip
    place.write(model)
    net = place.run().model("net")
    assert net["error"] is None
    kept = {layer["name"] for layer in net["precision_proof"]["kept"]}
    assert kept
    assert net["precision_proof"]["layers"]["fp16"] > net["precision_proof"]["layers"].get("fp32", 0)
