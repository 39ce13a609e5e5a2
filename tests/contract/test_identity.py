"""Equal build keys stand for equal engines: what counts, and what doesn't."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.conversion import OnnxConfig, Plugin, TaoConfig
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo, board_of
from prepare_models_entrypoint.contract.identity import LABELS, build_key, changes, differences, identity, target
from prepare_models_entrypoint.contract.job import Job, ModelJob
from prepare_models_entrypoint.contract.packages import PACKAGES, installed
from prepare_models_entrypoint.contract.shapes import ShapeRange
from prepare_models_entrypoint.contract.verification import CalibrationConfig, Thresholds, VerifyConfig

TEXT = st.text(max_size=20)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
DIMS = st.lists(st.integers(1, 9999), min_size=1, max_size=5).map(tuple)
RANGES = DIMS.map(lambda dims: ShapeRange(min=tuple(1 for _ in dims), opt=dims, max=tuple(size + 1 for size in dims)))
PLUGINS = st.builds(Plugin, file=TEXT, sha256=DIGESTS)
# What goes along with a change: the version belongs to the converter, and some builder settings widen the target.
RELATED = {"converter_version", "target"}
BUILDERS = st.builds(
    BuilderConfig,
    workspace_bytes=st.none() | st.integers(0, 2**40),
    optimization_level=st.none() | st.integers(0, 5),
    tf32=st.none() | st.booleans(),
)
MODELS = st.builds(
    ModelJob,
    name=TEXT,
    source=TEXT,
    output_dir=TEXT,
    deploy_dir=TEXT,
    sha256=st.none() | DIGESTS,
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    key_file=st.none() | TEXT,
    calibration_cache=st.none() | TEXT,
    inputs=st.dictionaries(TEXT, RANGES, max_size=3),
    outputs=st.lists(TEXT, max_size=3).map(tuple),
    builder=BUILDERS,
    converter=st.sampled_from(["auto", "api", "trtexec", "tao-converter"]),
    timeout_s=st.none() | st.floats(0.1, 1e6),
    plugins=st.lists(PLUGINS, max_size=2).map(tuple),
    keep_fp32=st.lists(TEXT, max_size=3).map(tuple),
    profiles=st.lists(st.dictionaries(TEXT, RANGES, max_size=2), max_size=2).map(tuple),
    allow_fallback=st.booleans(),
    calibration=st.none() | st.builds(CalibrationConfig, images=TEXT, limit=st.integers(1, 9)),
)
RUNTIME = RuntimeInfo(
    python="3.10.12",
    machine="aarch64",
    backend=BackendInfo(name="tensorrt", version="10.3.0"),
    gpu=GpuInfo(name="Orin", compute_capability="8.7", driver="540.4.0", cuda_version="12.6"),
    gpu_reason=None,
)
RTX = RuntimeInfo(**{**RUNTIME, "backend": BackendInfo(name="tensorrt_rtx", version="1.7.1.116")})
PROGRAMS = RuntimeInfo(**{**RUNTIME, "backend": None, "programs": {"trtexec": "1"}, "library": "11.0.0.1"})
SANITIZING = {"onnx", "onnx-graphsurgeon", "onnxruntime", "polygraphy"}
MODEL = ModelJob(name="seg", source="/a.onnx", output_dir="/m/seg", deploy_dir="/m/seg")


def fields(model: ModelJob, runtime: RuntimeInfo = RUNTIME, digest: str = "a" * 64) -> dict[str, Any]:
    return identity(model, runtime, model_sha256=digest, calibration_sha256=None)


@given(MODELS)
def test_any_job_survives_the_way_through_json(model: ModelJob) -> None:
    job = Job(run_id="r", models=(model,), cache_dir="/cache")
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@given(MODELS, DIGESTS)
def test_an_identity_survives_the_way_through_json(model: ModelJob, digest: str) -> None:
    made = fields(model, digest=digest)
    again = json.loads(json.dumps(made))
    assert build_key(again) == build_key(made)
    assert changes(again, made) == []
    assert set(made) == set(LABELS)


@given(MODELS, TEXT, TEXT, st.none() | TEXT, st.none() | st.floats(0.1, 1e6))
def test_names_places_keys_and_times_do_not_count(
    model: ModelJob, name: str, place: str, key: str | None, timeout: float | None
) -> None:
    other = replace(
        model, name=name, source=place, output_dir=place, deploy_dir=place, key_file=key, timeout_s=timeout, outputs=(),
        plugins=tuple(replace(plugin, file=place) for plugin in model.plugins),
        calibration=replace(model.calibration, images=place) if model.calibration else None,
    )  # fmt: skip
    assert build_key(fields(other)) == build_key(fields(model))


@given(MODELS)
def test_order_does_not_count(model: ModelJob) -> None:
    other = replace(
        model, inputs=turned(model.inputs), plugins=model.plugins[::-1], keep_fp32=model.keep_fp32[::-1],
        profiles=tuple(turned(profile) for profile in model.profiles),
    )  # fmt: skip
    assert build_key(fields(other)) == build_key(fields(model))


def turned(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(reversed(list(mapping.items())))


@given(TEXT, st.none() | TEXT)
def test_host_python_driver_and_reasons_do_not_count(text: str, driver: str | None) -> None:
    gpu = GpuInfo(name="Orin", compute_capability="8.7", driver=driver, cuda_version=text)
    other = RuntimeInfo(**{**RUNTIME, "python": text, "gpu_reason": text, "gpu": gpu, "etlt_codec": True})
    assert build_key(fields(MODEL, other)) == build_key(fields(MODEL))


def setting(values: st.SearchStrategy[Any], name: str) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {name: value})


# One strategy for each thing that counts: what a job, the environment or the digests may say otherwise.
JOB_CHANGES = {
    "precision": setting(st.sampled_from(["fp16", "int8", "bf16", "fp8"]), "precision"),
    "converter": setting(st.sampled_from(["trtexec", "tao-converter"]), "converter"),
    "inputs": setting(st.dictionaries(TEXT, RANGES, min_size=1, max_size=3), "inputs"),
    "profiles": setting(st.lists(st.dictionaries(TEXT, RANGES), min_size=1, max_size=2).map(tuple), "profiles"),
    "keep_fp32": setting(st.lists(TEXT, min_size=1, max_size=3).map(tuple), "keep_fp32"),
    "allow_fallback": setting(st.just(value=True), "allow_fallback"),
    "plugins": setting(st.lists(PLUGINS, min_size=1, max_size=2).map(tuple), "plugins"),
    "workspace": setting(st.integers(0, 2**40).map(lambda size: BuilderConfig(workspace_bytes=size)), "builder"),
    "tf32": setting(st.booleans().map(lambda flag: BuilderConfig(tf32=flag)), "builder"),
    "dla": setting(st.integers(0, 1).map(lambda core: BuilderConfig(dla_core=core)), "builder"),
    "hardware": setting(st.just(BuilderConfig(hardware_compatibility="ampere+")), "builder"),
    "formats": setting(TEXT.map(lambda name: BuilderConfig(io_formats={name: "fp16:chw"})), "builder"),
    "sanitize": setting(st.just(OnnxConfig(sanitize=True)), "onnx"),
    "static_shapes": setting(DIMS.map(lambda dims: OnnxConfig(static_shapes={"x": dims})), "onnx"),
    "new_outputs": setting(TEXT.map(lambda name: OnnxConfig(outputs=(name,))), "onnx"),
    "tao": setting(st.integers(1, 64).map(lambda batch: TaoConfig(max_batch=batch)), "tao"),
    "calibration": setting(st.integers(1, 99).map(lambda n: CalibrationConfig(images="/i", limit=n)), "calibration"),
}
RUNTIME_CHANGES = {
    "backend": {"backend": BackendInfo(name="tensorrt_rtx", version="10.3.0")},
    "backend version": {"backend": BackendInfo(name="tensorrt", version="10.3.1")},
    "no backend": {"backend": None},
    "capability": {"gpu": GpuInfo(name="Orin", compute_capability="8.9", driver="540.4.0", cuda_version="12.6")},
    "gpu": {"gpu": GpuInfo(name="Thor", compute_capability="8.7", driver="540.4.0", cuda_version="12.6")},
    "no gpu": {"gpu": None},
    "board": {"board": "p3767-0000"},
    "architecture": {"machine": "x86_64"},
    "system": {"system": "windows"},
}


@pytest.mark.parametrize("what", JOB_CHANGES)
@given(data=st.data())
def test_any_single_change_of_a_setting_changes_the_key(what: str, data: st.DataObject) -> None:
    other = fields(replace(MODEL, **data.draw(JOB_CHANGES[what])))
    assert build_key(other) != build_key(fields(MODEL))
    assert len({change["field"].partition(".")[0] for change in differences(fields(MODEL), other)} - RELATED) == 1


@pytest.mark.parametrize("what", RUNTIME_CHANGES)
def test_any_single_change_of_the_environment_changes_the_key(what: str) -> None:
    other = fields(MODEL, RuntimeInfo(**{**RUNTIME, **RUNTIME_CHANGES[what]}))  # type: ignore[typeddict-item]  # a plain dict
    assert build_key(other) != build_key(fields(MODEL))
    assert changes(fields(MODEL), other)


@pytest.mark.parametrize("role", ["model_sha256", "weights_sha256", "calibration_sha256"])
@given(one=DIGESTS, other=DIGESTS)
def test_any_change_of_bytes_changes_the_key(role: str, one: str, other: str) -> None:
    digests: dict[str, Any] = {"model_sha256": "a" * 64, "weights_sha256": None, "calibration_sha256": None}
    keys = [build_key(identity(MODEL, RUNTIME, **{**digests, role: digest})) for digest in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize("name", ["trtexec", "tao-converter"])
@given(one=DIGESTS, other=DIGESTS)
def test_another_version_of_a_program_changes_the_key_of_its_engines_alone(name: str, one: str, other: str) -> None:
    def keys(converter: str) -> set[str]:
        model = replace(MODEL, converter=converter, source="/a.etlt")
        return {build_key(fields(model, RuntimeInfo(**{**RUNTIME, "programs": {name: d}}))) for d in (one, other)}

    assert (len(keys(name)) == 2) == (one != other)
    assert len(keys("api")) == 1


def test_an_engine_by_trtexec_is_of_the_library_that_it_loads() -> None:
    def told(library: str | None) -> dict[str, Any]:
        environment = {**RUNTIME, "backend": None, "programs": {"trtexec": "1"}, "library": library}
        return fields(MODEL, RuntimeInfo(**environment))  # type: ignore[typeddict-item]  # a plain dict

    assert changes(told("10.3.0.26"), told("10.7.0.23")) == ["TensorRT 10.3.0.26 -> 10.7.0.23"]


@given(MODELS, st.sampled_from(sorted(PACKAGES)), st.sampled_from([RUNTIME, RTX, PROGRAMS]))
def test_another_version_of_a_package_changes_the_key_of_engines_that_it_takes_part_in(
    model: ModelJob, package: str, runtime: RuntimeInfo
) -> None:
    def at(version: str) -> dict[str, Any]:
        return fields(
            model, RuntimeInfo(**{**runtime, "packages": {**dict.fromkeys(PACKAGES, "1.0"), package: version}})
        )

    one, other = at("1.0"), at("1.1")
    takes_part = package in one["packages"]
    assert (build_key(one) != build_key(other)) == takes_part
    assert changes(one, other) == ([f"package.{package} 1.0 -> 1.1"] if takes_part else [])


IN_GRAPH = {"onnx", "onnxruntime"}
FROM_SAMPLES = {"onnx", "onnxruntime", "pillow"}
SAMPLES = CalibrationConfig(images="/i")


@pytest.mark.parametrize(
    ("setting_", "rtx", "by_flags"),
    [
        ({}, set(), set()),
        ({"precision": "fp16"}, IN_GRAPH, set()),
        ({"precision": "fp16", "builder": BuilderConfig(strongly_typed=True)}, IN_GRAPH, IN_GRAPH),
        ({"precision": "fp16", "converter": "tao-converter"}, set(), set()),
        ({"precision": "fp16", "keep_fp32": ("none",)}, {"onnx"}, set()),
        ({"precision": "auto"}, IN_GRAPH, set()),
        ({"precision": "auto", "calibration": SAMPLES}, IN_GRAPH | FROM_SAMPLES, FROM_SAMPLES),
        ({"precision": "bf16"}, IN_GRAPH, set()),
        ({"precision": "int8"}, set(), set()),
        ({"precision": "int8", "calibration_cache": "/c"}, IN_GRAPH, set()),
        (
            {"precision": "int8", "calibration_cache": "/c", "builder": BuilderConfig(int8_remainder="fp32")},
            {"onnx"},
            set(),
        ),
        ({"precision": "int8", "calibration": SAMPLES}, IN_GRAPH | FROM_SAMPLES, FROM_SAMPLES),
        ({"precision": "fp8", "calibration": SAMPLES}, {"nvidia-modelopt"} | FROM_SAMPLES, FROM_SAMPLES),
        ({"onnx": OnnxConfig(outputs=("a",))}, {"onnx"}, {"onnx"}),
        ({"onnx": OnnxConfig(sanitize=True)}, SANITIZING, SANITIZING),
    ],
)
def test_a_package_counts_where_it_changes_the_network(setting_: Any, rtx: set[str], by_flags: set[str]) -> None:
    model = replace(MODEL, **setting_)
    assert set(fields(model, RTX)["packages"]) == rtx
    assert set(fields(model)["packages"]) == by_flags


def test_versions_of_packages_are_read_off_their_metadata(tmp_path: Path) -> None:
    for name in ("onnx-1.18.0.dist-info", "onnx_graphsurgeon-0.5.8-py3.8.egg-info", "Pillow-10.0.dist-info", "a.py",
                 "onnxruntime_gpu-1.20.1.dist-info", "onnx_ir-0.1.dist-info"):  # fmt: skip
        (tmp_path / "first" / name).mkdir(parents=True)
    (tmp_path / "second" / "onnx-1.17.0.dist-info").mkdir(parents=True)
    places = [str(tmp_path / name) for name in ("missing", "first", "second")]
    assert installed(places) == {
        "onnx": "1.18.0", "onnx-graphsurgeon": "0.5.8", "pillow": "10.0", "onnxruntime": "1.20.1"
    }  # fmt: skip


@given(MODELS, MODELS)
def test_equal_keys_mean_equal_settings(one: ModelJob, other: ModelJob) -> None:
    def settings(model: ModelJob) -> Any:
        plugins = sorted(plugin.sha256 for plugin in model.plugins)
        rest: dict[str, Any] = {**model.conversion(), "plugins": plugins, "keep_fp32": sorted(set(model.keep_fp32))}
        if model.calibration:
            rest["calibration"] = {**rest["calibration"], "images": ""}
        converter = "api" if model.converter == "auto" else model.converter
        return model.precision, converter, dict(model.inputs), model.builder, rest

    assert (build_key(fields(one)) == build_key(fields(other))) == (settings(one) == settings(other))


VERIFIED = VerifyConfig(thresholds=Thresholds(cosine=0.9))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"precision": "auto", "keep_fp32": ("none",)}, {"verify": VERIFIED}),
        ({"precision": "int8", "keep_fp32": ("none",), "calibration": SAMPLES}, {"verify": VERIFIED}),
        ({"precision": "fp16", "keep_fp32": ("auto", "none")}, {"keep_fp32": ("none", "auto")}),
    ],
)
def test_what_decides_the_engine_counts_whatever_stays_in_fp32(one: Any, other: Any) -> None:
    """Thresholds choose a precision, and what calibration leaves out of int8; of two keywords the last one counts."""
    model = replace(MODEL, **{"verify": VerifyConfig(), **one})
    assert build_key(fields(model, RTX)) != build_key(fields(replace(model, **other), RTX))


def test_samples_of_a_verification_that_decide_nothing_do_not_count() -> None:
    model = replace(MODEL, precision="fp16", keep_fp32=("none",))
    assert build_key(fields(model, RTX)) == build_key(fields(replace(model, verify=VERIFIED), RTX))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (fields(MODEL, digest="b" * 64), "model sha256 aaaaaaaaaaaa -> bbbbbbbbbbbb"),
        (fields(replace(MODEL, precision="fp16")), "precision fp32 -> fp16"),
        (fields(replace(MODEL, onnx=OnnxConfig(outputs=("a",)))), 'conversion.onnx.outputs [] -> ["a"]'),
        (fields(replace(MODEL, converter="trtexec")), "converter api -> trtexec"),
        (fields(replace(MODEL, builder=BuilderConfig(tf32=False))), "builder.tf32 none -> false"),
        (
            fields(replace(MODEL, inputs={"x": ShapeRange(min=(1, 3), opt=(4, 3), max=(8, 3))})),
            "input shapes.x none -> 1x3 .. 4x3 .. 8x3",
        ),
        (
            fields(replace(MODEL, plugins=(Plugin(file="/p.so", sha256="d" * 64),))),
            'plugins sha256 [] -> ["dddddddddddd"]',
        ),
        (
            fields(MODEL, RuntimeInfo(**{**RUNTIME, "gpu": None})),
            "target Orin (compute capability 8.7) -> none",
        ),
        (
            fields(MODEL, RuntimeInfo(**{**RUNTIME, "backend": BackendInfo(name="tensorrt", version="10.7.0")})),
            "TensorRT 10.3.0 -> 10.7.0",
        ),
        (
            identity(MODEL, RUNTIME, model_sha256="a" * 64, calibration_sha256="c" * 64),
            "calibration sha256 none -> cccccccccccc",
        ),
    ],
)
def test_what_counts_is_told_in_words(other: dict[str, Any], told: str) -> None:
    assert changes(fields(MODEL), other) == [told]
    assert build_key(fields(MODEL)) != build_key(other)


def test_an_rtx_engine_is_for_every_gpu() -> None:
    rtx = RuntimeInfo(**{**RUNTIME, "backend": BackendInfo(name="tensorrt_rtx", version="1.7")})
    assert target(rtx) == "portable"
    assert target(RUNTIME) == "Orin (compute capability 8.7)"


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("none", "Orin (compute capability 8.7, module p3767-0000)"),
        ("same-compute-capability", "compute capability 8.7"),
        ("ampere+", "compute capability 8.0 and later"),
    ],
)
def test_the_target_is_as_wide_as_the_hardware_compatibility(level: str, told: str) -> None:
    jetson = RuntimeInfo(**{**RUNTIME, "board": "p3767-0000"})
    assert target(jetson, BuilderConfig(hardware_compatibility=level)) == told


@pytest.mark.parametrize(
    ("compatible", "module"),
    [
        ("nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0", "p3701-0005"),
        ("nvidia,p3768-0000+p3767-0000-super\0nvidia,p3767-0000\0nvidia,tegra234\0", "p3767-0000"),
        ("nvidia,galen\0nvidia,p2972-0000\0nvidia,tegra194\0", "nvidia,galen"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", None),
        ("", None),
    ],
)
def test_a_jetson_is_known_by_its_module(compatible: str, module: str | None) -> None:
    assert board_of(compatible) == module
