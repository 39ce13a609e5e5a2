"""Thirty models of all types, ranks and dynamic patterns: Triton's own parser reads back the engine's I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2 as triton_pb2

from prepare_models_entrypoint.consumers.triton import files as triton
from prepare_models_entrypoint.consumers.triton.tensors import TYPES
from prepare_models_entrypoint.contract.report import Binding, ProfileShapes
from tests import networks
from tests.command import Workplace

DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}
# Which axes of a shape are dynamic.
PATTERNS: dict[str, Callable[[int], set[int]]] = {
    "static": lambda rank: set(),
    "first": lambda rank: {0},
    "last": lambda rank: {rank - 1},
    "all": lambda rank: set(range(rank)),
    "ends": lambda rank: {0, rank - 1},
}
NAMES = ("input:0", "tensor/with/slashes", "name with blanks", "größe", 'quote" and \\ backslash')


@dataclass(frozen=True)
class Case:
    number: int

    @property
    def dtype(self) -> str:
        return list(DTYPES)[self.number % len(DTYPES)]

    @property
    def shape(self) -> list[int]:
        rank = self.number % 6
        dynamic = PATTERNS[list(PATTERNS)[self.number % 5]](rank)
        return [-1 if axis in dynamic else axis + 2 for axis in range(rank)]

    @property
    def names(self) -> tuple[str, str]:
        return NAMES[self.number % len(NAMES)], f"output_{self.number}"

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model and return its entry in the manifest."""
        dims = [f"d{axis}" if size == -1 else size for axis, size in enumerate(self.shape)]
        source, target = self.names
        ends = [(name, DTYPES[self.dtype], dims) for name in (source, target)]
        operator = "Neg" if self.dtype.startswith("float") else "Identity"
        networks.save(
            folder / f"m{self.number}.onnx", [helper.make_node(operator, [source], [target])], ends[:1], ends[1:]
        )
        entry: dict[str, Any] = {"name": f"m{self.number}", "source": f"m{self.number}.onnx"}
        if -1 in self.shape:
            profile = {key: "x".join(map(str, self.sized(size))) for key, size in (("min", 1), ("opt", 2), ("max", 4))}
            entry["inputs"] = {source: profile}
        return entry

    def sized(self, size: int) -> list[int]:
        return [size if dim == -1 else dim for dim in self.shape]

    def record(self) -> list[Binding]:
        """Return the bindings that an engine of this model has, for types that this backend has no layer for."""
        profile = ProfileShapes(min=self.sized(1), opt=self.sized(2), max=self.sized(4))
        modes = zip(self.names, ("input", "output"), strict=True)
        return [
            Binding(
                name=name, mode=mode, dtype=self.dtype, shape=self.shape,
                profiles=[profile] if mode == "input" else [], source="network",
            )
            for name, mode in modes
        ]  # fmt: skip


CASES = [Case(number) for number in range(30)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The reports of those models of which TensorRT-RTX builds an engine, with their config.pbtxt."""
    place = Workplace(tmp_path_factory.mktemp("property"))
    place.write(*(case.save(place.folder) for case in CASES))
    reports = {report["name"]: report for report in place.run().report["models"] if report["status"] == "built"}
    for name, report in reports.items():
        report["config"] = (place.models_dir / name / "config.pbtxt").read_text(encoding="utf-8")
    return reports


def test_real_engines_are_among_them(built: dict[str, dict[str, Any]]) -> None:
    assert len(built) >= 15
    assert len({report["io"][0]["dtype"] for report in built.values()}) >= 4


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}-{case.dtype}-{case.shape}")
def test_triton_reads_back_what_the_engine_has(case: Case, built: dict[str, dict[str, Any]]) -> None:
    report = built.get(f"m{case.number}")
    io = report["io"] if report else case.record()
    text = report["config"] if report else triton.config(f"m{case.number}", io)
    config = text_format.Parse(text, triton_pb2.ModelConfig())
    assert text_format.Parse(text_format.MessageToString(config), triton_pb2.ModelConfig()) == config
    assert (config.name, config.platform) == (f"m{case.number}", "tensorrt_plan")
    assert config.default_model_filename == "model.plan"
    assert config.version_policy.latest.num_versions == 1
    assert [tensor.name for tensor in config.input] == [case.names[0]]
    assert [tensor.name for tensor in config.output] == [case.names[1]]
    expected = triton_pb2.DataType.Value(TYPES[case.dtype])
    for tensor in (*config.input, *config.output):
        assert tensor.data_type == expected
        assert requested(config, tensor) == case.shape


def requested(config: Any, tensor: Any) -> list[int]:
    """Return the shape that the engine is given: Triton puts the batch before the dimensions, and reshapes."""
    dims = list(tensor.reshape.shape) if tensor.HasField("reshape") else list(tensor.dims)
    return ([-1] if config.max_batch_size else []) + dims


def test_the_types_are_all_that_triton_and_tensorrt_share() -> None:
    assert set(DTYPES) == set(TYPES)


def test_batching_is_on_where_the_first_dimension_is_a_batch(built: dict[str, dict[str, Any]]) -> None:
    batched = {case.number for case in CASES if case.shape[:1] == [-1] and len(case.shape) > 1}
    for case in CASES:
        io = built[f"m{case.number}"]["io"] if f"m{case.number}" in built else case.record()
        assert triton.max_batch_size(io) == (4 if case.number in batched else 0)
    assert len(batched) >= 5
