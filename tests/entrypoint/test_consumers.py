"""The texts for Triton and Isaac ROS, from an engine's bindings."""

from __future__ import annotations

import ast
import configparser
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import pytest

from prepare_models_entrypoint.consumers.deepstream import files as deepstream
from prepare_models_entrypoint.consumers.deepstream.rules import CONSUMER
from prepare_models_entrypoint.consumers.isaac_ros import files as isaac_ros
from prepare_models_entrypoint.consumers.isaac_ros.releases import RELEASES, Release, release
from prepare_models_entrypoint.consumers.triton import files as triton
from prepare_models_entrypoint.consumers.triton.tensors import TYPES
from prepare_models_entrypoint.consumers.triton.text_format import quoted
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.deployment import DeepStreamConfig
from prepare_models_entrypoint.contract.report import Binding, ModelReport, ProfileShapes, blank
from prepare_models_entrypoint.errors import InspectError

from ..doubles import launch_double
from .model_folders import Repository, record, tensor


def binding(name: str, mode: str, dtype: str = "float32", shape: Sequence[int] = (1, 3)) -> Binding:
    return Binding(name=name, mode=mode, dtype=dtype, shape=list(shape), profiles=[], source="engine")


SEGMENTATION = [
    binding("input_2:0", "input", shape=(1, 3, 544, 960)),
    binding("argmax_1", "output", "int32", (1, 544, 960, 1)),
]
R46: Release = release("4.6")
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
        "version_policy { latest { num_versions: 1 } }\n"
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


def ranged(name: str, shape: Sequence[int], *ranges: "tuple[int, int]") -> Binding:
    """Return an input whose dynamic dimensions go from the first to the second number of each profile."""

    def sized(size: int) -> List[int]:
        return [size if dim == -1 else dim for dim in shape]

    profiles = [ProfileShapes(min=sized(low), opt=sized(low), max=sized(high)) for low, high in ranges]
    return {**binding(name, "input", shape=shape), "profiles": profiles}


BATCHED = [ranged("x", (-1, 3, 8), (1, 16)), binding("y", "output", shape=(-1, 5))]


def test_a_batch_is_left_out_of_the_shapes_and_gathered() -> None:
    text = triton.config("m", BATCHED)
    assert "max_batch_size: 16\n" in text
    assert "dynamic_batching { }\n" in text
    assert "  dims: [3, 8]\n" in text
    assert "  dims: [5]\n" in text


@pytest.mark.parametrize(
    "bindings",
    [
        [ranged("x", (-1, 3), (1, 16)), binding("y", "output", shape=(1, 5))],
        [ranged("x", (-1,), (1, 16)), binding("y", "output", shape=(-1,))],  # a list of any length
        [ranged("x", (-1, 3), (2, 16)), binding("y", "output", shape=(-1, 5))],
        [ranged("x", (-1, 3), (1, 1)), binding("y", "output", shape=(-1, 5))],
        [ranged("x", (-1, 3), (1, 4)), ranged("z", (-1, 3), (1, 8)), binding("y", "output", shape=(-1, 5))],
        [binding("x", "input", shape=(-1, 3)), binding("y", "output", shape=(-1, 5))],
    ],
)
def test_what_is_no_batch_is_not_gathered(bindings: "list[Binding]") -> None:
    text = triton.config("m", bindings)
    assert "max_batch_size: 0\n" in text
    assert "dynamic_batching" not in text
    assert "dims: [-1" in text


def test_a_number_for_each_of_a_batch_is_gathered_too() -> None:
    bindings = [ranged("x", (-1, 3), (1, 16)), ranged("t", (-1,), (1, 16)), binding("y", "output", shape=(-1,))]
    text = triton.config("m", bindings)
    assert "max_batch_size: 16\n" in text
    assert text.count("  dims: [1]\n  reshape { shape: [] }\n}") == 2


def test_a_warm_up_is_of_the_shapes_that_the_engine_is_fastest_for() -> None:
    sized = ProfileShapes(min=[1, 3, 8], opt=[4, 3, 16], max=[16, 3, 32])
    known: Binding = {**binding("x", "input", shape=(-1, 3, -1)), "profiles": [sized]}
    bindings = [known, binding("y", "output", shape=(-1, 5))]
    value = 'key: "x" value { data_type: TYPE_FP32 dims: [3, 16] zero_data: true }'
    assert f"  inputs {{ {value} }}\n}}\n" in triton.config("m", bindings, warmup=True)
    assert "model_warmup" not in triton.config("m", bindings)
    unknown = [binding("x", "input", shape=(-1, 3)), *bindings[1:]]
    assert "model_warmup" not in triton.config("m", unknown, warmup=True)


def test_every_profile_is_used() -> None:
    text = triton.config("m", [ranged("x", (-1, 3), (1, 4), (4, 16)), binding("y", "output", shape=(-1, 5))])
    assert 'instance_group { count: 1 kind: KIND_GPU profile: "0" profile: "1" }\n' in text
    assert "max_batch_size: 16\n" in text


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
    assert len(TYPES) == 8


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


def test_a_name_of_any_letters_is_escaped() -> None:
    assert '  name: "the \\042right\\042"\n' in triton.config("m", STEREO)
    assert quoted("größe\\") == '"gr\\303\\266\\303\\237e\\134"'


def report_of(bindings: "list[Binding]", name: str = "seg", **changes: Any) -> ModelReport:
    report = blank(name, "a.onnx", precision="fp32", converter="auto")
    report["io"] = bindings
    report.update(changes)  # type: ignore[typeddict-item]  # keys of a report, by the test that gives them
    return report


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
    report = report_of(SEGMENTATION, builder={"workspace_bytes": 64 << 30})  # a backend's default
    assert parsed(isaac_ros.parameters(report, "/models/seg", R46)) == {
        "tensor_rt": {
            "engine_file_path": "/models/seg/1/model.plan",
            "force_engine_update": False,
            "max_workspace_size": 1 << 30,
            "max_batch_size": 1,
            **names,
        },
        "triton": {"model_name": "seg", "model_repository_paths": ["/models"], "max_batch_size": 0, **names},
    }


def test_isaac_ros_gets_the_builders_settings() -> None:
    report = report_of(
        BATCHED,
        builder={"workspace_bytes": 64 << 30},
        identity={"builder": {"workspace_bytes": 512 << 20, "dla_core": 1}},
    )
    nodes = parsed(isaac_ros.parameters(report, "/models/seg", R46))
    assert (nodes["tensor_rt"]["max_workspace_size"], nodes["tensor_rt"]["dla_core"]) == (512 << 20, 1)
    assert nodes["tensor_rt"]["max_batch_size"] == nodes["triton"]["max_batch_size"] == 16


def test_the_plugin_library_of_an_engine_is_loaded_by_the_node() -> None:
    def library(*plugins: str) -> Any:
        return isaac_ros.nodes(report_of(STEREO, plugins=list(plugins)), "/models/seg", R46)["tensor_rt"].get(
            "custom_plugin_lib"
        )

    assert library("/opt/libnms.so") == "/opt/libnms.so"
    assert library() is library("/opt/a.so", "/opt/b.so") is None  # the node takes one; lint tells of the others


def test_names_for_ros_stand_beside_the_bindings_in_their_order() -> None:
    names = {"input_tensor_names": ["l", "r"], "output_tensor_names": ["a", "b"]}
    node = parsed(isaac_ros.parameters(report_of(STEREO, tensor_names=names), "/models/stereo", R46))["tensor_rt"]
    assert node["input_tensor_names"] == ["l", "r"]
    assert node["input_binding_names"] == ["left/image", 'the "right"']
    assert node["output_tensor_names"] == node["output_binding_names"] == ["a", "b"]


@pytest.mark.parametrize("name", RELEASES)
def test_every_parameter_is_one_that_its_node_declares_and_of_its_type(name: str) -> None:
    report = report_of(STEREO, identity={"builder": {"dla_core": 0}}, plugins=["/opt/libnms.so"])
    for node, values in isaac_ros.nodes(report, "/models/stereo", release(name)).items():
        declared = release(name).nodes[node].parameters
        assert all(declared[key].takes(value) for key, value in values.items())
        assert len(values) >= 7


def test_the_defaults_are_those_of_isaac_ros() -> None:
    tensor_rt = R46.nodes["tensor_rt"].parameters
    assert tensor_rt["force_engine_update"].default is True
    assert (tensor_rt["max_workspace_size"].default, tensor_rt["max_workspace_size"].unit) == (67108864, "bytes")
    assert [tensor_rt[name].default for name in ("max_batch_size", "dla_core", "enable_fp16")] == [1, -1, True]
    assert R46.nodes["triton"].parameters["max_batch_size"].default == 8


def test_the_launch_file_compiles_and_holds_the_same_parameters() -> None:
    report = report_of(STEREO, "stereo")
    module = ast.parse(isaac_ros.launch(report, "/models/stereo", R46))
    compile(module, "isaac_ros.launch.py", "exec")
    assigned = {
        node.targets[0].id: ast.literal_eval(node.value)  # type: ignore[attr-defined]  # all are plain names
        for node in module.body
        if isinstance(node, ast.Assign)
    }
    values = isaac_ros.nodes(report, "/models/stereo", R46)
    assert assigned == {"TENSOR_RT": values["tensor_rt"], "TRITON": values["triton"]}
    assert "generate_launch_description" in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


def test_the_launch_file_describes_both_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    launch_double.install(monkeypatch)
    namespace: Dict[str, Any] = {}
    exec(isaac_ros.launch(report_of(STEREO, "stereo"), "/models/stereo", R46), namespace)
    argument, *containers = namespace["generate_launch_description"]().entities
    assert (argument.name, argument.choices) == ("node", ["tensor_rt", "triton"])
    plugins = [container.nodes[0].plugin for container in containers]
    assert plugins == [f"nvidia::isaac_ros::dnn_inference::{name}" for name in ("TensorRTNode", "TritonNode")]
    assert [container.condition("triton") for container in containers] == [False, True]
    assert [container.condition("tensor_rt") for container in containers] == [True, False]


def deepstream_of(*bindings: Binding, **changes: Any) -> Optional[str]:
    return deepstream.config(report_of(list(bindings), **changes), "/models/seg")


def test_deepstream_gets_what_the_bindings_tell() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(deepstream_of(*SEGMENTATION) or "")
    assert dict(parser["property"]) == {
        "gpu-id": "0",
        "gie-unique-id": "1",
        "model-engine-file": "/models/seg/1/model.plan",
        "batch-size": "1",
        "network-mode": "0",
        "network-type": "100",
        "output-tensor-meta": "1",
        "network-input-order": "0",
        "model-color-format": "0",
        "output-blob-names": "argmax_1",
    }


@pytest.mark.parametrize(
    ("shape", "lines"),
    [
        ((1, 480, 640, 3), ("network-input-order=1", "model-color-format=0")),
        ((4, 1, 32, 32), ("network-input-order=0", "model-color-format=2", "batch-size=4")),
    ],
)
def test_deepstream_knows_order_and_colours(shape: Sequence[int], lines: "tuple[str, ...]") -> None:
    text = deepstream_of(binding("x", "input", shape=shape), binding("y", "output"))
    assert text is not None
    assert set(lines) <= set(text.splitlines())


def test_deepstream_gets_the_largest_batch_of_the_profiles() -> None:
    text = deepstream_of(ranged("x", (-1, 3, 8, 8), (1, 16)), binding("y", "output"))
    assert text is not None
    assert "batch-size=16" in text.splitlines()


@pytest.mark.parametrize(
    ("shape", "opt", "expected"),
    [((-1, 3, -1, -1), [2, 3, 8, 16], "3;8;16"), ((1, -1, -1, 3), [1, 8, 16, 3], "3;8;16")],
)
def test_deepstream_gets_height_and_width_where_the_engine_takes_any(
    shape: Sequence[int], opt: List[int], expected: str
) -> None:
    profile = ProfileShapes(min=[1, *opt[1:]], opt=opt, max=opt)
    text = deepstream_of({**binding("x", "input", shape=shape), "profiles": [profile]}, binding("y", "output"))
    assert text is not None
    assert f"infer-dims={expected}" in text.splitlines()
    fixed = deepstream_of(binding("x", "input", shape=(1, 3, 8, 8)), binding("y", "output"))
    assert "infer-dims" not in (fixed or "")


def test_a_directory_of_several_lines_is_in_no_line_of_deepstreams() -> None:
    report = report_of([binding("x", "input", shape=(1, 3, 8, 8)), binding("y", "output")])
    assert deepstream.config(report, "/models\ncustom-lib-path=/tmp/evil.so/seg") is None


@pytest.mark.parametrize(
    "bindings",
    [
        STEREO,
        [binding("x", "input", shape=(1, 3, 8, 8)), binding("y\ncustom-lib-path=/tmp/evil.so", "output")],
        [binding("x", "input", shape=(1, 3, 8, 8)), binding("y\\", "output")],
        [binding("x", "input", "int8", (1, 3, 8, 8))],
        [binding("x", "input", shape=(1, 3))],
        [binding("x", "input", shape=(1, 2, 8, 8))],
        [binding("x", "input", shape=(1, 3, 8, 8)), binding("a;b", "output")],
    ],
)
def test_what_deepstream_can_not_feed_gets_no_file(bindings: "list[Binding]") -> None:
    assert deepstream_of(*bindings) is None


def test_what_a_manifest_says_of_deepstream_is_carried(tmp_path: Path) -> None:
    config = DeepStreamConfig.from_dict(
        {
            "labels": ["Person", "Bag"],
            "properties": {"network-type": 0, "net-scale-factor": 0.5, "parse-bbox-func-name": "Parse"},
            "classes": {"pre-cluster-threshold": 0.4},
        }
    )
    io = [tensor("x", "input", (-1, 3, 8, 8), "float32", ((1, 3, 8, 8), (4, 3, 8, 8))), tensor("y", "output", (-1, 2))]
    deployment: "dict[str, object]" = {
        "deploy_dir": None,
        "consumers": [],
        "warmup": False,
        "deepstream": config.to_dict(),
    }
    report = record(io, b"plan", "seg", deployment=deployment)
    texts = CONSUMER.files(report, "/models/seg", "9.2")
    assert texts["deepstream.labels.txt"] == "Person\nBag\n"
    lines = (texts["deepstream.txt"] or "").splitlines()
    assert {"network-type=0", "net-scale-factor=0.5", "labelfile-path=deepstream.labels.txt", "batch-size=4"} <= set(
        lines
    )
    assert lines[-2:] == ["[class-attrs-all]", "pre-cluster-threshold=0.4"]
    assert "output-tensor-meta=1" not in lines
    repository = Repository(tmp_path)
    files = {name: text for name, text in texts.items() if text is not None}
    repository.model(io, files=files, deployment={**deployment, "deploy_dir": "/models"})
    assert repository.lint("deepstream") == []


@pytest.mark.parametrize(
    "raw", [{"properties": {"batch-size": 4}}, {"properties": {"Net Scale": 1}}, {"classes": {"topk": "1\n[x]"}}]
)
def test_keys_that_follow_from_the_engine_or_break_lines_are_refused(raw: Any) -> None:
    with pytest.raises(ContractError):
        DeepStreamConfig.from_dict(raw)
