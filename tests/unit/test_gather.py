"""``gather``: engines of several machines become one repository, which Triton would load on each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.report import Binding
from tests.command import Workplace
from tests.entrypoint.model_folders import record, tensor

from .records import RUNTIME

IO = [
    tensor("images", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (4, 3, 8, 8))),
    tensor("output0", "output", (-1, 5)),
]


def machine(root: Path, capability: str | None, io: list[Binding] = IO, plan: bytes = b"") -> Path:
    """Write what ``run`` leaves on a machine: a model with its record."""
    plan = plan or f"engine of {capability}".encode()
    gpu = {"name": "a GPU", "compute_capability": capability, "driver": "580", "cuda_version": "13.0"}
    runtime: RuntimeInfo = {**RUNTIME, "gpu": gpu if capability else None}  # type: ignore[typeddict-item]  # of a test
    (root / "people" / "1").mkdir(parents=True)
    (root / "people" / "1" / "model.plan").write_bytes(plan)
    report = record(io, plan, "people", runtime=runtime)
    (root / "people" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return root


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def gathered(place: Workplace, *machines: Path) -> tuple[int, dict[str, Any]]:
    done = place.call("gather", *map(str, machines), "--output", "repository", "--json")
    return done.status, json.loads(done.stdout)


def test_each_gpu_has_its_engine_and_no_other_has_one(place: Workplace) -> None:
    machines = [machine(place.folder / name, capability) for name, capability in (("a", "8.7"), ("b", "8.9"))]
    status, document = gathered(place, *machines)
    assert status == 0
    assert document["models"][0]["engines"] == {"8.7": "sm87.plan", "8.9": "sm89.plan"}
    model = place.folder / "repository" / "people"
    assert (model / "1" / "sm87.plan").read_bytes() == b"engine of 8.7"
    assert (model / "1" / "sm89.plan").read_bytes() == b"engine of 8.9"
    config = text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert dict(config.cc_model_filenames) == {"8.7": "sm87.plan", "8.9": "sm89.plan"}
    assert (config.default_model_filename, config.max_batch_size) == ("", 4)
    linted = place.call("lint", "repository", "--consumer", "triton")
    assert linted.status == 0, linted.stdout


def test_every_engine_of_the_repository_is_compared(place: Workplace) -> None:
    machines = [machine(place.folder / name, capability) for name, capability in (("a", "8.7"), ("b", "8.9"))]
    gathered(place, *machines)
    config = place.folder / "repository" / "people" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [5]", "dims: [6]"))
    assert "triton-dims" in place.call("lint", "repository", "--consumer", "triton").stdout
    config.write_text(config.read_text().replace("dims: [6]", "dims: [5]"))
    (place.folder / "repository" / "people" / "1" / "sm89.plan").unlink()
    assert "triton-plan" in place.call("lint", "repository", "--consumer", "triton").stdout


@pytest.mark.parametrize(
    ("capability", "io", "part"),
    [
        ("8.7", IO, "are both for compute capability 8.7"),
        ("8.9", [IO[0], tensor("output0", "output", (-1, 6))], "inputs and outputs of"),
        (None, IO, "names no GPU"),
    ],
)
def test_engines_that_do_not_go_together_are_refused(
    place: Workplace, capability: str | None, io: list[Binding], part: str
) -> None:
    first, second = machine(place.folder / "a", "8.7"), machine(place.folder / "b", capability, io, b"another")
    status, document = gathered(place, first, second)
    assert status == 1
    assert part in document["models"][0]["error"]["message"]
    assert not (place.folder / "repository" / "people").exists()


def test_a_directory_that_is_none_is_told(place: Workplace) -> None:
    done = place.call("gather", "nowhere", "--output", "repository")
    assert done.status == 1
    assert "nowhere is not a directory" in done.stderr
