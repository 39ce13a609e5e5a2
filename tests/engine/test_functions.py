"""Functions of a model are what ONNX says that they are, whatever their names and those of their tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.converters import well_formed
from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph.prepare import prepare
from tests import rounding
from tests.command import Workplace

N = helper.make_node


def function(
    name: str, nodes: list[Any], *, domain: str = "own", opset: int = 17, takes: str = "X", **more: Any
) -> Any:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function(domain, name, [takes], ["Y"], nodes, imports, **more)


def model(calls: list[Any], functions: list[Any]) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    graph = helper.make_graph(calls, "g", ends[:1], ends[1:])
    domains = sorted({"", *(call.domain for call in calls), *(each.domain for each in functions)})
    imports = [helper.make_opsetid(domain, 1 if domain else 17) for domain in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions)


def by_default() -> onnx.ModelProto:
    """A function whose slope has a default, called by another that leaves it out."""
    leaky = N("LeakyRelu", ["X"], ["Y"])
    leaky.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    inner = function("Leaky", [leaky], attribute_protos=[helper.make_attribute("slope", 0.5)])
    outer = function("Outer", [N("Leaky", ["X"], ["Y"], domain="own")])
    return model([N("Outer", ["x"], ["y"], domain="own")], [inner, outer])


def like_an_operator() -> onnx.ModelProto:
    return model(
        [N("Exp", ["x"], ["y"], domain="own")], [function("Exp", [N("Sin", ["X"], ["t"]), N("Neg", ["t"], ["Y"])])]
    )


def with_a_taken_name() -> onnx.ModelProto:
    """A function that calls its input as the graph calls another tensor."""
    return model(
        [N("Abs", ["x"], ["c"]), N("Block", ["c"], ["y"], domain="own")],
        [function("Block", [N("Exp", ["x"], ["Y"])], takes="x")],
    )


def of_two_domains() -> onnx.ModelProto:
    twins = [function("Act", [N(name, ["X"], ["Y"])], domain=domain) for name, domain in (("Sin", "a"), ("Exp", "b"))]
    return model([N("Act", ["x"], ["c"], domain="b"), N("Act", ["c"], ["y"], domain="a")], twins)


def of_an_older_version() -> onnx.ModelProto:
    return model([N("Old", ["x"], ["y"], domain="own")], [function("Old", [N("Sin", ["X"], ["Y"])], opset=11)])


MODELS: dict[Callable[[], onnx.ModelProto], tuple[list[str], Callable[[Any], Any]]] = {
    by_default: (["LeakyRelu"], lambda x: np.where(x < 0, x / 2, x)),
    like_an_operator: (["Sin", "Neg"], lambda x: -np.sin(x)),
    with_a_taken_name: (["Abs", "Exp"], lambda x: np.exp(np.abs(x))),
    of_two_domains: (["Exp", "Sin"], lambda x: np.sin(np.exp(x))),
    of_an_older_version: (["Sin"], np.sin),
}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_function_means_what_its_nodes_mean(make: Callable[[], onnx.ModelProto]) -> None:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    prepared = prepare(make())
    assert [node.op_type for node in prepared.graph.node] == MODELS[make][0]
    assert np.allclose(rounding.session(prepared).run(None, {"x": x})[0], MODELS[make][1](x), atol=1e-6)


def test_the_parser_sees_no_functions_in_fp32_either(place: Workplace) -> None:
    """It would look for them by name alone, after operators and tensors."""
    made = {"operator": like_an_operator, "taken": with_a_taken_name}
    for name, make in made.items():
        onnx.save(make(), str(place.folder / f"{name}.onnx"))
    place.write(*({"name": name, "source": f"{name}.onnx"} for name in made))
    reports = {each["name"]: each for each in place.run().report["models"]}
    for name, make in made.items():
        layers = [layer["name"].partition("/")[0] for layer in reports[name]["details"]["layers"]]
        assert layers == MODELS[make][0]


def test_functions_of_another_opset_are_verified(place: Workplace) -> None:
    clip = function("Old", [N("Clip", ["X"], ["Y"], min=0.0, max=1.0)], opset=10)
    onnx.save(model([N("Old", ["x"], ["y"], domain="own")], [clip]), str(place.folder / "net.onnx"))
    place.write({"name": "net", "source": "net.onnx", "precision": "fp16", "verify": {}})
    net = place.run().model("net")
    assert net["error"] is None
    assert net["verification"]["verdict"] == "passed"


def test_the_long_name_of_the_standard_domain_will_do(place: Workplace) -> None:
    made = model([N("MatMul", ["x", "w"], ["h"], domain="ai.onnx"), N("Relu", ["h"], ["y"])], [])
    made.graph.initializer.append(numpy_helper.from_array(np.eye(3, dtype=np.float32), "w"))
    del made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    onnx.save(made, str(place.folder / "model.onnx"))
    assert place.build(source="model.onnx", precision="fp16")["precision_proof"]["layers"] == {"fp16": 1}


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


# What TensorRT's parser reads as something else, with a word of the refusal.
MISREAD: dict[str, tuple[onnx.ModelProto, str]] = {
    "endless": (
        model([N("F", ["x"], ["y"], domain="own")], [function("F", [N("F", ["X"], ["Y"], domain="own")])]), "own.F"
    ),
    "newer": (
        model([N("F", ["x"], ["y"], domain="own")], [function("F", [N("Gelu", ["X"], ["Y"])], opset=21)]), "own.F"
    ),
    "namesake": (model([N("Relu", ["x"], ["y"], domain="acme", name="theirs")], []), "'theirs'"),
    "layout": (
        parsed(
            """<ir_version: 8, opset_import: ["" : 14]>
            g (float[2,6,4] x, float[1,5,4] w, float[1,5,5] r) => (float[2,6,1,5] y)
            { y = RNN <hidden_size = 5, layout = 1> (x, w, r) }"""
        ),
        "layout=1",
    ),
    "batches": (
        parsed(
            """<ir_version: 3, opset_import: ["" : 8]>
            g (float[1,5,3] x, float[1,3] s) => (float[1,3] e, float[1,5,3] y)
            { e, y = Scan <num_scan_inputs = 1, body = b (float[3] a, float[3] i) => (float[3] o, float[3] p)
            { o = Add(a, i) p = Identity(o) }> ("", s, x) }"""
        ),
        "batches",
    ),
    "lengths": (
        parsed(
            """<ir_version: 11, opset_import: ["" : 24]> g (float[1,2,4,8] q, int64[1] n) => (float[1,2,4,8] y)
            { y = Attention (q, q, q, "", "", "", n) }"""
        ),
        "nonpad_kv_seqlen",
    ),
    "padding": (
        parsed(
            """<ir_version: 8, opset_import: ["" : 17]> g (float[1,1,4,4] x) => (float[1,1,3,3] y)
            { y = MaxPool <kernel_shape = [2, 2], auto_pad = "VALID", pads = [1, 1, 1, 1]> (x) }"""
        ),
        "auto_pad",
    ),
    "signs": (
        parsed(
            """<ir_version: 8, opset_import: ["" : 17]> g (float[1,1,4,4] x) => (float[1,1,1,1] y)
            { y = GlobalLpPool <p = 3> (x) }"""
        ),
        "signs",
    ),
    "float64": (
        parsed('<ir_version: 8, opset_import: ["" : 17]> g (double[2] x) => (double[2] y) { y = Relu(x) }'), "float64"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISREAD)
def test_what_the_parser_takes_for_something_else_is_refused(name: str, tmp_path: Path) -> None:
    made, word = MISREAD[name]
    onnx.save(made, str(tmp_path / "model.onnx"))
    with pytest.raises(ConvertError) as caught:
        well_formed.check(tmp_path / "model.onnx")
    assert caught.value.code == ("onnx-invalid" if name == "endless" else "onnx-unsupported-operator")
    assert word in caught.value.message


def test_operators_that_onnx_took_over_from_onnx_runtime_are_not_refused(tmp_path: Path) -> None:
    made = parsed(
        """<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>
        g (float[1,2,4,4] x, float[1,4,4,2] where) => (float[1,2,4,4] y)
        { s = com.microsoft.GridSample <align_corners = 1> (x, where) y = com.microsoft.Trilu <upper = 0> (s) }"""
    )
    onnx.save(made, str(tmp_path / "model.onnx"))
    well_formed.check(tmp_path / "model.onnx")
