"""Rules of the conversion that need no backend: precision, converter, settings, ladder, layer information."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import pytest

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.conversion import TaoConfig
from prepare_models_entrypoint.contract.converters import Case, Found, choose
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.shapes import ShapeRange
from prepare_models_entrypoint.converters import by_tao_converter, options, trtexec
from prepare_models_entrypoint.converters.convert import rungs
from prepare_models_entrypoint.converters.preflight import check_memory, isaac_ros, memory_needed
from prepare_models_entrypoint.errors import ConvertError

TEN = ["FP16", "INT8", "BF16", "FP8", "TF32"]
EIGHT = ["FP16", "INT8", "TF32"]
SHAPE = (1, 3, 544, 960)


def job(**more: Any) -> ModelJob:
    return ModelJob(name="seg", source="seg.etlt", output_dir="out", deploy_dir="out", **more)


def code(call: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        call()
    assert caught.value.hint
    return caught.value.code


def found(trtexec_: Optional[str] = None, tao: Optional[str] = None, codec: bool = False) -> Found:
    paths = {"trtexec": trtexec_, "tao-converter": tao}
    return Found({name: path for name, path in paths.items() if path}, codec)


@pytest.mark.parametrize(
    ("asked", "etlt", "bindings", "programs", "expected"),
    [
        ("auto", None, "tensorrt", found("t", "c"), "api"),
        ("auto", None, None, found("t", "c"), "trtexec"),
        ("auto", None, None, found(), None),
        ("auto", "onnx", "tensorrt", found("t", "c", codec=True), "api"),
        ("auto", "onnx", "tensorrt", found("t", "c"), "tao-converter"),
        ("auto", "uff", "tensorrt", found("t", "c", codec=True), "tao-converter"),
        ("auto", "uff", "tensorrt", found("t", None, codec=True), None),
        ("api", None, None, found("t"), None),
        ("trtexec", None, "tensorrt", found("t"), "trtexec"),
        ("tao-converter", None, "tensorrt", found("t", "c"), None),
    ],
)
def test_the_converter_and_why(
    asked: str, etlt: Optional[str], bindings: Optional[str], programs: Found, expected: Optional[str]
) -> None:
    choice = choose(asked, Case(etlt is not None, etlt, bindings, programs))
    assert choice.converter == expected
    assert choice.reason


@pytest.mark.parametrize(
    ("builder", "backend", "version", "refused"),
    [
        (BuilderConfig(optimization_level=5), "tensorrt", "8.6.1", None),
        (BuilderConfig(optimization_level=5), "tensorrt", "8.5.2", "optimization_level"),
        (BuilderConfig(hardware_compatibility="ampere+"), "tensorrt", "8.6.1", None),
        (BuilderConfig(hardware_compatibility="same-compute-capability"), "tensorrt", "10.8.0", "hardware_compat"),
        (BuilderConfig(hardware_compatibility="same-compute-capability"), "tensorrt", "10.9.0", None),
        (BuilderConfig(refit="all"), "tensorrt", "8.6.1", None),
        (BuilderConfig(refit="identical"), "tensorrt", "8.6.1", "refit: its value identical exists from TensorRT 10.0"),
        (BuilderConfig(io_formats={"x": "fp16:chw"}), "tensorrt", "8.6.1", None),
        (BuilderConfig(strip_weights=True), "tensorrt", "8.6.1", "strip_weights"),
        (BuilderConfig(strip_weights=True), "tensorrt", "10.3.0", None),
        (BuilderConfig(strict_types=True), "tensorrt", "10.3.0", None),
        (BuilderConfig(strict_types=True), "tensorrt", "11.1.0", "strict_types"),
        (BuilderConfig(strongly_typed=False), "tensorrt", "11.1.0", "strongly_typed"),
        (BuilderConfig(compute_capabilities=("8.6",)), "tensorrt", "10.3.0", "compute_capabilities"),
        (BuilderConfig(compute_capabilities=("8.6",)), "tensorrt_rtx", "1.7.1", None),
        (BuilderConfig(timing_cache=True), "tensorrt_rtx", "1.7.1", "timing_cache"),
    ],
)
def test_a_setting_that_would_be_ignored_names_backend_and_version(
    builder: BuilderConfig, backend: str, version: str, refused: Optional[str]
) -> None:
    def checked() -> None:
        options.check(builder, backend, version, precision="fp16", has_gpu=True)

    if refused is None:
        checked()
        return
    with pytest.raises(ConvertError) as caught:
        checked()
    assert caught.value.code == "builder-option-unavailable"
    assert f"builder.{refused}" in caught.value.message
    assert f"{backend} {version}" in caught.value.message


@pytest.mark.parametrize(
    ("version", "capability", "refused"),
    [
        ("8.4.1", "8.9", True),
        ("8.5.2", "8.9", False),
        ("8.6.1", "5.3", True),
        ("8.5.3", "5.3", False),
        ("10.3.0", "8.7", False),
        ("10.13.3", "8.7", True),
        ("10.16.1", "8.7", False),
        ("11.4.0", "8.7", True),
        ("10.7.0", "12.0", True),
        ("10.9.0", "12.0", False),
        ("10.13.3", "7.0", True),
        ("10.13.3", None, False),
    ],
)
def test_a_gpu_that_a_tensorrt_has_no_code_for_is_refused_before_the_build(
    version: str, capability: Optional[str], refused: bool
) -> None:
    backend: Any = {"name": "tensorrt", "version": version}
    if refused:
        assert code(lambda: options.check_gpu(backend, capability, ())) == "compute-capability-unsupported"
    else:
        assert options.check_gpu(backend, capability, ()) == []


@pytest.mark.parametrize(
    ("capability", "wanted", "warned"),
    [
        ("8.9", (), False),
        ("9.0", (), True),
        ("8.7", (), True),
        ("13.0", (), False),
        ("8.9", ("8.6",), True),
        ("7.5", (), True),
        ("7.5", ("7.5",), False),
        (None, (), False),
    ],
)
def test_a_portable_engine_that_will_not_run_here_is_told(
    capability: Optional[str], wanted: Tuple[str, ...], warned: bool
) -> None:
    rtx: Any = {"name": "tensorrt_rtx", "version": "1.7.1"}
    assert [warning["code"] for warning in options.check_gpu(rtx, capability, wanted)] == (
        ["compute-capability-unsupported"] if warned else []
    )
    assert code(lambda: options.check_gpu(rtx, capability, ("8.7",))) == "compute-capability-unsupported"


def test_the_dla_computes_no_fp32() -> None:
    builder = BuilderConfig(dla_core=0, dla_gpu_fallback=True)
    options.check(builder, "tensorrt", "10.3.0", precision="fp16", has_gpu=True)
    call = lambda: options.check(builder, "tensorrt", "10.3.0", precision="fp32", has_gpu=True)  # noqa: E731  # shorter than a function
    assert code(call) == "builder-option-unavailable"


SEED = {
    "fp16": (
        "-k tlt_encode -d 3,544,960 -p input_2:0,1x3x544x960,1x3x544x960,1x3x544x960 -t fp16 "
        "-e /workspaces/isaac_ros-dev/models/peoplesemsegnet_shuffleseg.engine -o argmax_1 "
        "peoplesemsegnet_shuffleseg_etlt.etlt"
    ),
    "int8": (
        "-k tlt_encode -d 3,544,960 -p input_2:0,1x3x544x960,1x3x544x960,1x3x544x960 -t int8 "
        "-c peoplesemsegnet_shuffleseg_cache.txt "
        "-e /workspaces/isaac_ros-dev/models/peoplesemsegnet_shuffleseg.engine -o argmax_1 "
        "peoplesemsegnet_shuffleseg_etlt.etlt"
    ),
}


@pytest.mark.parametrize("program", ["/opt/nvidia/tao/tao-converter", "/opt/nvidia/tao/jp5/tao-converter"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_documented_tao_converter_lines_come_out_argument_by_argument(precision: str, program: str) -> None:
    model = job(
        precision=precision, inputs={"input_2:0": ShapeRange(min=SHAPE, opt=SHAPE, max=SHAPE)}, outputs=("argmax_1",),
        tao=TaoConfig(dims=(3, 544, 960)),
        calibration_cache="cache" if precision == "int8" else None,
    )  # fmt: skip
    argv = by_tao_converter.command(
        model,
        program=program,
        key="tlt_encode",
        etlt="peoplesemsegnet_shuffleseg_etlt.etlt",
        engine="/workspaces/isaac_ros-dev/models/peoplesemsegnet_shuffleseg.engine",
        cache="peoplesemsegnet_shuffleseg_cache.txt" if precision == "int8" else None,
    )
    assert argv == [program, *SEED[precision].split()]
    assert "tlt_encode" not in by_tao_converter.masked(argv)
    assert by_tao_converter.masked(argv)[3:] == argv[3:]


def test_the_documented_trtexec_line_comes_out() -> None:
    argv = trtexec.command(
        "model.onnx", "model.plan", profiles=[], builder=BuilderConfig(), program="/usr/src/tensorrt/bin/trtexec"
    )
    assert argv == ["/usr/src/tensorrt/bin/trtexec", "--onnx=model.onnx", "--saveEngine=model.plan"]


def test_a_profile_with_an_undefined_height_can_not_come_about() -> None:
    """An installer once wrote 1x3x<width>: here a shape is numbers, and -p takes them from the manifest."""
    model = job(inputs={"input_1": ShapeRange(min=(1, 3, 544, 960), opt=(8, 3, 544, 960), max=(16, 3, 544, 960))})
    argv = by_tao_converter.command(model, program="t", key="k", etlt="m", engine="e")
    assert argv[argv.index("-p") + 1] == "input_1,1x3x544x960,8x3x544x960,16x3x544x960"


def test_int8_on_noise_can_not_come_about() -> None:
    assert code(
        lambda: by_tao_converter.command(job(precision="int8"), program="t", key="k", etlt="m", engine="e")
    ) == ("calibration-missing")


def test_uff_options_reach_tao_converter() -> None:
    model = job(outputs=("a", "b"), tao=TaoConfig(dims=(3, 8, 8), max_batch=4, input_order="nhwc"))
    argv = by_tao_converter.command(model, program="t", key="k", etlt="m.etlt", engine="e")
    expected = "t -k k -d 3,8,8 -t fp32 -e e -o a,b -m 4 -i nhwc m.etlt"
    assert argv == expected.split()


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --help", (8, 5, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # trtexec", (8, 6, 1)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec", (10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec", (10, 13, 3)),
        ("bash: trtexec: command not found", None),
    ],
)
def test_the_version_of_trtexec_is_read_from_its_banner(banner: str, version: Optional[Tuple[int, ...]]) -> None:
    assert trtexec.parse_version(banner) == version


def changes(model: ModelJob, **more: Any) -> List[Dict[str, Any]]:
    return [changed for _, changed in rungs(model, **{"backend": "tensorrt", "version": "10.3.0", **more})]


def test_the_ladder_goes_from_mild_to_harsh() -> None:
    assert [sorted(changed) for changed in changes(job())] == [
        ["workspace_bytes"],
        ["max_aux_streams", "workspace_bytes"],
        ["tactic_dram_bytes", "workspace_bytes"],
        ["optimization_level"],
    ]


def test_the_ladder_keeps_what_is_lower_already_and_what_a_version_knows() -> None:
    small = job(builder=BuilderConfig(workspace_bytes=1 << 20, optimization_level=0))
    assert changes(small, version="8.5.2") == []


def test_the_largest_batch_shrinks_only_where_a_fallback_is_allowed() -> None:
    batch = {"x": ShapeRange(min=(1, 3), opt=(8, 3), max=(16, 3))}
    assert all("max_batch" not in changed for changed in changes(job(inputs=batch)))
    last = [changed for changed in changes(job(inputs=batch, allow_fallback=True)) if "max_batch" in changed]
    assert last == [{"max_batch": 8}, {"max_batch": 4}, {"max_batch": 2}, {"max_batch": 1}]


def test_a_model_that_does_not_fit_into_memory_is_refused_at_once() -> None:
    three_gigabytes = 3 << 30
    check_memory(three_gigabytes, available=memory_needed(three_gigabytes))
    check_memory(three_gigabytes, available=None)
    assert code(lambda: check_memory(three_gigabytes, available=8 << 30)) == "memory-insufficient"


@pytest.mark.parametrize(
    ("mode", "dtype", "shape", "codes"),
    [
        ("output", "float16", [1, 8], ["isaac-ros-output-type"]),
        ("output", "bool", [1, 8], ["isaac-ros-output-type"]),
        ("output", "int64", [1, 8], []),
        ("input", "float16", [-1, 8], []),
        ("input", "float32", [1, -1], ["isaac-ros-dynamic-axis"]),
    ],
)
def test_the_limits_of_isaac_ros_are_told(mode: str, dtype: str, shape: List[int], codes: List[str]) -> None:
    binding: Any = {"name": "x", "mode": mode, "dtype": dtype, "shape": shape}
    assert [warning["code"] for warning in isaac_ros([binding])] == codes
