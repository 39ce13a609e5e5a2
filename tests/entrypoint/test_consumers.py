"""The texts for Triton and Isaac ROS, from an engine's bindings."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence

import pytest

from prepare_models_entrypoint.contract.report import Binding
from prepare_models_entrypoint.errors import InspectError
from prepare_models_entrypoint.inspect.consumers import isaac_ros, triton


def binding(name: str, mode: str, dtype: str = "float32", shape: Sequence[int] = (1, 3)) -> Binding:
    return Binding(name=name, mode=mode, dtype=dtype, shape=list(shape), profiles=[], source="engine")


SEGMENTATION = [
    binding("input_2:0", "input", shape=(1, 3, 544, 960)),
    binding("argmax_1", "output", "int32", (1, 544, 960, 1)),
]
STEREO = [
    binding("left/image", "input"),
    binding('the "right"', "input"),
    binding("a", "output"),
    binding("b", "output"),
]


def test_triton_reads_names_types_and_whole_shapes() -> None:
    assert triton.config("peoplesemsegnet", SEGMENTATION) == (
        'name: "peoplesemsegnet"\n'
        'platform: "tensorrt_plan"\n'
        'default_model_filename: "model.plan"\n'
        "max_batch_size: 0\n"
        "input {\n"
        '  name: "input_2:0"\n'
        "  data_type: TYPE_FP32\n"
        "  dims: [1, 3, 544, 960]\n"
        "}\n"
        "output {\n"
        '  name: "argmax_1"\n'
        "  data_type: TYPE_INT32\n"
        "  dims: [1, 544, 960, 1]\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("dtype", "named"),
    [
        ("float32", "TYPE_FP32"),
        ("float16", "TYPE_FP16"),
        ("bfloat16", "TYPE_BF16"),
        ("int8", "TYPE_INT8"),
        ("int32", "TYPE_INT32"),
        ("int64", "TYPE_INT64"),
        ("uint8", "TYPE_UINT8"),
        ("bool", "TYPE_BOOL"),
    ],
)
def test_every_type_that_triton_serves_is_named(dtype: str, named: str) -> None:
    assert f"  data_type: {named}\n" in triton.config("m", [binding("x", "input", dtype)])


def test_no_type_is_left_out_of_this_test() -> None:
    assert len(triton.DTYPES) == 8


@pytest.mark.parametrize("dtype", ["float8", "int4", "float4", "fp6"])
def test_a_type_that_triton_can_not_serve_is_refused(dtype: str) -> None:
    with pytest.raises(InspectError, match=f"output 'y' has the type {dtype}") as caught:
        triton.config("m", [binding("y", "output", dtype)])
    assert caught.value.code == "engine-unusable"


def test_a_dynamic_dimension_stays_dynamic() -> None:
    assert "  dims: [-1, 3, -1, 960]\n" in triton.config("m", [binding("x", "input", shape=(-1, 3, -1, 960))])


def test_a_scalar_is_declared_as_one_element_and_reshaped() -> None:
    text = triton.config("m", [binding("threshold", "input", shape=())])
    assert "  dims: [1]\n  reshape { shape: [] }\n}" in text
    assert "reshape" not in triton.config("m", SEGMENTATION)


def test_a_name_with_quotes_is_escaped() -> None:
    assert '  name: "the \\"right\\""\n' in triton.config("m", STEREO)


def parsed(text: str) -> Dict[str, Dict[str, Any]]:
    """Read the parameter file: a comment, then for each node two headings and ``key: JSON`` lines."""
    nodes: Dict[str, Dict[str, Any]] = {}
    node = ""
    lines: List[str] = text.splitlines()
    assert lines[0].startswith("# ")
    for line in lines[1:]:
        if not line.startswith(" "):
            node = line.rstrip(":")
            nodes[node] = {}
        elif line.startswith("    "):
            key, _, value = line.strip().partition(": ")
            nodes[node][key] = json.loads(value)
        else:
            assert line == "  ros__parameters:"
    return nodes


def test_isaac_ros_gets_the_engines_bindings_and_paths() -> None:
    names = {
        "input_tensor_names": ["input_tensor"],
        "input_binding_names": ["input_2:0"],
        "output_tensor_names": ["output_tensor"],
        "output_binding_names": ["argmax_1"],
    }
    assert parsed(isaac_ros.parameters("seg", "/models/seg", SEGMENTATION)) == {
        "tensor_rt": {"engine_file_path": "/models/seg/1/model.plan", "force_engine_update": False, **names},
        "triton": {"model_name": "seg", "model_repository_paths": ["/models"], "max_batch_size": 0, **names},
    }


def test_several_inputs_keep_their_own_names_in_order() -> None:
    node = parsed(isaac_ros.parameters("stereo", "/models/stereo", STEREO))["tensor_rt"]
    assert node["input_tensor_names"] == node["input_binding_names"] == ["left/image", 'the "right"']
    assert node["output_tensor_names"] == node["output_binding_names"] == ["a", "b"]
