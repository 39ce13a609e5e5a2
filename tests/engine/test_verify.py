"""Engines against their source models: what is refused, with which number, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from prepare_models_entrypoint.contract import extras
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.verification import CalibrationConfig, Thresholds, VerifyConfig
from prepare_models_entrypoint.errors import VerifyError
from prepare_models_entrypoint.onnx_graph import calibration_cache
from prepare_models_entrypoint.onnx_graph.meaning import Meaning
from prepare_models_entrypoint.onnx_graph.sample_files import Input
from prepare_models_entrypoint.verify import needs, runners, samples, worker
from prepare_models_entrypoint.verify.metrics import OutputMetrics
from tests import networks
from tests.command import Workplace
from tests.doubles.engine_runner import EngineRunner
from tests.engine.caches import measured
from tests.engine.quickstart import HELD_OUT, MODEL, images

INPUT = [Input("x", np.float32, (1, 3, 4, 4))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good calibration cache of the quickstart model, two with every scale off by 2, and samples: eight, and one."""
    folder = tmp_path_factory.mktemp("verify")
    measured(MODEL, folder / "cal.bin", images(0, 4))
    good = calibration_cache.read(folder / "cal.bin", "cal.bin").scales
    for name, factor in (("halved.bin", 0.5), ("doubled.bin", 2.0)):
        (folder / name).write_bytes(calibration_cache.write({key: scale * factor for key, scale in good.items()}))
    held_out = images(HELD_OUT, 8)
    for name, count in (("samples.npz", 1), ("eight.npz", 8)):
        arrays: dict[str, Any] = {"input_2:0": np.concatenate(held_out[:count])}
        np.savez(folder / name, **arrays)
    return folder


def quickstart(folder: Path, name: str, cache: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": str(MODEL),
        "precision": "int8",
        "calibration_cache": str(folder / cache),
        "verify": {"npz": str(folder / "samples.npz"), "thresholds": {"argmax": 0.97}},
    }


def test_scales_half_as_large_are_refused_with_the_number_that_shows_it(place: Workplace, folder: Path) -> None:
    place.write(quickstart(folder, "good", "cal.bin"), quickstart(folder, "wrong", "halved.bin"))
    result = place.run()
    good, wrong = result.model("good"), result.model("wrong")
    assert (result.status, good["status"], wrong["status"]) == (1, "built", "failed")
    (right,), (off,) = good["verification"]["outputs"], wrong["verification"]["outputs"]
    assert right["argmax"] >= 0.97 > off["argmax"]
    assert wrong["error"]["code"] == "verification-failed"
    assert f"argmax_1: argmax {off['argmax']:.6f}, at least 0.97 is required" in wrong["error"]["message"]
    assert "Compared the model rewritten to int8" in good["verification"]["statement"]
    assert "The engine itself was not run" in good["verification"]["statement"]
    assert place.directories() == {"good", "good/1"}
    assert [stage["name"] for stage in wrong["stages"]] == ["fetch", "convert", "inspect", "verify"]


def test_scales_twice_as_large_are_refused_with_the_number_that_shows_it(place: Workplace, folder: Path) -> None:
    verify = {"npz": str(folder / "eight.npz")}
    place.write(
        {**quickstart(folder, "good", "cal.bin"), "verify": verify},
        {**quickstart(folder, "wrong", "doubled.bin"), "verify": verify},
    )
    result = place.run()
    good, wrong = result.model("good"), result.model("wrong")
    assert (result.status, good["status"], wrong["status"]) == (1, "built", "failed")
    fits, wide = good["verification"]["scales"], wrong["verification"]["scales"]
    assert fits["median_room"] == pytest.approx(1, abs=0.3)
    assert wide["median_room"] == pytest.approx(2 * fits["median_room"], rel=1e-3)
    assert wrong["verification"]["outputs"][0]["problems"] == []  # it only costs a bit, which no output shows
    assert wrong["error"]["code"] == "verification-failed"
    told = f"scales hold {wide['median_room']:.3g} times what the samples reach (median of {wide['tensors']} tensors)"
    assert told in wrong["error"]["message"]


@pytest.mark.parametrize(
    ("verify", "status"),
    [
        ({"npz": "samples.npz"}, 0),
        ({"random": {"count": 8}, "thresholds": {"argmax": 0.9}}, 0),
        ({"npz": "samples.npz", "scale_room": 1.9}, 1),
    ],
)
def test_few_or_random_samples_refuse_no_scales_unless_told_to(
    place: Workplace, folder: Path, verify: dict[str, Any], status: int
) -> None:
    if "npz" in verify:
        verify = {**verify, "npz": str(folder / verify["npz"])}
    place.write({**quickstart(folder, "wide", "doubled.bin"), "verify": verify})
    result = place.run()
    model = result.model("wide")
    assert result.status == status, model["error"]
    assert model["verification"]["scales"]["judged"] is bool(status)
    assert ("scales-wide" in [warning["code"] for warning in model["warnings"]]) is (status == 0)
    told = place.call("verify", str(place.manifest), "--models-dir", str(place.models_dir)).stdout
    assert ("not judged by these samples" in told) is (status == 0)


def test_the_command_verifies_what_is_there_by_manifest_and_by_directory(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx", ("batch", 3, 16, 16))
    model = {"name": "net", "source": "net.onnx", "precision": "fp16", "inputs": {"input": "2x3x16x16"}}
    plain = {"name": "plain", "source": "net.onnx", "inputs": {"input": "1x3x16x16"}}
    place.write(model, plain)
    assert place.run().status == 0
    place.write({**model, "verify": {"thresholds": {"max_abs": 1e-9}}})
    by_manifest = place.call("verify", str(place.manifest), "--json")
    by_directory = place.call("verify", str(place.models_dir))
    assert by_manifest.status == 1
    assert by_manifest.model("net")["error"]["code"] == "verification-failed"
    assert by_directory.status == 1, "of one engine nothing is known"
    assert place.call("verify", str(place.models_dir), "net").status == 0
    assert "net    passed" in by_directory.stdout
    assert "plain  not-compared" in by_directory.stdout
    assert "plain: Nothing was compared: the engine was not run (" in by_directory.stdout
    planned = json.loads(
        place.call("plan", str(place.manifest), "--models-dir", str(place.models_dir), "--json").stdout
    )
    assert planned["models"][0]["reason"].startswith("conversion.samples none -> ")  # they decide what stays in fp32


def test_a_model_without_engine_is_an_error_of_its_own(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx"})
    result = place.call("verify", str(place.manifest), "--json")
    error = result.model("net")["error"]
    assert (result.status, error["code"], error["stage"]) == (1, "engine-missing", "verify")
    assert place.call("verify", str(place.folder)).status == 2


def requested(tmp_path: Path, source: Path, *, no_gpu: str | None, precision: str, verify: VerifyConfig) -> Any:
    model = ModelJob(
        name="net", source=str(source), output_dir="", deploy_dir="", precision=precision, verify=verify
    )  # fmt: skip
    request = {
        "model": model.to_dict(), "source": str(source), "plan": "model.plan", "work_dir": str(tmp_path),
        "cache_file": None, "module": "tensorrt_rtx", "gpu": "GPU double", "no_gpu": no_gpu, "tf32": False,
        "by_flags": False, "findings": None, "rescued": False, "own": True, "timing_dir": str(tmp_path / "timing"),
    }  # fmt: skip
    return json.loads(json.dumps(worker.Comparison(request).verification()))


def engine_double(model: Path, factor: float = 1.0) -> runners.EngineRunner:
    return runners.EngineRunner(EngineRunner(model, factor=factor))


def test_samples_have_the_types_of_the_engines_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = networks.conv(tmp_path / "net.onnx")
    half = onnx.load(str(source))
    half.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    entry = onnx.helper.make_node("Cast", [half.graph.input[0].name], ["wide"], to=onnx.TensorProto.FLOAT)
    for node in half.graph.node:
        node.input[:] = ["wide" if name == half.graph.input[0].name else name for name in node.input]
    half.graph.node.insert(0, entry)
    onnx.save(half, str(tmp_path / "half.onnx"))
    monkeypatch.setattr(runners, "engine_of", lambda *_, **__: SimpleNamespace(engine=object(), why_not=None))
    monkeypatch.setattr(runners, "engine_runner", lambda *_: engine_double(tmp_path / "half.onnx"))
    made = requested(tmp_path, source, no_gpu=None, precision="fp32", verify=VerifyConfig(count=2))
    assert (made["verdict"], made["candidate"]) == ("passed", "engine")


def test_cudas_runtime_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def activate(_: object) -> None:
        raise OSError("libcudart.so: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(EngineRunner, "activate_impl", activate)
    with pytest.raises(VerifyError, match="libcudart") as caught:
        compare(tmp_path, monkeypatch, 1.0)
    assert caught.value.code == "verification-impossible"


def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float) -> Any:
    """Compare a network with a double of an engine that multiplies its answer by ``factor``."""
    source = networks.conv(tmp_path / "net.onnx")
    monkeypatch.setattr(runners, "engine_of", lambda *_, **__: SimpleNamespace(engine=object(), why_not=None))
    monkeypatch.setattr(runners, "engine_runner", lambda *_: engine_double(source, factor))
    return requested(tmp_path, source, no_gpu=None, precision="fp32", verify=VerifyConfig(count=2))


@pytest.mark.parametrize(
    ("verify", "code", "told"),
    [
        ({"npz": "no.npz"}, "verification-samples-unusable", "No such file"),
        ({"npz": "net.onnx"}, "verification-samples-unusable", "can't be read as .npz"),
        ({"npz": "names.npz"}, "verification-samples-unusable", "no array 'input'"),
        ({"npz": "shape.npz"}, "verification-samples-unusable", "(1, 3, 8, 8)"),
        ({"images": CalibrationConfig(images="empty")}, "verification-samples-unusable", "empty has no sample"),
        ({"outputs": {"y": Thresholds(cosine=1)}}, "outputs-mismatch", "no output y"),
        ({"ranges": {"y": (0, 1)}}, "verification-samples-unusable", "no input y"),
    ],
)
def test_what_can_not_be_compared_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: dict[str, Any], code: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = networks.conv(tmp_path / "net.onnx", (1, 3, 16, 16))
    np.savez(tmp_path / "names.npz", other=np.zeros((1, 3, 16, 16), np.float32))
    np.savez(tmp_path / "shape.npz", input=np.zeros((1, 3, 8, 8), np.float32))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VerifyError) as caught:
        requested(tmp_path, source, no_gpu="none", precision="fp16", verify=VerifyConfig(**verify))
    assert caught.value.code == code
    assert told in caught.value.message
    assert caught.value.hint


def test_an_operator_that_onnx_runtime_lacks_is_told(tmp_path: Path) -> None:
    source = networks.unsupported(tmp_path / "net.onnx")
    with pytest.raises(VerifyError) as caught:
        runners.session(source)
    assert caught.value.code == "verification-impossible"
    assert "DoesNotExist" in caught.value.message


def test_where_a_gpu_runs_the_engine_that_is_what_is_compared_and_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compare(tmp_path, monkeypatch, 1.0)
    assert (found["verdict"], found["candidate"], found["engine_not_run"]) == ("passed", "engine", None)
    assert found["statement"].startswith("Compared the engine on GPU double with the source model in ONNX Runtime")
    latency = found["latency"]
    assert 0 < latency["median_ms"] <= latency["p99_ms"]
    assert latency["iterations"] >= 10
    assert latency["throughput_per_s"] > 0
    assert found["latency_absent"] is None


def test_an_engine_that_answers_twice_as_much_is_refused_although_its_direction_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compare(tmp_path, monkeypatch, 2.0)["outputs"][0]
    assert found["max_rel"] == pytest.approx(1.0)
    assert found["cosine"] == pytest.approx(1.0)
    assert found["argmax"] == 1.0
    assert compare(tmp_path, monkeypatch, -1.0)["verdict"] == "failed"


def compared(first: Any, second: Any, **limits: Any) -> Any:
    metrics = OutputMetrics("y", axis=1)
    metrics.add(np.asarray(first), np.asarray(second))
    return metrics.result(Thresholds(**limits), named=True)


def test_the_metrics_of_known_numbers() -> None:
    found = compared(
        np.array([[1, 2, 4]], np.float32), np.array([[1, 2, 3]], np.float32), max_abs=0.5, max_rel=0.25, cosine=0.999
    )
    assert (found["max_abs"], found["max_rel"], found["mean_abs"]) == (1.0, 0.25, pytest.approx(1 / 3))
    assert found["cosine"] == pytest.approx(17 / np.sqrt(21 * 14))
    assert found["argmax"] == 1.0
    assert found["problems"] == ["max_abs 1, at most 0.5 is allowed", "cosine 0.991460, at least 0.999 is required"]
    assert sum(found["histogram"]["counts"]) == 3
    assert found["histogram"]["counts"][0] == 2


def test_labels_agree_by_equality() -> None:
    found = compared(np.array([[1, 2, 3, 4]], np.int32), np.array([[1, 2, 3, 5]], np.int32), argmax=0.8)
    assert (found["argmax"], found["cosine"]) == (0.75, None)
    assert found["disagreeing"] == 1
    assert found["problems"] == ["argmax 0.750000, at least 0.8 is required: 1 of 4 elements differ"]


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ([[1.0, np.nan]], "1 values are finite in only one result"),
        ([[1.0, np.inf]], "1 values are finite in only one result"),
        ([[1.0, 2.0, 3.0]], "shape (1, 3) instead of (1, 2)"),
    ],
)
def test_what_no_threshold_measures_is_refused_all_the_same(second: Any, problem: str) -> None:
    assert compared(np.array([[1, 2]], np.float32), np.array(second, np.float32))["problems"] == [problem]


def test_whole_numbers_that_were_rounded_may_be_off_by_one_unless_they_are_as_few_as_labels() -> None:
    pixels = np.arange(1000, dtype=np.uint8).reshape(1, 1000)
    near, far, mask = pixels + (pixels == 7), pixels + 20 * (pixels == 7), pixels % 2

    def problems(first: Any, second: Any, precision: str) -> Any:
        metrics = OutputMetrics("y", 1, Meaning(frozenset("y")))
        metrics.add(first, second)
        return metrics.result(VerifyConfig().of_output("y", precision), named=False, asked=False)["problems"]

    assert problems(pixels, near, "fp32") == []
    assert problems(pixels, far, "fp16") == ["max_of_range 0.0784314, at most 0.02 is allowed"]
    assert problems(mask, mask ^ (pixels == 7), "fp16") == []
    assert problems(mask, mask ^ (pixels < 5), "fp16") == [
        "argmax 0.980000, at least 0.99 is required: 20 of 1000 elements differ"
    ]


def test_infinities_at_the_same_place_agree() -> None:
    both = np.array([[1, np.inf, np.nan]], np.float32)
    assert compared(both, both)["problems"] == []


def test_random_samples_are_the_same_in_every_order_and_within_their_range() -> None:
    config = VerifyConfig(seed=3, count=2, ranges={"x": (-2.0, -1.0)})
    inputs = [*INPUT, Input("n", np.int64, (2,))]
    forward, backward = (list(samples.feeds(config, order)[1]) for order in (inputs, inputs[::-1]))
    for one, other in zip(forward, backward, strict=True):
        assert all((one[name] == other[name]).all() for name in ("x", "n"))
        assert -2 <= one["x"].min() < one["x"].max() < -1
        assert set(one["n"].tolist()) <= {0, 1}
    assert (forward[0]["x"] != forward[1]["x"]).any()


def test_arrays_are_cut_into_samples(tmp_path: Path) -> None:
    array = np.arange(6 * 48, dtype=np.float64).reshape(6, 3, 4, 4)
    np.savez(tmp_path / "a.npz", x=array)
    what, feeds = samples.feeds(VerifyConfig(npz=str(tmp_path / "a.npz")), [Input("x", np.float32, (2, 3, 4, 4))])
    found = list(feeds)
    assert what == f"3 samples of {tmp_path / 'a.npz'}"
    assert [feed["x"].shape for feed in found] == [(2, 3, 4, 4)] * 3
    assert (found[2]["x"] == array[4:]).all()


def test_images_become_samples_as_for_a_calibration(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx", ("batch", 3, 8, 8))
    (place.folder / "pictures").mkdir()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(place.folder / "pictures" / "red.png")
    model = yaml.safe_load("""
        {name: net, source: net.onnx, precision: fp16, inputs: {input: 2x3x8x8},
         verify: {images: pictures, preprocess: {mean: [0.5, 0.5, 0.5]}, thresholds: {max_abs: 0.1}}}
    """)
    place.write(model)
    found = place.run().model("net")["verification"]
    assert found["verdict"] == "passed"
    assert found["samples"] == f"1 images of {place.folder / 'pictures'}"
    assert found["outputs"][0]["elements"] == 2 * 4 * 8 * 8


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VerifyError) as caught:
        needs.check_modules()
    assert (caught.value.code, caught.value.hint) == ("module-missing", extras.install("verify"))


def test_a_scalar_input_stays_an_array_and_serves_all_samples(tmp_path: Path) -> None:
    inputs = [Input("x", np.float32, (1, 3)), Input("flag", np.bool_, ()), Input("count", np.int64, ())]
    np.savez(str(tmp_path / "s.npz"), x=np.ones((4, 3)), flag=True, count=np.int32(2))
    for config in (VerifyConfig(count=4), VerifyConfig(npz=str(tmp_path / "s.npz"))):
        feeds = list(samples.feeds(config, inputs)[1])
        assert len(feeds) == 4
        kinds = {(name, type(value), value.dtype, value.shape) for feed in feeds for name, value in feed.items()}
        assert kinds == {(name, np.ndarray, np.dtype(kind), shape) for name, kind, shape in inputs}


def test_an_input_that_no_array_can_hold_is_refused() -> None:
    with pytest.raises(VerifyError, match="which no array can have"):
        next(samples.feeds(VerifyConfig(), [Input("x", np.float32, (1 << 62, 1 << 62))])[1])
