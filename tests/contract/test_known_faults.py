"""What is known against versions of TensorRT: the table, and for which builds its rows hold."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prepare_models_entrypoint.contract import known_faults
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.job import ModelSettings
from prepare_models_entrypoint.contract.precision import PRECISIONS
from prepare_models_entrypoint.contract.shapes import ShapeRange

DYNAMIC = {"x": ShapeRange(min=(1, 3), opt=(2, 3), max=(4, 3))}


def runtime(version: str | None, capability: str = "", *, name: str = "tensorrt", **more: Any) -> RuntimeInfo:
    gpu = {
        "name": "a GPU",
        "compute_capability": capability,
        "driver": "580",
        "memory_bytes": 1,
        "index": 0,
        "uuid": "",
    }
    found: dict[str, Any] = {
        "backend": {"name": name, "version": version} if version else None,
        "gpu": gpu if capability else None,
        **more,
    }
    return found  # type: ignore[return-value]  # what the table looks at


def found(version: str, capability: str = "", **settings: Any) -> list[str]:
    told = known_faults.of_build(ModelSettings(**settings), runtime(version, capability))
    return [row.id for row in known_faults.table() if row.warning(version) in told]


@pytest.mark.parametrize("row", known_faults.table(), ids=lambda row: row.id)
def test_each_row_has_its_reference_and_can_hold(row: known_faults.Fault) -> None:
    assert all(re.match(r"https://(github\.com|docs\.nvidia\.com)/\S+$", each) for each in row.sources)
    assert all((row.sources, row.confirmed, row.hint))
    assert all(map(row.of_version, (row.first, row.last)))
    assert set(row.precisions) <= set(PRECISIONS)
    assert set(row.settings) <= set(BuilderConfig.__dataclass_fields__)
    assert all(row.warning("1")["message"].count(each) == 1 for each in row.sources)


def test_there_are_a_dozen_and_no_two_of_one_name() -> None:
    names = [row.id for row in known_faults.table()]
    assert len(set(names)) == len(names) >= 12


@pytest.mark.parametrize(
    ("expected", "version", "capability", "settings"),
    [
        (["transformers-dynamic-10.3"], "10.3.0", "8.7", {"inputs": DYNAMIC}),
        (["transformers-dynamic-10.3"], "10.3.0.30", "8.7", {"profiles": (DYNAMIC,)}),
        ([], "10.3.0", "8.7", {}),
        ([], "10.5.0", "8.7", {"inputs": DYNAMIC}),
        (["no-orin"], "10.13.3.9", "8.7", {}),
        ([], "10.13.3.9", "8.9", {}),
        ([], "10.16.1.11", "8.7", {}),
        (["fp16-thor"], "10.13.3", "11.0", {"precision": "fp16"}),
        (["fp16-thor"], "10.13.3", "11.0", {"precision": "auto"}),
        ([], "10.13.3", "11.0", {"precision": "fp32"}),
        (["dynamic-nan-8.6.0"], "8.6.0", "8.6", {"precision": "fp16", "inputs": DYNAMIC}),
        (["int8-kernel-scales"], "8.5.1", "8.6", {"precision": "int8"}),
        (["refit-bias"], "11.3.0.99", "8.9", {"builder": BuilderConfig(refit="all")}),
        ([], "11.3.0.99", "8.9", {"builder": BuilderConfig(refit="identical")}),
        (["no-dla"], "10.16.1", "8.7", {"builder": BuilderConfig(dla_core=0)}),
        ([], "11.4.1", "8.7", {"builder": BuilderConfig(dla_core=0)}),
        ([], "10.7.0", "", {"builder": BuilderConfig(dla_core=1), "precision": "fp16"}),
        (["no-dla-thor"], "11.4.1", "11.0", {"builder": BuilderConfig(dla_core=0)}),
    ],
)
def test_rows_hold_for_what_they_name(
    expected: list[str], version: str, capability: str, settings: dict[str, Any]
) -> None:
    assert [name for name in found(version, capability, **settings) if name != "attention-10.7"] == expected


def test_a_version_without_its_last_number_has_what_any_such_has() -> None:
    assert known_faults.of_version("10.16", ["8.7"])
    assert known_faults.of_version("10.17", ["8.7"]) == []


def test_tensorrt_rtx_and_no_backend_have_other_versions() -> None:
    for environment in (runtime("10.7.0", name="tensorrt_rtx"), runtime(None)):
        assert known_faults.of_build(ModelSettings(), environment) == []
    assert known_faults.of_build(ModelSettings(), runtime(None, library="10.7.0"))
