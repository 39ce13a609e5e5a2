"""Which engines are valid on a machine that has neither TensorRT nor a GPU to ask: the records answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prepare_models.__main__ import main
from prepare_models.machine.facts import Machine
from prepare_models.machine.gpus import Gpu
from prepare_models.manifest.model import ModelSpec
from prepare_models.planning.status import Here, Verdict, here, verdicts
from prepare_models.support.file_digests import Digests
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo

from .records import RUNTIME, digest, lay_down, read_report, write_report

JETSON = RuntimeInfo(**{**RUNTIME, "board": "p3767-0000"})
ORIN_NX = Here(
    Machine("aarch64", l4t=(36, 4, 7), model="NVIDIA Jetson Orin NX", soc="tegra234", board="p3767-0000"),
    "linux",
    {"tensorrt": "10.3.0.26"},
)
ADA = Gpu(0, "GPU-1", "NVIDIA GeForce RTX 4090", "580.65", "8.9")
DESKTOP = Here(Machine("x86_64", gpus=(ADA,)), "linux", {"tensorrt": "10.13.3", "tensorrt_rtx": "1.7.1.116"})
ON_DESKTOP = RuntimeInfo(
    **{
        **RUNTIME,
        "machine": "x86_64",
        "backend": BackendInfo(name="tensorrt", version="10.13.3"),
        "gpu": GpuInfo(name=ADA.name, compute_capability="8.9", driver="580.65", cuda_version="13.0"),
    }
)


def judged(folder: Path, runtime: RuntimeInfo, now: Here, *, builder: BuilderConfig = BuilderConfig()) -> Verdict:
    (folder / "a.onnx").write_bytes(b"model")
    spec = ModelSpec(name="seg", source=str(folder / "a.onnx"), line=1, builder=builder)
    lay_down(spec, folder / "models", {"model": digest(b"model")}, runtime)
    return again(folder, now)


def again(folder: Path, now: Here) -> Verdict:
    (verdict,) = verdicts(folder / "models", now, Digests())
    return verdict


@pytest.mark.parametrize(("runtime", "now"), [(JETSON, ORIN_NX), (ON_DESKTOP, DESKTOP)])
def test_an_engine_of_this_machine_is_valid(tmp_path: Path, runtime: RuntimeInfo, now: Here) -> None:
    assert judged(tmp_path, runtime, now).state == "valid"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (replace(ORIN_NX, versions={"tensorrt": "10.7.0.23"}), "TensorRT 10.3.0 -> 10.7.0.23"),
        (replace(ORIN_NX, machine=replace(ORIN_NX.machine, board="p3767-0003")), "module p3767-0000 -> p3767-0003"),
        (
            replace(ORIN_NX, machine=replace(ORIN_NX.machine, soc="tegra264")),
            "compute capability 8.7 -> 11.0 (NVIDIA Jetson Orin NX)",
        ),
        (replace(ORIN_NX, machine=replace(ORIN_NX.machine, arch="x86_64")), "architecture aarch64 -> x86_64"),
        (replace(ORIN_NX, system="windows"), "operating system linux -> windows"),
    ],
)
def test_what_differs_here_makes_it_stale(tmp_path: Path, now: Here, reason: str) -> None:
    verdict = judged(tmp_path, JETSON, now)
    assert (verdict.state, list(verdict.reasons)) == ("stale", [reason])


def test_what_can_not_be_compared_is_not_called_valid(tmp_path: Path) -> None:
    blind = Here(Machine("aarch64", gpu_reason="nvidia-smi is not installed"), "linux", {})
    verdict = judged(tmp_path, JETSON, blind)
    assert (verdict.state, list(verdict.reasons)) == ("unchecked", [])
    assert list(verdict.unchecked) == [
        "TensorRT 10.3.0: none is installed here",
        "GPU: nvidia-smi is not installed",
    ]


@pytest.mark.parametrize(
    ("level", "gpu", "state"),
    [
        (None, replace(ADA, name="NVIDIA L4"), "stale"),
        ("same-compute-capability", replace(ADA, name="NVIDIA L4"), "valid"),
        ("same-compute-capability", replace(ADA, compute_capability="8.6"), "stale"),
        ("ampere+", replace(ADA, compute_capability="9.0"), "valid"),
        ("ampere+", replace(ADA, compute_capability="7.5"), "stale"),
    ],
)
def test_hardware_compatibility_widens_what_is_valid(tmp_path: Path, level: str | None, gpu: Gpu, state: str) -> None:
    now = replace(DESKTOP, machine=replace(DESKTOP.machine, gpus=(gpu,)))
    assert judged(tmp_path, ON_DESKTOP, now, builder=BuilderConfig(hardware_compatibility=level)).state == state


@pytest.mark.parametrize(
    ("version", "state"),
    [("10.13.3.9", "valid"), ("10.16.0", "valid"), ("10.3.0", "stale"), ("11.0.0", "valid"), ("12.0.0", "stale")],
)
@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_lean", "tensorrt_dispatch"])
def test_a_version_compatible_engine_is_valid_in_later_ones(
    tmp_path: Path, version: str, state: str, module: str
) -> None:
    now = replace(DESKTOP, versions={module: version})
    assert judged(tmp_path, ON_DESKTOP, now, builder=BuilderConfig(version_compatible=True)).state == state


def test_an_engine_without_its_lean_runtime_is_for_its_own_major_version(tmp_path: Path) -> None:
    """The lean runtime 10.16.1 said of one of 8.6: "old deserialization call on a newer plan file"."""
    builder = BuilderConfig(version_compatible=True, exclude_lean_runtime=True)
    later = replace(DESKTOP, versions={"tensorrt_lean": "10.16.1"})
    assert judged(tmp_path, ON_DESKTOP, later, builder=builder).state == "valid"
    assert again(tmp_path, replace(DESKTOP, versions={"tensorrt_lean": "11.0.0"})).state == "stale"


def test_a_lean_runtime_loads_no_other_engines(tmp_path: Path) -> None:
    found = judged(tmp_path, ON_DESKTOP, replace(DESKTOP, versions={"tensorrt_lean": "10.16.1"}))
    assert found.reasons == [
        "TensorRT 10.13.3 -> TensorRT's lean runtime 10.16.1, which loads only version-compatible engines"
    ]
    rtx = replace(DESKTOP, versions={"tensorrt_lean": "10.16.1", "tensorrt": "10.13.3"})
    assert again(tmp_path, rtx).state == "valid", "the full TensorRT comes first"


@pytest.mark.parametrize(
    ("capability", "state"), [("8.9", "valid"), ("9.0", "stale"), ("12.1", "valid"), ("7.5", "stale")]
)
def test_a_portable_engine_is_for_the_capabilities_in_its_header(tmp_path: Path, capability: str, state: str) -> None:
    rtx: Any = {**ON_DESKTOP, "backend": BackendInfo(name="tensorrt_rtx", version="1.7.1.116"), "gpu": None}
    judged(tmp_path, rtx, DESKTOP)
    report = read_report(tmp_path / "models/seg")
    report["engine"]["header"]["compute_capabilities"] = ["8.0", "8.6", "8.9", "12.0"]
    write_report(tmp_path / "models/seg", report)
    gpu = replace(ADA, compute_capability=capability)
    assert again(tmp_path, replace(DESKTOP, machine=replace(DESKTOP.machine, gpus=(gpu,)))).state == state


def test_one_fitting_gpu_of_several_is_enough(tmp_path: Path) -> None:
    both = replace(DESKTOP.machine, gpus=(replace(ADA, compute_capability="7.5"), ADA))
    assert judged(tmp_path, ON_DESKTOP, replace(DESKTOP, machine=both)).state == "valid"


def test_changed_bytes_records_sources_and_lost_companions_are_told(tmp_path: Path) -> None:
    judged(tmp_path, ON_DESKTOP, DESKTOP)
    folder = tmp_path / "models/seg"
    (tmp_path / "a.onnx").write_bytes(b"other")
    assert list(again(tmp_path, DESKTOP).reasons) == [
        f"model sha256 {digest(b'model')[:12]} -> {digest(b'other')[:12]}"
    ]
    (tmp_path / "a.onnx").unlink()
    assert again(tmp_path, DESKTOP).state == "valid", "an engine needs its source no more"
    (folder / "config.pbtxt").unlink()
    assert list(again(tmp_path, DESKTOP).reasons) == ["config.pbtxt is missing"]
    (folder / "1/model.plan").write_bytes(b"plan bytez")
    assert "the engine has changed since it was built" in again(tmp_path, DESKTOP).reasons
    write_report(folder, {**read_report(folder), "build_key": "0" * 64})
    assert "the record of the engine was changed" in again(tmp_path, DESKTOP).reasons


@pytest.mark.parametrize("damage", [{"identity": None}, {"identity": 5}, {"materials": 5}, {"engine": {}}], ids=str)
def test_a_damaged_record_is_never_a_good_engine(tmp_path: Path, damage: dict[str, Any]) -> None:
    judged(tmp_path, ON_DESKTOP, DESKTOP)
    folder = tmp_path / "models/seg"
    write_report(folder, {**read_report(folder), **damage})
    assert again(tmp_path, DESKTOP).state == "stale"
    (folder / "report.json").unlink()
    assert list(again(tmp_path, DESKTOP).reasons) == ["the engine has no record of what it was made from"]


def test_the_command_tells_and_its_status_serves_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from prepare_models.machine import facts

    judged(tmp_path, ON_DESKTOP, DESKTOP)
    now = here(facts.probe())
    expected = again(tmp_path, now)
    failing = {"valid": 0, "unchecked": 0, "stale": 1}[expected.state]
    assert main(["status", str(tmp_path / "models"), "--json"]) == failing
    document = json.loads(capsys.readouterr().out)
    assert document["summary"] == {**dict.fromkeys(("valid", "stale", "unchecked"), 0), expected.state: 1}
    assert document["models"] == [expected.to_dict()]
    assert document["here"]["machine"] == now.machine.arch
    (tmp_path / "models/seg/1/model.plan").write_bytes(b"")
    assert main(["status", str(tmp_path / "models")]) == 1
    assert "the engine has changed since it was built" in capsys.readouterr().out


def test_strict_wants_everything_compared(tmp_path: Path) -> None:
    # No machine has this backend, so a part of the comparison is always missing.
    never: Any = {**ON_DESKTOP, "backend": BackendInfo(name="tensorrt_of_tomorrow", version="99")}
    judged(tmp_path, never, DESKTOP)
    unchecked = again(tmp_path, replace(DESKTOP, versions={}))
    assert unchecked.state == "unchecked"
    assert main(["status", str(tmp_path / "models"), "--strict"]) == 1


def test_no_directory_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path / "none")]) == 2
    assert "is not a directory" in capsys.readouterr().err


def test_a_directory_without_any_engine_is_nothing_to_start_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["models"] == []
