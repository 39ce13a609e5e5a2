"""Whether a plan runs on a machine: the sentence names both sides, and the verdict claims no more than they say."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo
from prepare_models_entrypoint.inspect import plan_file
from prepare_models_entrypoint.inspect.header import Header

TENSORRT: Header = {"format": "tensorrt", "version": "10.3.0.30"}
RTX: Header = {
    "format": "tensorrt_rtx",
    "version": "1.7.1.116",
    "compute_capabilities": ["8.0", "8.6", "12.1"],
    "and_later": True,
}


def machine(capability: Optional[str], module: Optional[str] = "tensorrt", version: str = "11.4.0") -> RuntimeInfo:
    gpu = GpuInfo(name="GPU", compute_capability=capability or "", driver=None, cuda_version="13.0")
    return RuntimeInfo(
        python="3.12",
        machine="x86_64",
        backend=BackendInfo(name=module, version=version) if module else None,
        gpu=gpu if capability else None,
        gpu_reason=None if capability else "no NVIDIA driver",
    )


def built_on(capability: str) -> Any:
    return {"runtime": {"gpu": {"compute_capability": capability}}}


def test_a_plan_of_another_gpu_names_both() -> None:
    found = plan_file.judge(TENSORRT, built_on("8.7"), machine("9.0"))
    assert found["runs_here"] is False
    assert found["told"] == "built by TensorRT 10.3.0.30 for sm_87; this machine has sm_90 and TensorRT 11.4.0"


@pytest.mark.parametrize(
    ("header", "record", "here", "runs"),
    [
        (TENSORRT, built_on("9.0"), machine("9.0", version="10.3.0"), True),
        (TENSORRT, built_on("9.0"), machine("9.0", version="10.3.1"), None),
        (TENSORRT, built_on("8.6"), machine("9.0", version="10.3.0"), False),
        (TENSORRT, None, machine("9.0", version="10.3.0"), True),
        (TENSORRT, built_on("9.0"), machine("9.0", "tensorrt_rtx"), False),
        (TENSORRT, built_on("9.0"), machine(None), None),
        (TENSORRT, built_on("9.0"), machine("9.0", None), None),
        (RTX, None, machine("8.6", "tensorrt_rtx", "1.7.1.116"), True),
        (RTX, None, machine("9.0", "tensorrt_rtx", "1.7.1.116"), False),
        (RTX, None, machine("13.0", "tensorrt_rtx", "1.7.1.116"), True),
        ({**RTX, "and_later": False}, None, machine("13.0", "tensorrt_rtx", "1.7.1.116"), False),
    ],
)
def test_the_verdict(header: Header, record: Any, here: RuntimeInfo, runs: Optional[bool]) -> None:
    assert plan_file.judge(header, record, here)["runs_here"] is runs


COMPATIBLE = {**built_on("9.0"), "identity": {"builder": {"version_compatible": True}}}
PLAIN = {**built_on("9.0"), "identity": {"builder": {}}}


@pytest.mark.parametrize("name", ["tensorrt_lean", "tensorrt_dispatch"])
@pytest.mark.parametrize("builds", [None, "tensorrt_rtx"])
@pytest.mark.parametrize(
    ("record", "version", "runs"),
    [
        (COMPATIBLE, "10.3.0", True),
        (COMPATIBLE, "10.16.1", None),
        (PLAIN, "10.3.0", False),
        (built_on("9.0"), "10.3.0", None),
        ({**built_on("9.0"), "identity": {"builder": "?"}}, "10.3.0", None),
        (None, "10.3.0", None),
    ],
)
def test_a_lean_runtime_is_for_version_compatible_engines(
    name: str, builds: Optional[str], record: Any, version: str, runs: Optional[bool]
) -> None:
    here = {**machine("9.0", builds), "others": [BackendInfo(name=name, version=version)]}
    found = plan_file.judge(TENSORRT, record, here)  # type: ignore[arg-type]  # a copy with another value
    assert found["runs_here"] is runs
    kind = name.partition("_")[2]
    assert found["told"].endswith(
        f"and TensorRT's {kind} runtime {version}, which loads only version-compatible engines"
    )


def test_what_is_not_known_is_said() -> None:
    told = plan_file.judge(TENSORRT, None, machine(None, None))["told"]
    assert "for a GPU that neither the plan nor a record next to it names" in told
    assert told.endswith("this machine has no GPU (no NVIDIA driver) and no TensorRT")
    assert "sm_80, sm_86, sm_121 and later;" in plan_file.judge(RTX, None, machine(None))["told"]
