"""The trtexec command line that repeats a conversion."""

from __future__ import annotations

from typing import Dict, List

import pytest

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.report import ProfileShapes
from prepare_models_entrypoint.converters.trtexec import command

START = ["trtexec", "--onnx=m.onnx", "--saveEngine=m.plan"]
MIB = 1 << 20


def shapes(low: List[int], mid: List[int], high: List[int]) -> ProfileShapes:
    return ProfileShapes(min=low, opt=mid, max=high)


STATIC = {"input_2:0": shapes([1, 3, 8, 8], [1, 3, 8, 8], [1, 3, 8, 8])}


def argv(
    profile: Dict[str, ProfileShapes], builder: BuilderConfig = BuilderConfig(), flags: "tuple[str, ...]" = ()
) -> List[str]:
    return command("m.onnx", "m.plan", profiles=[profile], builder=builder, precision_flags=flags)


def test_a_static_model_needs_no_shapes() -> None:
    assert argv(STATIC) == [*START]


def test_a_dynamic_model_names_all_of_its_inputs() -> None:
    profile = {"x": shapes([1, 3], [2, 3], [8, 3]), "n": shapes([1], [1], [1])}
    assert argv(profile) == [
        *START,
        "--minShapes=x:1x3,n:1",
        "--optShapes=x:2x3,n:1",
        "--maxShapes=x:8x3,n:1",
    ]


def test_a_name_with_a_colon_is_quoted_for_trtexec() -> None:
    line = argv({"input_1:0": shapes([1, 3], [1, 3], [4, 3])})
    assert "--optShapes='input_1:0':1x3" in line


def test_builder_options_and_precision_come_along() -> None:
    builder = BuilderConfig(workspace_bytes=512 * MIB, optimization_level=0, tf32=False)
    assert argv(STATIC, builder, ("--fp16",)) == [
        *START,
        "--fp16",
        "--memPoolSize=workspace:512M",
        "--builderOptimizationLevel=0",
        "--noTF32",
    ]


def test_tf32_is_trtexecs_default() -> None:
    assert argv(STATIC, BuilderConfig(tf32=True)) == argv(STATIC)


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (MIB, "1M"),
        (MIB // 2, "0.5M"),
        (10**9, "953.67431640625M"),
        (MIB << 20, "1048576M"),
        (1234567 * MIB, "1234567M"),
    ],
)
def test_the_workspace_is_written_exactly(size: int, written: str) -> None:
    assert f"--memPoolSize=workspace:{written}" in argv(STATIC, BuilderConfig(workspace_bytes=size))
