"""Equal build keys stand for equal engines: what counts, and what doesn't."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare_models_entrypoint.contract import BuilderConfig, Job, ModelJob, ShapeRange
from prepare_models_entrypoint.contract.identity import LABELS, build_key, changes, identity, target
from prepare_models_entrypoint.contract.report import BackendInfo, GpuInfo, RuntimeInfo

TEXT = st.text(max_size=20)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
DIMS = st.lists(st.integers(1, 9999), min_size=1, max_size=5).map(tuple)
RANGES = DIMS.map(lambda dims: ShapeRange(tuple(1 for _ in dims), dims, tuple(size + 1 for size in dims)))
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
)
RUNTIME = RuntimeInfo(
    python="3.10.12",
    machine="aarch64",
    backend=BackendInfo(name="tensorrt", version="10.3.0"),
    gpu=GpuInfo(name="Orin", compute_capability="8.7", driver="540.4.0", cuda_version="12.6"),
    gpu_reason=None,
)
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
        model, name=name, source=place, output_dir=place, deploy_dir=place, key_file=key, timeout_s=timeout, outputs=()
    )
    assert build_key(fields(other)) == build_key(fields(model))


@given(MODELS, MODELS)
def test_equal_keys_mean_equal_settings(one: ModelJob, other: ModelJob) -> None:
    def settings(model: ModelJob) -> Any:
        return model.precision, model.converter, dict(model.inputs), model.builder

    assert (build_key(fields(one)) == build_key(fields(other))) == (settings(one) == settings(other))


@given(st.dictionaries(TEXT, RANGES, min_size=2, max_size=4))
def test_the_order_of_inputs_does_not_count(inputs: dict[str, ShapeRange]) -> None:
    turned = dict(reversed(list(inputs.items())))
    assert build_key(fields(replace(MODEL, inputs=turned))) == build_key(fields(replace(MODEL, inputs=inputs)))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (fields(MODEL, digest="b" * 64), "model aaaaaaaaaaaa -> bbbbbbbbbbbb"),
        (fields(replace(MODEL, precision="fp16")), "precision fp32 -> fp16"),
        (fields(replace(MODEL, converter="api")), "converter auto -> api"),
        (
            fields(MODEL, RuntimeInfo(**{**RUNTIME, "gpu": None})),
            "target Orin (compute capability 8.7) -> null",
        ),
        (
            fields(MODEL, RuntimeInfo(**{**RUNTIME, "backend": None})),
            "backend tensorrt -> null",
        ),
        (
            identity(MODEL, RUNTIME, model_sha256="a" * 64, calibration_sha256="c" * 64),
            "calibration null -> cccccccccccc",
        ),
    ],
)
def test_what_counts_is_told_in_words(other: dict[str, Any], told: str) -> None:
    assert changes(fields(MODEL), other)[0] == told
    assert build_key(fields(MODEL)) != build_key(other)


def test_an_rtx_engine_is_for_every_gpu() -> None:
    rtx = RuntimeInfo(**{**RUNTIME, "backend": BackendInfo(name="tensorrt_rtx", version="1.7")})
    assert target(rtx) == "portable"
    assert target(RUNTIME) == "Orin (compute capability 8.7)"
