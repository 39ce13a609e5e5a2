"""A builder option is one row: everything that handles options takes one more of them from the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from prepare_models.manifest.nodes import Problems, parse
from prepare_models.manifest.readers import Reader
from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.kinds import Integer
from prepare_models_entrypoint.contract.settings import record_schema, setting
from prepare_models_entrypoint.converters import options, settings, trtexec
from prepare_models_entrypoint.errors import ConvertError


class Toy(BuilderConfig):
    """TensorRT's builder with one more option."""

    tiling_level: int | None = setting(
        Integer("a level from 0 to 3", 0, 3), "how much tiling is tried", attribute="tiling_optimization_level",
        enumeration="TilingOptimizationLevel", members={0: "NONE", 1: "FAST", 2: "MODERATE", 3: "FULL"},
        trtexec="tilingOptimizationLevel={}", since=(10, 9), rtx="TensorRT-RTX does not tile",
    )  # fmt: skip


class Missing(BuilderConfig):
    """An option that this TensorRT lacks."""

    other_level: int | None = setting(Integer("a level", 0, 3), "of something newer", attribute="other_level")


def read(tmp_path: Path, text: str) -> tuple[Toy | None, list[str]]:
    file = tmp_path / "builder.yaml"
    problems = Problems(file)
    found = Reader(tmp_path, problems).record(Toy, parse(text, problems))
    return found, [f"{each.line}: {each.path}: {each.message}" for each in problems.found]


def test_a_manifest_has_it(tmp_path: Path) -> None:
    assert read(tmp_path, "workspace: 1KiB\ntiling_level: 2\n") == (Toy(workspace_bytes=1024, tiling_level=2), [])
    assert read(tmp_path, "tf32: true\ntiling_level: 4\n")[1] == [
        "2: tiling_level: expected a level from 0 to 3, found '4'"
    ]
    assert "did you mean 'tiling_level'?" in read(tmp_path, "tilling_level: 2\n")[1][0]


def test_a_job_carries_it_and_records_without_it_stay_as_they_are() -> None:
    assert Toy.from_dict(json.loads(json.dumps(Toy(tiling_level=1).to_dict()))) == Toy(tiling_level=1)
    assert Toy(tf32=True).to_dict() == BuilderConfig(tf32=True).to_dict()
    with pytest.raises(ContractError, match="tiling_level"):
        Toy.from_dict({"tiling_level": "1"})


def test_the_schema_has_it() -> None:
    validator = jsonschema.Draft202012Validator({**record_schema(Toy), "$defs": {"variable": False, "text": True}})
    assert validator.is_valid({"tiling_level": 3})
    assert not validator.is_valid({"tiling_level": 4})


def test_programs_and_versions_know_it() -> None:
    asked = Toy(tiling_level=3)
    assert "--tilingOptimizationLevel=3" in trtexec.command("m.onnx", "m.plan", profiles=[], builder=asked)
    options.check(asked, "tensorrt", "10.9.0", precision="fp16", has_gpu=True)
    for backend, version, why in (("tensorrt", "10.3.0", "from TensorRT 10.9 on"), ("tensorrt_rtx", "1.4", "not tile")):
        with pytest.raises(ConvertError, match=rf"builder\.tiling_level: .*{why}"):
            options.check(asked, backend, version, precision="fp16", has_gpu=True)
    with pytest.raises(ConvertError, match=r"builder\.tiling_level: tao-converter has no option"):
        options.check_tao(asked)


def test_tensorrt_gets_it() -> None:
    trt: Any = pytest.importorskip("tensorrt_rtx")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    config, network = builder.create_builder_config(), builder.create_network()
    settings.apply(trt, config, network, Toy(tiling_level=1), ())
    assert config.tiling_optimization_level == trt.TilingOptimizationLevel.FAST
    no_such = Missing(other_level=1)
    with pytest.raises(ConvertError, match=r"does not know builder\.other_level"):
        settings.apply(trt, config, network, no_such, ())
