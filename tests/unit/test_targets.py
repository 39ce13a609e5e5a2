"""Targets of a manifest: which pairs there are, and where each is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prepare_models import errors
from prepare_models.farm.member import Introduction, Member, runtime_of
from prepare_models.manifest.load import of_value
from prepare_models.options import FarmOptions
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.identity import device_class


def runtime(name: str, version: str, capability: str | None = None) -> RuntimeInfo:
    gpu = {"name": "Orin", "compute_capability": capability, "driver": None, "cuda_version": "12.6"}
    backend = {"name": name, "version": version}
    found: Any = {"python": "3.12", "machine": "aarch64", "backend": backend, "gpu": capability and gpu}
    info: RuntimeInfo = found | {"gpu_reason": None}
    return info


ORIN = runtime("tensorrt", "10.3.0.30", "8.7")


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (ORIN, "sm_87/trt10.3"),
        (runtime("tensorrt_rtx", "1.7.1.116"), "portable/rtx1.7"),
        (runtime("tensorrt", "10.3.0"), None),
        ({**ORIN, "backend": None}, None),
        ({**ORIN, "backend": None, "programs": {"trtexec": "0" * 16}, "library": "8.6.1.6"}, "sm_87/trt8.6"),
    ],
)
def test_a_device_class_has_the_capability_and_the_release(found: RuntimeInfo, named: str | None) -> None:
    assert device_class(found) == named


@pytest.mark.parametrize(
    ("targets", "of_model", "problem"),
    [
        ({}, [], "targets: expected names with their device classes"),
        ({"Orin": "a"}, ["Orin"], "'Orin' can't be the name of a target"),
        ({"report.json": "a"}, ["report.json"], "'report.json' can't be the name of a target"),
        ({"orin": "../a"}, ["orin"], "targets.orin: expected a device class"),
        ({"orin": "sm_87/trt10.3"}, ["rtx"], "'rtx' is not under targets: of the manifest, which has orin"),
    ],
)
def test_targets_that_cannot_be_are_refused(targets: dict[str, str], of_model: list[str], problem: str) -> None:
    model = {"name": "net", "source": "net.onnx", **({"targets": of_model} if of_model else {})}
    with pytest.raises(errors.ManifestError) as refused:
        of_value({"version": 1, "targets": targets, "models": [model]})
    assert problem in str(refused.value)


def test_workers_of_a_class_that_would_build_different_engines_are_refused() -> None:
    def member(name: str, found: RuntimeInfo) -> Member:
        return Member(name, Introduction(device="orin", tool="1", distributed="2", runtime=found))

    same: RuntimeInfo = {**ORIN, "python": "3.10"}
    assert runtime_of("orin", [member("a", ORIN), member("b", same)]) == ORIN
    newer = runtime("tensorrt", "10.3.1", "8.7")
    with pytest.raises(errors.FarmError, match=r"a and b, both of orin, .*backend: .*10\.3\.0\.30.* and .*10\.3\.1"):
        runtime_of("orin", [member("a", ORIN), member("b", newer)])


@pytest.mark.parametrize(
    "scheduler", ["build:8786", "tcp://build", "http://127.0.0.1:1", "tcp://127.0.0.1:x", "tcp://[::1:1", ""]
)
def test_what_is_not_an_address_is_refused(scheduler: str) -> None:
    with pytest.raises(errors.UsageError, match="not the address of a scheduler"):
        FarmOptions(scheduler).address()


def test_tls_needs_certificates_and_plain_tcp_stays_here(tmp_path: Path) -> None:
    for here in ("tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"):
        assert FarmOptions(here).address() == here
    for beyond in ("tcp://127.0.0.1.example:8786", "tcp://10.0.0.1:8786", "tcp://0.0.0.0:8786"):
        with pytest.raises(errors.UsageError, match="without TLS"):
            FarmOptions(beyond).address()
        assert FarmOptions(beyond, insecure=True).address() == beyond
    with pytest.raises(errors.UsageError, match="needs certificates"):
        FarmOptions("tls://10.0.0.1:8786").address()
    pem = tmp_path / "x.pem"
    pem.touch()
    assert FarmOptions("tls://10.0.0.1:8786", pem, pem, pem).address()
    with pytest.raises(errors.UsageError, match="has no TLS"):
        FarmOptions("tcp://127.0.0.1:8786", pem, pem, pem).address()
