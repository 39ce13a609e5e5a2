"""Every rule of lint: a model that it objects to, and one that it leaves in peace."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest

from prepare_models_entrypoint.consumers.isaac_ros import files as isaac_ros
from prepare_models_entrypoint.consumers.lint import of_engine
from prepare_models_entrypoint.consumers.model_files import Model
from prepare_models_entrypoint.consumers.rules import CONSUMERS, ENGINE, FILES, RULES, check
from prepare_models_entrypoint.consumers.triton import files as triton
from prepare_models_entrypoint.consumers.triton import pbtxt
from prepare_models_entrypoint.contract.report import Binding, Engine, ModelReport, ProfileShapes, blank

DIRECTORY = Path("/models/seg")


def binding(name: str, mode: str, dtype: str = "float32", shape: Sequence[int] = (1, 3, 8, 8)) -> Binding:
    low, high = ([free if size == -1 else size for size in shape] for free in (1, 16))
    profile = ProfileShapes(min=low, opt=low, max=high)
    return Binding(
        name=name, mode=mode, dtype=dtype, shape=list(shape), profiles=[profile] * (mode == "input"), source="engine"
    )


def report_of(io: List[Binding], product: str = "tensorrt") -> ModelReport:
    report = blank("seg", "seg.onnx", precision="fp32", converter="auto")
    report["io"] = io
    report["engine"] = Engine(path="", bytes=1, sha256="", header={"format": product, "version": "10.3.0"})
    return report


def model(*io: Binding, product: str = "tensorrt") -> Model:
    """Return a model as a run leaves it."""
    report = report_of(list(io) or [binding("x:0", "input"), binding("y", "output", "int64", (1, 8, 8, 1))], product)
    return Model(
        directory=DIRECTORY,
        report=report,
        parameters=isaac_ros.nodes(report, str(DIRECTORY)),
        config=pbtxt.parse(triton.config("seg", report["io"])),
        versions={"1": ["model.plan"]},
    )


def parameters(node: str, **changes: Any) -> Model:
    good = model()
    values = {name: dict(told) for name, told in (good.parameters or {}).items()}
    for name, value in changes.items():
        values[node].pop(name, None)
        if value is not None:
            values[node][name] = value
    return dataclasses.replace(good, parameters=values)


def with_plugins(built_with: List[str], library: Any) -> Model:
    told = parameters("tensor_rt", custom_plugin_lib=library)
    assert told.report is not None
    told.report["plugins"] = built_with
    return told


def config(old: str, new: str, *io: Binding) -> Model:
    good = model(*io)
    text = triton.config("seg", good.io)
    assert old in text
    return dataclasses.replace(good, config=pbtxt.parse(text.replace(old, new, 1)))


BATCH = (binding("x", "input", shape=(-1, 3, 8, 8)), binding("y", "output", shape=(-1, 5)))
X, Y = binding("x", "input"), binding("y", "output")

BAD: Dict[str, List[Callable[[], Model]]] = {
    "rtx-engine": [lambda: model(product="tensorrt_rtx")],
    "isaac-ros-dynamic-dimension": [
        lambda: model(binding("x", "input", shape=(1, 3, -1, 8)), Y),
        lambda: model(X, binding("y", "output", shape=(-1, -1))),
    ],
    "isaac-ros-output-type": [
        lambda kind=kind: model(X, binding("y", "output", kind)) for kind in ("float16", "bool", "bfloat16")  # type: ignore[misc]  # mypy infers no type for a default of a lambda
    ],
    "isaac-ros-no-inputs": [lambda: model(Y), lambda: model(X)],
    "isaac-ros-names": [
        lambda: parameters("tensor_rt", output_binding_names=[]),
        lambda: parameters("tensor_rt", input_binding_names=["input_1"]),
        lambda: parameters("triton", input_tensor_names=["a", "b"]),
        lambda: parameters("triton", output_tensor_names=None),
        lambda: dataclasses.replace(model(), parameters={}),
    ],
    "isaac-ros-engine-update": [
        lambda: parameters("tensor_rt", force_engine_update=True),
        lambda: parameters("tensor_rt", force_engine_update=None),
    ],
    "isaac-ros-workspace": [
        lambda: parameters("tensor_rt", max_workspace_size=64 << 20),
        lambda: parameters("tensor_rt", max_workspace_size=None),
    ],
    "isaac-ros-engine-path": [
        lambda: parameters("tensor_rt", engine_file_path="/models/other/1/model.plan"),
        lambda: parameters("tensor_rt", engine_file_path=None),
    ],
    "isaac-ros-plugin": [lambda: with_plugins(["/p/liba.so"], None), lambda: with_plugins(["/p/liba.so"], "/p/b.so"),
                         lambda: with_plugins(["/p/liba.so", "/p/libb.so"], None)],
    "isaac-ros-fp16": [lambda: parameters("tensor_rt", enable_fp16=True)],
    "isaac-ros-parameter": [
        lambda: parameters("tensor_rt", max_workspace_size_mb=64),
        lambda: parameters("triton", max_batch_size="8"),
        lambda: parameters("tensor_rt", force_engine_update=0),
    ],
    "isaac-ros-batch": [
        lambda: parameters("triton", max_batch_size=8),
        lambda: parameters("triton", max_batch_size=None),
    ],
    "triton-foreign-directory": [lambda: Model(DIRECTORY, None)],
    "engine-record": [lambda: dataclasses.replace(model(), report=None)],
    "triton-plan": [
        lambda: dataclasses.replace(model(), versions={"1": ["model.onnx"]}),
        lambda: config("model.plan", "other.plan"),
    ],
    "triton-config": [
        lambda: dataclasses.replace(model(), config=None),
        lambda: config('name: "seg"', 'name: "other"'),
        lambda: config("tensorrt_plan", "onnxruntime_onnx"),
    ],
    "triton-tensors": [
        lambda: config('name: "y"', 'name: "softmax_1"'),
        lambda: dataclasses.replace(model(), config=pbtxt.parse('name: "seg" platform: "tensorrt_plan"')),
    ],
    "triton-type": [lambda: config("TYPE_INT64", "TYPE_INT32"), lambda: config("TYPE_FP32", "TYPE_FP16")],
    "triton-dims": [
        lambda: config("dims: [1, 3, 8, 8]", "dims: [3, 8, 8]"),
        lambda: config("max_batch_size: 16", "max_batch_size: 0", *BATCH),
    ],
    "triton-batching": [
        lambda: config("max_batch_size: 16", "max_batch_size: 32", *BATCH),
        lambda: config("max_batch_size: 0", "max_batch_size: 8"),
    ],
    "deepstream-output-type": [lambda: model(X, binding("y", "output", "int64"))],
    "deepstream-input": [lambda: model(X, binding("z", "input"), Y), lambda: model(binding("x", "input", "int8"), Y)],
}  # fmt: skip

# Models with something unusual that is right all the same; each passes the rules that it is listed under.
GOOD: Dict[str, List[Callable[[], Model]]] = {
    "isaac-ros-dynamic-dimension": [lambda: model(*BATCH)],
    "isaac-ros-plugin": [
        lambda: with_plugins(["/p/liba.so"], "/seen/by/the/node/liba.so"),
        lambda: with_plugins(["/p/liba.so", "/p/libb.so"], "/p/both.so"),
    ],
    "isaac-ros-output-type": [
        lambda: model(X, *(binding(t, "output", t) for t in ("int8", "int32", "int64", "uint8")))
    ],
    "isaac-ros-names": [lambda: parameters("tensor_rt", input_tensor_names=["image"])],
    "isaac-ros-workspace": [lambda: parameters("tensor_rt", max_workspace_size=512 << 20)],
    "isaac-ros-engine-path": [lambda: parameters("tensor_rt", engine_file_path="/mnt/x/seg/1/model.plan")],
    "isaac-ros-parameter": [lambda: parameters("triton", log_level=1, enable_strict_model=True)],
    "triton-foreign-directory": [lambda: Model(DIRECTORY, None, versions={"1": ["model.onnx"]})],
    "engine-record": [lambda: Model(DIRECTORY, None, versions={"1": ["model.onnx"]})],
    "triton-plan": [lambda: Model(DIRECTORY, None, config={"platform": ["onnxruntime_onnx"]}, versions={"1": ["a"]})],
    "triton-config": [lambda: config('name: "seg"', 'name: ""')],
    "triton-type": [lambda: config("data_type: TYPE_INT64", "")],
    "triton-dims": [lambda: model(*BATCH), lambda: model(X, binding("y", "output", shape=()))],
    "triton-batching": [lambda: model(*BATCH), lambda: config("max_batch_size: 16", "max_batch_size: 4", *BATCH)],
    "deepstream-output-type": [lambda: model(X, binding("y", "output", "int32"))],
    "deepstream-input": [lambda: model(binding("x", "input", shape=(1, 8, 8, 3)), Y)],
}


def codes(subject: Model, consumers: Sequence[str] = CONSUMERS) -> "set[str]":
    found = list(check(subject, looks_at=(ENGINE, FILES), consumers=tuple(consumers)))
    assert all(message for _, message in found)
    return {code for code, _ in found}


def test_every_rule_has_its_fixtures() -> None:
    assert list(BAD) == list(RULES)


@pytest.mark.parametrize(("code", "make"), [(code, make) for code, makes in BAD.items() for make in makes])
def test_a_rule_objects(code: str, make: Callable[[], Model]) -> None:
    assert code in codes(make())


@pytest.mark.parametrize("code", RULES)
def test_a_rule_passes_what_a_run_leaves(code: str) -> None:
    assert code not in codes(model(), ("isaac-ros", "triton"))


@pytest.mark.parametrize(("code", "make"), [(code, make) for code, makes in GOOD.items() for make in makes])
def test_a_rule_passes_what_is_unusual_and_right(code: str, make: Callable[[], Model]) -> None:
    assert code not in codes(make())


def test_what_a_run_leaves_has_no_findings_at_all() -> None:
    image = model(X, binding("y", "output", "int32"))
    assert codes(image) == codes(model(), ("isaac-ros", "triton")) == codes(model(*BATCH)) == set()


def test_rules_of_other_consumers_are_left_out() -> None:
    assert codes(model(X, binding("y", "output", "float16")), ["triton"]) == set()


def test_a_report_gets_the_rules_about_the_engine_alone() -> None:
    report = report_of([X, binding("y", "output", "bool"), binding("z", "output", "int64")])
    warnings = of_engine(report, DIRECTORY)
    assert [warning["code"] for warning in warnings] == ["isaac-ros-output-type"] + ["deepstream-output-type"] * 2
    assert all(warning["hint"] for warning in warnings)
    report["io"][0]["dtype"] = "int8"  # nothing that nvinfer fills
    assert [warning["code"] for warning in of_engine(report, DIRECTORY)] == ["isaac-ros-output-type"]


def test_the_documentation_lists_the_rules() -> None:
    text = (Path(__file__).parents[2] / "docs" / "lint.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    listed = {row[0].strip(" `"): tuple(cell.strip() for cell in row[1:]) for row in rows}
    for code, rule in RULES.items():
        assert listed[code] == (rule.consumer, rule.looks_at, rule.meaning, rule.hint), code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a: 1 b { c: "x" } b { c: "y" }', {"a": [1], "b": [{"c": ["x"]}, {"c": ["y"]}]}),
        ("dims: [ 1, -1, 3 ]\ndims: 4 # more\n", {"dims": [1, -1, 3, 4]}),
        ("input [ { name: 'a' }, { name: \"b\" } ]", {"input": [{"name": ["a"]}, {"name": ["b"]}]}),
        ('name: "gr\\303\\266\\x21\\n" "joined"', {"name": ["grö!\njoined"]}),
        ("a < b: 1.5 >; c: true, d: WORD", {"a": [{"b": [1.5]}], "c": [True], "d": ["WORD"]}),
        ("", {}),
    ],
)
def test_the_text_format_is_read(text: str, expected: Dict[str, Any]) -> None:
    assert pbtxt.parse(text) == expected


@pytest.mark.parametrize("text", ["a: {", "a: [1", "}", "a: @", '"a": 1', "a", "a { " * 60 + "} " * 60, 'a: "x'])
def test_what_is_no_text_format_is_refused(text: str) -> None:
    with pytest.raises(pbtxt.PbtxtError):
        pbtxt.parse(text)
