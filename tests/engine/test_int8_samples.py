"""int8 from samples: how ranges become scales, what int8 would harm, and that nothing wrong is called good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.verification import CalibrationConfig, Thresholds, VerifyConfig
from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph import calibrate, calibration_cache
from prepare_models_entrypoint.onnx_graph.calibration_cache import CalibrationCache
from prepare_models_entrypoint.onnx_graph.prepare import prepare
from prepare_models_entrypoint.onnx_graph.typed_model import prepared
from tests import networks
from tests.command import Workplace

FLOAT = TensorProto.FLOAT
SHAPE = (1, 4, 16, 16)
Array = NDArray[np.float32]
ANYTHING = VerifyConfig(thresholds=Thresholds())


def scaled(folder: Path, model: Path, samples: list[Any], method: str = "minmax", **asked: Any) -> CalibrationCache:
    """Calibrate a model on samples: an array, or several by input name, each."""
    images = folder / "samples"
    images.mkdir(exist_ok=True)
    for index, sample in enumerate(samples):
        if isinstance(sample, dict):
            np.savez(images / f"{index:02}.npz", **sample)
        else:
            np.save(images / f"{index:02}.npy", sample)
    return calibrated(folder, model, CalibrationConfig(images=str(images), method=method), **asked)


def calibrated(folder: Path, model: Path, config: CalibrationConfig, **asked: Any) -> CalibrationCache:
    job = ModelJob(
        name="m", source=str(model), output_dir="out", deploy_dir="out", precision="int8", calibration=config, **asked
    )
    return calibrate.produce(prepare(onnx.load(str(model))), job, folder / "made.cache", lambda *_: None)


def noise(index: int, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(index).standard_normal(shape).astype(np.float32)


def with_spike(index: int) -> Array:
    sample = noise(index)
    sample[0, 0, 0, 0] = 200.0
    return sample


def clipped(path: Path) -> Path:
    """A convolution of each channel, and bounds that a spike of its input reaches wherever it is cut off."""
    weight = np.ones((4, 1, 1, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["hidden"], name="conv", group=4),
        helper.make_node("Clip", ["hidden", "low", "high"], ["output"], name="clip"),
    ]
    bounds = {"low": np.float32(-4), "high": np.float32(4)}
    return networks.save(path, nodes, [("input", FLOAT, SHAPE)], [("output", FLOAT, SHAPE)], {"w": weight, **bounds})


def uneven(path: Path, *, blocks: int = 4, fragile: int = 1) -> Path:
    """Convolutions of 8 channels; inputs of ``fragile`` have channels of very different size that count alike."""
    random = np.random.default_rng(3)
    spread = np.array([300, 300, 1, 1, 1, 1, 1, 1], np.float32).reshape(1, 8, 1, 1)
    weights: dict[str, Any] = {"w0": (random.standard_normal((8, 4, 3, 3)) * 0.2).astype(np.float32), "up": spread}
    nodes = [helper.make_node("Conv", ["input", "w0"], ["h0"], name="conv0", pads=[1] * 4)]
    for index in range(1, blocks):
        weights[f"w{index}"] = (random.standard_normal((8, 8, 3, 3)) * 0.12).astype(np.float32)
        names = [f"h{index - 1}", f"w{index}"]
        nodes.append(helper.make_node("Conv", names, [f"h{index}"], name=f"conv{index}", pads=[1] * 4))
    weights["each"] = np.ones((8, 1, 1, 1), np.float32)
    weights["down"] = 1 / spread
    last = nodes[-1].output[0]
    for end in [*(f"_{index}" for index in range(1, fragile)), ""]:
        nodes += [
            helper.make_node("Mul", [last, "up"], [f"spread{end}"], name=f"up{end}"),
            helper.make_node("Conv", [f"spread{end}", "each"], [f"apart{end}"], name=f"fragile{end}", group=8),
            helper.make_node("Mul", [f"apart{end}", "down"], [last := f"output{end}"], name=f"down{end}"),
        ]
    return networks.save(path, nodes, [("input", FLOAT, SHAPE)], [("output", FLOAT, (1, 8, 16, 16))], weights)


def hearing(path: Path, *, after: str = "heard") -> Path:
    """Cubes of the input are added to half of a state, which makes ``after``; what is bounded makes a score."""
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("Tanh", ["input"], ["bounded"], name="tanh"),
        helper.make_node("MatMul", ["bounded", "w"], ["score"], name="scored"),
        helper.make_node("Pow", ["input", "three"], ["loud"], name="cube"),
        helper.make_node("MatMul", ["loud", "v"], ["new"], name="hears"),
        helper.make_node("Mul", ["state", "half"], ["kept"], name="forget"),
        helper.make_node("Add", ["kept", "new"], [after], name="add"),
    ]
    weights = {name: (random.standard_normal((64, 32)) * 0.2).astype(np.float32) for name in ("w", "v")}
    ends = [("input", FLOAT, (1, 64)), ("state", FLOAT, (1, 32))], [(after, FLOAT, (1, 32)), ("score", FLOAT, (1, 32))]
    return networks.save(path, nodes, *ends, {**weights, "three": np.float32(3), "half": np.float32(0.5)})


def heard(index: int, loudness: float = 1) -> dict[str, Array]:
    sound = np.random.default_rng(index).uniform(-loudness, loudness, (1, 64)).astype(np.float32)
    return {"input": sound, "state": noise(index, (1, 32))}


def test_an_activation_whose_range_one_sample_makes_stays_out_as_another_would_exceed_it(tmp_path: Path) -> None:
    model = hearing(tmp_path / "model.onnx")
    assert not scaled(tmp_path, model, [heard(index) for index in range(9)]).unusable
    made = scaled(tmp_path, model, [*map(heard, range(8)), heard(8, 2)])
    assert list(made.unusable) == ["loud"]
    assert made.scales["bounded"] * 127 == pytest.approx(np.tanh(2), rel=0.05)


def test_what_a_state_of_later_runs_depends_on_stays_out_however_small_the_error_of_one_run_is(tmp_path: Path) -> None:
    model = hearing(tmp_path / "model.onnx", after="state_out")
    made = scaled(tmp_path, model, [heard(index) for index in range(9)])
    assert list(made.unusable) == ["loud"]
    assert "'state_out'" in made.unusable["loud"]
    assert "bounded" in made.scales


def test_each_method_makes_of_ranges_what_its_name_says(tmp_path: Path) -> None:
    model = networks.conv(tmp_path / "model.onnx", (1, 3, 64, 64))
    samples = [noise(index, (1, 3, 64, 64)) for index in range(4)]
    samples[0][0, 0, 0, 0] = 40
    held = {
        method: scaled(tmp_path, model, samples, method, verify=ANYTHING).scales["input"] * 127
        for method in ("minmax", "percentile", "entropy")
    }
    assert held["minmax"] == pytest.approx(40, rel=0.01)
    assert held["percentile"] == pytest.approx(np.percentile(np.abs(np.stack(samples)), 99.99), rel=0.02)
    assert 2 < held["entropy"] < 5


def test_of_the_methods_the_one_that_answers_best_is_taken(tmp_path: Path) -> None:
    samples = [with_spike(index) for index in range(6)]
    made = scaled(tmp_path, clipped(tmp_path / "model.onnx"), samples, "auto")
    assert made.method in ("entropy", "percentile")
    assert made.scales["input"] * 127 < 20
    with pytest.raises(ConvertError) as caught:
        scaled(tmp_path, clipped(tmp_path / "model.onnx"), samples, "minmax")
    assert caught.value.code == "precision-not-delivered"
    assert "input" in caught.value.message


def test_what_int8_harms_stays_out_and_the_rest_does_not(tmp_path: Path) -> None:
    made = scaled(tmp_path, uneven(tmp_path / "model.onnx"), [noise(index) for index in range(9)])
    assert list(made.unusable) == ["spread"]
    assert "moves an output by" in made.unusable["spread"]
    assert {"input", "h0", "h1", "h2"} <= made.scales.keys()


def test_what_harms_scores_is_found_where_they_saturate_on_all_samples(tmp_path: Path) -> None:
    model = onnx.load(str(uneven(tmp_path / "model.onnx")))
    model.graph.node[-1].output[0] = "logits"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(60), "far"))
    model.graph.node.append(helper.make_node("Add", ["logits", "far"], ["high"], name="offset"))
    model.graph.node.append(helper.make_node("Sigmoid", ["high"], ["scores"], name="saturate"))
    model.graph.node.append(helper.make_node("Transpose", ["scores"], ["output"], name="last", perm=[0, 2, 3, 1]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("output", FLOAT, (1, 16, 16, 8)))
    onnx.save(model, str(tmp_path / "model.onnx"))
    made = scaled(tmp_path, tmp_path / "model.onnx", [noise(index) for index in range(9)])
    assert list(made.unusable) == ["spread"]


def test_where_one_layer_could_be_int8_the_refusal_says_which_and_a_fallback_takes_it(tmp_path: Path) -> None:
    model, samples = uneven(tmp_path / "model.onnx", blocks=1, fragile=10), [noise(index) for index in range(4)]
    with pytest.raises(ConvertError) as caught:
        scaled(tmp_path, model, samples)
    assert "1 of 11 activations can be int8 (read by conv0)" in caught.value.message
    assert caught.value.hint is not None
    assert "allow_fallback: true" in caught.value.hint
    made = scaled(tmp_path, model, samples, allow_fallback=True)
    assert len(made.unusable) == 10
    assert "input" in made.scales


def test_a_model_that_int8_can_hardly_serve_is_refused_and_its_hint_works(place: Workplace) -> None:
    uneven(place.folder / "model.onnx", blocks=1)
    (place.folder / "samples").mkdir()
    for index in range(4):
        np.save(place.folder / "samples" / f"{index}.npy", noise(index) ** 3)
    asked = {"source": "model.onnx", "precision": "int8", "calibration": {"images": "samples"}}
    error = place.build(**asked, keep_fp32=["conv0"])["error"]
    assert error["code"] == "precision-not-delivered"
    assert "0 of 1 activations" in error["message"]
    assert "spread, read by fragile" in error["message"]
    wider = place.build(**asked, keep_fp32=["conv0"], verify={"thresholds": {"max_of_range": 2}})
    assert wider["status"] == "built", wider["error"]
    report = place.build(**{**asked, "precision": "auto"}, keep_fp32=["conv0"])
    assert report["status"] == "built", report["error"]
    rows = {row["precision"]: row for row in report["precision_proof"]["choices"]}
    assert (rows["int8"]["verdict"], rows["fp16"]["verdict"]) == ("missed", "chosen")
    assert "spread" in rows["int8"]["told"]


def test_what_a_calibration_built_is_compared_and_its_cache_is_taken_again(place: Workplace) -> None:
    uneven(place.folder / "model.onnx")
    (place.folder / "samples").mkdir()
    for index in range(6):
        np.save(place.folder / "samples" / f"{index}.npy", noise(index) * (1 + index))
    report = place.build(source="model.onnx", precision="int8", calibration={"images": "samples"})
    assert report["status"] == "built", report["error"]
    assert report["verification"]["verdict"] == "passed"
    (warning,) = [each for each in report["warnings"] if each["code"] == "calibration-incomplete"]
    assert "left out: spread" in warning["message"]
    assert "exactly this model version" not in warning["hint"]
    assert place.call("rewrite", str(place.manifest), "model", "-o", "typed.onnx").status == 0
    written = {
        tensor.name: float(numpy_helper.to_array(tensor))
        for tensor in onnx.load(str(place.folder / "typed.onnx")).graph.initializer
        if tensor.name.startswith("input") and tensor.name.endswith("_scale")
    }
    largest = max(float(np.abs(noise(index) * (1 + index)).max()) for index in range(6))
    (scale,) = written.values()
    assert scale == pytest.approx(largest / 127, rel=0.6), "of all samples, not of the first"
    made = place.models_dir / "model" / "calibration.cache"
    again = place.build(source="model.onnx", precision="int8", calibration_cache=str(made))
    assert again["status"] == "built", again["error"]
    assert again["engine"]["sha256"] == report["engine"]["sha256"]


def test_an_engine_that_misses_the_thresholds_on_the_samples_of_a_calibration_is_refused(place: Workplace) -> None:
    nodes = [
        helper.make_node("Mul", ["input", "input"], ["square"], name="square"),
        helper.make_node("Sqrt", ["square"], ["size"], name="root"),
        helper.make_node("MatMul", ["size", "w"], ["output"], name="product"),
    ]
    value = (FLOAT, (1, 64))
    networks.save(
        place.folder / "model.onnx",
        nodes,
        [("input", *value)],
        [("output", *value)],
        {"w": np.eye(64, dtype=np.float32)},
    )
    (place.folder / "samples").mkdir()
    np.save(place.folder / "samples" / "0.npy", noise(0, (1, 64)) * 1000)
    asked = {"source": "model.onnx", "precision": "fp16", "calibration": {"images": "samples"}}
    error = place.build(**asked, keep_fp32="none")["error"]
    assert (error["code"], error["stage"]) == ("verification-failed", "verify")
    assert "square" in error["message"]
    assert place.build(**asked)["status"] == "built", "what overflows stays in fp32"


def test_arrays_by_input_name_serve_models_with_several_inputs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["first"], name="first"),
        helper.make_node("Add", ["first", "b"], ["output"], name="sum"),
    ]
    value = (FLOAT, (1, 8))
    model = networks.save(
        tmp_path / "model.onnx", nodes, [("a", *value), ("b", *value)], [("output", *value)],
        {"w": np.eye(8, dtype=np.float32)},
    )  # fmt: skip
    samples = [{"a": noise(index, (1, 8)), "b": noise(index + 9, (1, 8)) * 5} for index in range(4)]
    made = scaled(tmp_path, model, samples)
    for name in ("a", "b"):
        largest = max(float(np.abs(sample[name]).max()) for sample in samples)
        assert made.scales[name] * 127 == pytest.approx(largest, rel=1e-3)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["gray", "rgb"])
def test_images_reach_inputs_of_bytes_in_both_layouts(tmp_path: Path, layout: str, colour: str) -> None:
    channels = 1 if colour == "gray" else 3
    shape = (1, channels, 8, 8) if layout == "nchw" else (1, 8, 8, channels)
    nodes = [helper.make_node("Cast", ["input"], ["pixels"], name="cast", to=FLOAT)]
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", ["pixels"], ["planes"], name="planes", perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("Conv", [nodes[-1].output[0], "w"], ["output"], name="conv"))
    weight = np.random.default_rng(0).standard_normal((2, channels, 1, 1)).astype(np.float32)
    ends = [("input", TensorProto.UINT8, shape)], [("output", FLOAT, (1, 2, 8, 8))]
    model = networks.save(tmp_path / "model.onnx", nodes, *ends, {"w": weight})
    (tmp_path / "images").mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 201, (8, 8, 3), dtype=np.uint8)
        pixels[0, 0] = 200
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    config = CalibrationConfig(images=str(tmp_path / "images"), colour=colour, layout=layout, method="minmax")
    assert calibrated(tmp_path, model, config).scales["pixels"] * 127 == pytest.approx(200, rel=0.01)
    for wrong, why in (
        ({"mean": (0.5,)}, "a range of 1 of pixels, for values of 'input' in uint8"),
        ({"scale": 1.0, "std": (1.0, 1.0)}, f"std has 2 numbers, and images have {channels} channels"),
        ({"scale": 0.0}, "a range of 0 of pixels"),
    ):
        with pytest.raises(ConvertError, match=why) as caught:
            calibrated(tmp_path, model, replace(config, **wrong))
        assert caught.value.code == "calibration-samples-unusable"
    for image in (tmp_path / "images").iterdir():
        Image.new("RGB", (8, 8)).save(image)
    with pytest.raises(ConvertError, match="each input has one value only on the samples in"):
        calibrated(tmp_path, model, config)


def image_of(path: Path) -> Path:
    """An image of bytes that a convolution makes; the values before it exceed fp16."""
    weights = {"w0": np.full((4, 4, 1, 1), 1e5, np.float32), "w1": np.full((3, 4, 1, 1), 1e-5, np.float32)}
    bounds = {"middle": np.float32(128), "low": np.float32(0), "high": np.float32(255)}
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["large"], name="conv0"),
        helper.make_node("Conv", ["large", "w1"], ["shown"], name="conv1"),
        helper.make_node("Add", ["shown", "middle"], ["bright"], name="add"),
        helper.make_node("Clip", ["bright", "low", "high"], ["pixels"], name="clip"),
        helper.make_node("Cast", ["pixels"], ["image"], name="cast", to=TensorProto.UINT8),
    ]
    ends = [("input", FLOAT, SHAPE)], [("image", TensorProto.UINT8, (1, 3, 16, 16))]
    return networks.save(path, nodes, *ends, {**weights, **bounds})


def test_pixels_may_be_off_by_one_and_what_fp16_can_not_hold_becomes_int8(place: Workplace) -> None:
    (place.folder / "samples").mkdir()
    for index in range(8):
        np.save(place.folder / "samples" / f"{index}.npy", noise(index) * 4)
    source = image_of(place.folder / "model.onnx")
    report = place.build(source=str(source), precision="int8", calibration={"images": "samples"})
    assert report["error"] is None
    assert report["precision_proof"]["layers"] == {"int8": 2}
    assert any("'large' reaches" in layer["reason"] for layer in report["precision_proof"]["kept"])
    (output,) = report["verification"]["outputs"]
    assert output["dtype"] == "uint8"
    assert output["problems"] == []
    assert output["argmax"] < 0.97
    assert 0 < output["max_of_range"] < 0.1


def test_what_harms_labels_is_found_in_the_scores_behind_them(tmp_path: Path) -> None:
    source = onnx.load(str(uneven(tmp_path / "scores.onnx")))
    source.graph.node.append(helper.make_node("ArgMax", [source.graph.output[0].name], ["label"], name="max", axis=1))
    source.graph.output[0].CopyFrom(helper.make_tensor_value_info("label", TensorProto.INT64, None))
    onnx.save(source, str(tmp_path / "labels.onnx"))
    found = scaled(tmp_path, tmp_path / "labels.onnx", [noise(index) for index in range(8)])
    assert found.unusable.keys() == {"spread"}
    assert "by about 0.0%" not in found.unusable["spread"]


def test_a_cache_that_was_made_from_samples_is_not_foreign_when_it_is_read_again(tmp_path: Path) -> None:
    source = uneven(tmp_path / "model.onnx")
    scales = {"input": 0.02, **{f"in_a_branch_{index}": 0.01 for index in range(9)}}
    (tmp_path / "made.cache").write_bytes(calibration_cache.write(scales))
    read = calibration_cache.read(tmp_path / "made.cache", "made.cache")

    def covered(**asked: Any) -> int:
        job = ModelJob(name="m", source=str(source), output_dir="out", deploy_dir="out", precision="int8", **asked)
        with prepared(job, source, tmp_path, cache=read, on_phase=lambda _: None) as typed:
            assert typed.calibration is not None
            return typed.calibration["covered"]

    assert covered(calibration=CalibrationConfig(images="samples")) == 1
    with pytest.raises(ConvertError) as caught:
        covered(calibration_cache="cal.bin")
    assert caught.value.code == "calibration-cache-foreign"


def test_a_scale_that_fp16_does_not_hold_is_missing_with_the_reason(tmp_path: Path) -> None:
    source = uneven(tmp_path / "model.onnx")
    (tmp_path / "given.cache").write_bytes(
        calibration_cache.write({"input": 0.02, "h0": 1e-12, "h1": 0.02, "h2": 0.02})
    )
    read = calibration_cache.read(tmp_path / "given.cache", "given.cache")
    job = ModelJob(name="m", source=str(source), output_dir="out", deploy_dir="out", precision="int8")
    with prepared(job, source, tmp_path, cache=read, on_phase=lambda _: None) as typed:
        assert typed.calibration is not None
        assert typed.calibration["unusable"] == {"h0": "fp16 does not hold its scale"}
        assert any("conv1" in warning["message"] for warning in typed.warnings)
