"""Files that people call ONNX models: every unusual thing that the format allows, and what is not a model at all."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

FLOAT = TensorProto.FLOAT
Writer = Callable[[Path], None]


def graph_of(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **more: Any) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "odd", list(inputs), list(outputs), **more)


def value(name: str, kind: int = FLOAT, shape: Any = (1, 3)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(graph: onnx.GraphProto, opset: int = 17, ir: int = 8, **more: Any) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, **more)


def identity(kind: int = FLOAT, shape: Any = (1, 3), **more: Any) -> onnx.ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    return model_of(graph_of([node], [value("x", kind, shape)], [value("y", kind, shape)]), **more)


def text(source: str) -> onnx.ModelProto:
    return parser.parse_model(source)


def external(path: Path, *, length: int, present: int | None, location: str = "weights.bin") -> None:
    model = identity()
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[length // 4], data_location=TensorProto.EXTERNAL)
    for key, told in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=told)
    model.graph.initializer.append(tensor)
    save(model, path)
    if present is not None:
        with (path.parent / location).open("wb") as stream:
            stream.truncate(present)


def save(model: onnx.ModelProto, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def nested(depth: int) -> onnx.ModelProto:
    body = graph_of([helper.make_node("Identity", ["x"], ["y0"])], [], [value("y0")])
    for level in range(1, depth):
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=body, else_branch=body)
        del node.attribute[1:]
        body = graph_of([node], [], [value(f"y{level}")])
    body.input.extend([value("c", TensorProto.BOOL, ()), value("x")])
    return model_of(body)


def deep(levels: int) -> bytes:
    """Return a model with graphs in graphs, deeper than protobuf's own libraries write."""
    body = b""
    for _ in range(levels):
        attribute = field(1, b"then_branch") + field(6, body)  # name, g
        body = field(1, field(4, b"If") + field(5, attribute))  # node with op_type and attribute
    return b"\x08\x08" + field(7, body)


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def typed(kind: onnx.TypeProto) -> onnx.ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    ends = [helper.make_value_info(name, kind) for name in ("x", "y")]
    return model_of(graph_of([node], ends[:1], ends[1:]))


def sparse() -> onnx.ModelProto:
    values = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 3])
    weight = helper.make_sparse_tensor(values, indices, [5])
    node = helper.make_node("Add", ["x", "w"], ["y"])
    return model_of(graph_of([node], [value("x", shape=(5,))], [value("y", shape=(5,))], sparse_initializer=[weight]))


def shapeless(op: str = "Relu") -> onnx.ModelProto:
    out = onnx.ValueInfoProto(name="y")
    return model_of(graph_of([helper.make_node(op, ["x"], ["y"])], [value("x", shape=("batch", 3))], [out]))


def initialised_input() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((1, 3), np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    return model_of(graph_of([node], [value("x"), value("w")], [value("y")], initializer=[weight]), ir=3)


def quantised() -> onnx.ModelProto:
    return text(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y)
        <float s = {0.1}, uint8 z = {0}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"""
    )


def with_function() -> onnx.ModelProto:
    return text(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[N, 3] x) => (float[N, 3] y) { y = own.twice(x) }
        <domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }"""
    )


def with_training() -> onnx.ModelProto:
    model = identity()
    model.training_info.add().initialization.CopyFrom(graph_of([], [], [value("w")]))
    return model


def classifier() -> onnx.ModelProto:
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None))
    )
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    graph = graph_of([node], [value("x", shape=(None, 3))], [helper.make_value_info("y", maps)])
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def not_utf8() -> bytes:
    model = identity()
    model.graph.input[0].name = "QQ"
    data: bytes = model.SerializeToString().replace(b"QQ", b"\xff\xfe")
    return data


def young_type() -> onnx.ModelProto:
    model = identity()
    model.graph.input[0].type.tensor_type.elem_type = 99
    return model


def repeated() -> onnx.ModelProto:
    node = helper.make_node("Add", ["x", "x"], ["x"])
    return model_of(graph_of([node, node], [value("x"), value("x"), value("")], [value("x"), value("x")]))


def every_type() -> onnx.ModelProto:
    kinds = [number for number in TensorProto.DataType.values() if number]
    nodes = [helper.make_node("Identity", [f"x{kind}"], [f"y{kind}"]) for kind in kinds]
    return model_of(graph_of(nodes, [value(f"x{k}", k) for k in kinds], [value(f"y{k}", k) for k in kinds]), opset=25)


def huge_dims() -> onnx.ModelProto:
    model = identity(shape=(2**62, 2**62))
    model.graph.initializer.append(TensorProto(name="w", data_type=FLOAT, dims=[2**62, -5]))
    return model


def many_nodes() -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", [f"t{n}"], [f"t{n + 1}"], name=f"n{n}") for n in range(20_000)]
    return model_of(graph_of(nodes, [value("t0")], [onnx.ValueInfoProto(name="t20000")]))


def _sequence(of: int) -> onnx.TypeProto:
    return helper.make_sequence_type_proto(helper.make_tensor_type_proto(of, [2, "n"]))


def _optional(of: int) -> onnx.TypeProto:
    return helper.make_optional_type_proto(helper.make_tensor_type_proto(of, [2]))


def readable() -> dict[str, Writer]:
    """Return writers of files that are ONNX models, by name."""
    models: dict[str, Callable[[], onnx.ModelProto]] = {
        "sequence": lambda: typed(_sequence(FLOAT)),
        "sequence-of-text": lambda: typed(_sequence(TensorProto.STRING)),
        "optional": lambda: typed(_optional(FLOAT)),
        "optional-sequence": lambda: typed(helper.make_optional_type_proto(_sequence(FLOAT))),
        "map": lambda: typed(helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, [1]))),
        "sparse-type": lambda: typed(helper.make_sparse_tensor_type_proto(FLOAT, [3, 4])),
        "no-type": lambda: typed(onnx.TypeProto()),
        "sparse-initialiser": sparse,
        "output-without-type": shapeless,
        "output-without-type-of-own-operator": lambda: shapeless("Unheard"),
        "input-without-rank": lambda: identity(shape=None),
        "symbolic": lambda: identity(shape=("batch", None, "2*height + 1")),
        "zero-dimension": lambda: identity(shape=(0, 3)),
        "scalar": lambda: identity(shape=()),
        "no-inputs": lambda: text(
            '<ir_version: 8, opset_import: ["" : 17]> g () => (float[2] y) '
            "{ y = Constant <value = float[2] {1, 2}> () }"
        ),
        "initialised-input": initialised_input,
        "quantised": quantised,
        "function": with_function,
        "training": with_training,
        "ai.onnx.ml": classifier,
        "own-domain": lambda: text(
            '<ir_version: 8, opset_import: ["" : 17, "com.acme" : 3]> g (float[1] x) => (float[1] y) '
            "{ y = com.acme.Magic(x) }"
        ),
        "no-opset": lambda: onnx.ModelProto(ir_version=8, graph=identity().graph),
        "no-ir-version": lambda: onnx.ModelProto(graph=identity().graph),
        "unicode": lambda: text_names("输入:0", "ausgänge/größe"),
        "escapes": lambda: text_names("\x1b[2J\x1b[31mred", "new\nline\ttab"),
        "long-name": lambda: text_names("x" * 100_000, "y"),
        "repeated-names": repeated,
        "type-of-the-future": young_type,
        "huge-dimensions": huge_dims,
        "many-nodes": many_nodes,
        "subgraphs": lambda: nested(10),
        **{f"opset-{n}": lambda n=n: identity(opset=n) for n in (1, 25, 99)},  # type: ignore[misc]  # mypy infers no type for a default of a lambda
        **{f"ir-{n}": lambda n=n: identity(ir=n) for n in (3, 13, 99)},  # type: ignore[misc]  # mypy infers no type for a default of a lambda
        "every-type": every_type,
    }
    writers: dict[str, Writer] = {name: lambda path, make=make: save(make(), path) for name, make in models.items()}  # type: ignore[misc]  # mypy infers no type for a default of a lambda
    writers["external-present"] = lambda path: external(path, length=400, present=400, location="present.bin")
    writers["external-missing"] = lambda path: external(path, length=400, present=None, location="missing.bin")
    writers["external-short"] = lambda path: external(path, length=400, present=399, location="short.bin")
    writers["external-huge"] = lambda path: external(path, length=5 << 30, present=5 << 30, location="huge.bin")
    writers["external-outside"] = lambda path: external(path, length=4, present=None, location="../../etc/passwd")
    writers["names-not-utf8"] = lambda path: written(path, not_utf8())
    return writers


def text_names(first: str, last: str) -> onnx.ModelProto:
    return model_of(graph_of([helper.make_node("Identity", [first], [last])], [value(first)], [value(last)]))


def unreadable() -> dict[str, tuple[str, Writer]]:
    """Return the error code and the writer of files that are none, by name."""
    whole = identity().SerializeToString()
    plain = "source-not-a-model"
    contents = {
        "empty": (plain, b""),
        "newline": (plain, b"\n"),
        "zeros": ("network-empty", bytes(1000)),
        "truncated": ("onnx-invalid", whole[: len(whole) // 2]),
        "first-byte": ("onnx-invalid", whole[:1]),
        "noise": ("onnx-invalid", b"\xfe\xff" + bytes(range(256)) * 20),
        "nothing-in-it": ("network-empty", model_of(graph_of([], [], [])).SerializeToString()),
        "nested-too-deep": ("onnx-invalid", deep(5000)),
        "broken-inside": ("onnx-invalid", whole.replace(b"Identity", b"\xff" * 8).replace(b"\x08\x01", b"\xff\xff")),
        "text": (plain, b"the model is elsewhere\n"),
        "json": (plain, b'{"irVersion": "8", "graph": {}}'),
        "page": (plain, b"<!DOCTYPE html><html><body>Sign in</body></html>"),
        "lfs-pointer": (plain, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "gzip": (plain, gzip.compress(whole)),
        "pickle": (plain, b"\x80\x04\x95" + bytes(40)),
        "hdf5": (plain, b"\x89HDF\r\n\x1a\n" + bytes(40)),
        "plan": (plain, b"ftrt" + bytes(100)),
        "tar": (plain, b"name".ljust(257, b"\0") + b"ustar\0" + bytes(200)),
    }
    writers: dict[str, tuple[str, Writer]] = {
        name: (code, lambda path, data=data: written(path, data))  # type: ignore[misc]  # mypy infers no type for a default of a lambda
        for name, (code, data) in contents.items()
    }
    writers["zip"] = (plain, zipped)
    writers["directory"] = (plain, lambda path: path.mkdir())
    writers["pipe"] = (plain, os.mkfifo)
    writers["endless"] = (plain, lambda path: path.symlink_to("/dev/zero"))
    writers["dangling"] = ("source-not-found", lambda path: path.symlink_to("nowhere"))
    writers["circle"] = ("source-unreadable", lambda path: path.symlink_to(path.name))
    writers["larger-than-protobuf"] = ("onnx-too-large", lambda path: gigantic(path, 3 << 30))
    return writers


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"")


def gigantic(path: Path, size: int) -> None:
    """Write a model whose graph has one weight of ``size`` zero bytes, which take no room on the disk."""
    raw = b"\x4a" + varint(size)  # TensorProto.raw_data
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[size // 4]).SerializeToString() + raw
    graph = identity().graph.SerializeToString() + b"\x2a" + varint(len(tensor) + size) + tensor
    head = b"\x08\x08\x42\x04\x0a\x00\x10\x11"
    with path.open("wb") as stream:
        stream.write(head + b"\x3a" + varint(len(graph) + size) + graph)
        stream.truncate(stream.tell() + size)


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def written(path: Path, data: bytes) -> None:
    path.write_bytes(data)
