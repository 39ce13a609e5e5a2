"""Models that the bare builder refuses or misreads: built where a small rewrite is safe, else refused in clear words.

Whatever happens, ``check`` and ``run`` agree.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.command import Workplace

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
value, node = helper.make_tensor_value_info, helper.make_node


def model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], constants: dict[str, Any], opset: int = 17
) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


W = (np.random.default_rng(0).standard_normal((4, 3, 3, 3)) * 0.2).astype(np.float32)
CONV = node("Conv", ["x", "w"], ["y"], name="conv")
Y = value("y", FLOAT, None)


def conv(*dims: Any) -> onnx.ModelProto:
    shape = None if dims == (None,) else list(dims)
    return model([CONV], [value("x", FLOAT, shape)], [Y], {"w": W})


def static() -> onnx.ModelProto:
    return conv(1, 3, 8, 8)


def dft(parts: int = 2, length: str = "", **settings: Any) -> onnx.ModelProto:
    nodes = [node("DFT", ["x", length, "axis"], ["f"], name="dft", **settings), node("Abs", ["f"], ["y"])]
    constants = {"axis": np.int64(1), "long": np.int64(50), "short": np.int64(31)}
    return model(nodes, [value("x", FLOAT, ["b", 40, 3, parts])], [Y], constants, opset=20)


def old_dft() -> onnx.ModelProto:
    nodes = [node("DFT", ["x"], ["y"], name="dft", onesided=1, axis=1)]
    return model(nodes, [value("x", FLOAT, ["b", 400, 1])], [Y], {})


def complex_stft() -> onnx.ModelProto:
    nodes = [node("STFT", ["x", "step", "window", "length"], ["y"], name="stft", onesided=0)]
    constants = {"step": np.int64(16), "window": np.hanning(64).astype(np.float32), "length": np.int64(64)}
    return model(nodes, [value("x", FLOAT, [1, "n", 2])], [Y], constants)


def two_rates() -> onnx.ModelProto:
    """A network whose branches, of different shapes, are chosen by a sampling rate."""
    then = helper.make_graph([node("Conv", ["x", "w"], ["t"], strides=[2, 2])], "then", [], [value("t", FLOAT, None)])
    other = helper.make_graph([node("Conv", ["x", "w"], ["e"])], "else", [], [value("e", FLOAT, None)])
    nodes = [
        node("Equal", ["sr", "high"], ["is_high"], name="equal"),
        node("If", ["is_high"], ["y"], then_branch=then, else_branch=other, name="choose"),
    ]
    inputs = [value("x", FLOAT, ["b", 3, "h", "v"]), value("sr", INT64, [])]
    return model(nodes, inputs, [Y], {"w": W, "high": np.int64(16000)})


def one_name(name: str) -> onnx.ModelProto:
    inputs = [value("a", FLOAT, [name, 4]), value("b", FLOAT, [name, 4])]
    return model([node("Concat", ["a", "b"], ["y"], axis=0)], inputs, [Y], {})


def resize() -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"]), node("Resize", ["r", "", "", "sizes"], ["y"], mode="nearest", name="resize")]
    return model(nodes, [value("x", FLOAT, [1, 3, 8, 8]), value("sizes", INT64, [4])], [Y], {})


def scalar_limit() -> onnx.ModelProto:
    nodes = [node("Range", ["zero", "limit", "one"], ["r"]), node("Cast", ["r"], ["y"], to=FLOAT)]
    return model(nodes, [value("limit", INT64, [])], [Y], {"zero": np.int64(0), "one": np.int64(1)})


def axes() -> onnx.ModelProto:
    nodes = [node("ReduceMax", ["x", "axes"], ["y"], name="max")]
    return model(nodes, [value("x", FLOAT, [2, 4]), value("axes", INT64, [1])], [Y], {}, opset=18)


def cache() -> onnx.ModelProto:
    inputs = [value("past", FLOAT, [1, "p", 8]), value("new", FLOAT, [1, 1, 8])]
    return model([node("Concat", ["past", "new"], ["y"], axis=1)], inputs, [Y], {})


def squeezed(opset: int) -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"]), node("Squeeze", ["r"], ["y"], name="squeeze")]
    return model(nodes, [value("x", FLOAT, ["b", 3, 1, "n"])], [Y], {}, opset=opset)


def no_inputs() -> onnx.ModelProto:
    return model([CONV], [], [Y], {"w": W, "x": np.ones((1, 3, 8, 8), np.float32)})


def pixels() -> onnx.ModelProto:
    """Bytes of an image, colours last, to a class map in bytes and the image with a border."""
    nodes = [
        node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]), node("Cast", ["planes"], ["x"], to=FLOAT),
        CONV, node("ArgMax", ["y"], ["best"], axis=1), node("Cast", ["best"], ["small"], to=TensorProto.UINT8),
        node("Squeeze", ["small", "one"], ["classes"]), node("Pad", ["planes", "border", "grey"], ["framed"]),
        node("Equal", ["planes", "grey"], ["same"]), node("Cast", ["same"], ["mask"], to=TensorProto.UINT8),
    ]  # fmt: skip
    constants = {"w": W, "one": np.array([1]), "border": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "grey": np.uint8(114)}
    kinds = {"classes": [1, 6, 6], "framed": [1, 3, 10, 10], "mask": [1, 3, 8, 8]}
    outputs = [value(name, TensorProto.UINT8, shape) for name, shape in kinds.items()]
    return model(nodes, [value("image", TensorProto.UINT8, [1, 8, 8, 3])], outputs, constants)


def wrapped() -> onnx.ModelProto:
    """Numbers beyond 255 become bytes by way of int16, which int32 in its place would not wrap."""
    nodes = [
        node("Cast", ["x"], ["large"], to=TensorProto.INT16), node("Cast", ["large"], ["small"], to=TensorProto.UINT8),
        node("Transpose", ["small"], ["turned"]), node("Cast", ["turned"], ["y"], to=FLOAT),
    ]  # fmt: skip
    return model(nodes, [value("x", FLOAT, [4, 4])], [value("y", FLOAT, [4, 4])], {})


SAMPLES = {"min": "1x3x8x8", "opt": "1x3x16x16", "max": "2x3x16x24"}
APART = {"a": {"min": "1x4", "opt": "1x4", "max": "4x4"}, "b": {"min": "1x4", "opt": "2x4", "max": "8x4"}}

VALUES = {"values": {"min": [1, 3, 8, 8], "opt": [1, 3, 16, 16], "max": [1, 3, 32, 32]}}
BATCHES = {"min": "1x400x1", "opt": "2x400x1", "max": "4x400x1"}
VARYING = {"min": "1x40x3x2", "opt": "1x40x3x2", "max": "1x80x3x2"}

# What the model is, what the manifest says of it, and in words of the report what was rewritten ("" where nothing was).
BUILT: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any], str]] = {
    "sizes": (resize, {"inputs": {"sizes": VALUES}}, ""),
    "fixed sizes": (resize, {"inputs": {"sizes": {"values": [1, 3, 16, 16]}}}, ""),
    "constant sizes": (resize, {"onnx": {"constants": {"sizes": [1, 3, 16, 16]}}}, ""),
    "scalar": (scalar_limit, {"inputs": {"limit": {"values": {"min": 1, "opt": 4, "max": 16}}}}, ""),
    "constant axes": (axes, {"onnx": {"constants": {"axes": 1}}}, ""),
    "empty cache": (cache, {"inputs": {"past": {"min": "1x0x8", "opt": "1x16x8", "max": "1x64x8"}}}, ""),
    "no inputs": (no_inputs, {}, ""),
    "no input is left": (static, {"onnx": {"constants": {"x": 0.5}}}, ""),
    "question marks": (lambda: conv(1, 3, "?", "?"), {"inputs": {"x": "1x3x48x192"}}, "dimensions named '?'"),
    "unk__1": (lambda: one_name("unk__1"), {"inputs": APART}, "dimensions named 'unk__1'"),
    "nameless": (lambda: conv("", 3, "", ""), {"inputs": {"x": SAMPLES}}, "dimensions named ''"),
    "no rank": (lambda: conv(None), {"inputs": {"x": SAMPLES}}, "input 'x', which the model gives no rank"),
    "no rank, static": (lambda: conv(None), {"onnx": {"static_shapes": {"x": "1x3x8x8"}}}, ""),
    "dft": (dft, {"inputs": {"x": "2x40x3x2"}}, "DFT became"),
    "dft of opset 17": (old_dft, {"inputs": {"x": BATCHES}}, "DFT became"),
    "padded inverse": (lambda: dft(inverse=1, length="long"), {"inputs": {"x": "2x40x3x2"}}, "DFT became"),
    "cut": (lambda: dft(1, onesided=1, length="short"), {"inputs": {"x": "2x40x3x1"}}, "DFT became"),
    "stft": (complex_stft, {"inputs": {"x": {"min": "1x64x2", "opt": "1x640x2", "max": "1x1600x2"}}}, "STFT became"),
    "branches": (two_rates, {"inputs": {"x": "1x3x16x16"}, "onnx": {"constants": {"sr": 16000}}}, "1 of 1 If"),
    "squeeze": (lambda: squeezed(17), {"inputs": {"x": "1x3x1x8"}}, "names the axes that have the size 1: [0, 2]"),
    "bytes": (pixels, {"precision": "fp16"}, "are int32 inside: classes, framed, grey, image, planes, small"),
    "old squeeze": (lambda: squeezed(11), {"inputs": {"x": "1x3x1x8"}}, "names the axes that have the size 1: [0, 2]"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BUILT)
def test_what_a_small_rewrite_makes_buildable_is_built_and_told(place: Workplace, kind: str) -> None:
    make, asked, told = BUILT[kind]
    onnx.save(make(), str(place.folder / "model.onnx"))
    judged = place.check(source="model.onnx", **asked)
    assert judged["status"] == "checked", judged["error"]
    report = place.build(source="model.onnx", **asked)
    assert report["status"] == "built", report["error"]
    for one in (judged, report):
        rewritten = [each["message"] for each in one["warnings"] if each["code"] == "model-rewritten"]
        assert bool(rewritten) == bool(told)
        assert all(told in message and "compared with the source model" in message for message in rewritten)


# What the model is, what the manifest says of it, the error's code, and what its message and hint name.
REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any], str, str, str]] = {
    "sizes": (resize, {}, "inputs-missing", "'sizes'", "values: {min: [..., ..., ..., ...]"),
    "values of no sizes": (static, {"inputs": {"x": {"values": [1]}}}, "inputs-mismatch", "'x'", "constants"),
    "axes": (axes, {}, "onnx-unsupported-operator", "ReduceMax", "onnx: {constants:"),
    "real name": (lambda: one_name("batch"), {"inputs": APART}, "inputs-mismatch", "'batch'", "same min, opt and max"),
    "no rank": (lambda: conv(None), {}, "inputs-missing", "'x'", 'inputs: {"x": SHAPE}'),
    "nameless": (lambda: conv("", 3, "", ""), {}, "inputs-missing", "'x'", "AXIS_3 (axis 3 of 'x')"),
    "too small": (lambda: conv(1, 3, "h", "v"), {"inputs": {"x": "1x3x1x1"}}, "inputs-mismatch", "", ""),
    "varying dft": (dft, {"inputs": {"x": VARYING}}, "inputs-mismatch", "the model fixes 40", ""),
    "unknown constant": (static, {"onnx": {"constants": {"sr": 1}}}, "inputs-unknown", "'sr'", "own input"),
    "too few values": (resize, {"onnx": {"constants": {"sizes": [1, 3]}}}, "inputs-mismatch", "'sizes'", "give 4"),
    "wrapped bytes": (wrapped, {}, "onnx-unsupported-operator", "", ""),
    "half a whole number": (axes, {"onnx": {"constants": {"axes": 0.5}}}, "inputs-mismatch", "'axes'", "int64"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_not_be_built_is_refused_by_check_and_run_in_the_same_words(place: Workplace, kind: str) -> None:
    make, asked, code, named, hint = REFUSED[kind]
    onnx.save(make(), str(place.folder / "model.onnx"))
    judged, built = (
        place.check(source="model.onnx", **asked)["error"],
        place.build(source="model.onnx", **asked)["error"],
    )
    assert judged["code"] == built["code"] == code, judged
    assert judged["message"] == built["message"]
    assert named in judged["message"]
    assert hint in judged["hint"]


def strided() -> onnx.ModelProto:
    """Two convolutions that halve, and a resize that doubles: sizes must be multiples of four."""
    constants = {"w": W, "v": np.ones((4, 4, 3, 3), np.float32), "twice": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        node("Conv", ["images", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["a", "v"], ["b"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Resize", ["b", "", "twice"], ["u"], mode="nearest"),
        node("Concat", ["a", "u"], ["y"], axis=1, name="join"),
    ]
    return model(nodes, [value("images", FLOAT, ["batch", 3, "height", "width"])], [Y], constants)


def test_sizes_that_a_network_can_not_take_are_told_with_layer_and_axes(place: Workplace) -> None:
    onnx.save(strided(), str(place.folder / "model.onnx"))
    small = {"images": {"min": "1x3x1x1", "opt": "1x3x1x1", "max": "8x3x8x8"}}
    error = place.check(source="model.onnx", inputs=small)["error"]
    assert error["code"] == "inputs-mismatch"
    assert "join" in error["message"]
    assert "height 1 to 8 (opt 1) on axis 2 of 'images'" in error["message"]
    assert "multiples of 32" in error["hint"]


def test_bounds_that_the_engine_will_refuse_are_told(place: Workplace) -> None:
    onnx.save(strided(), str(place.folder / "model.onnx"))
    odd = {"images": {"min": "1x3x62x64", "opt": "1x3x64x64", "max": "1x3x66x64"}}
    for report in (place.check(source="model.onnx", inputs=odd), place.build(source="model.onnx", inputs=odd)):
        told = [each["message"] for each in report["warnings"] if each["code"] == "profile-bounds-unusable"]
        assert len(told) == 2


def test_an_operator_of_nobody_is_a_missing_plugin_also_where_the_model_lists_no_domain_for_it(
    place: Workplace,
) -> None:
    nodes = [CONV, node("EfficientNMS_TRT", ["y"], ["z"], name="nms", domain="TRT")]
    onnx.save(
        model(nodes, [value("x", FLOAT, [1, 3, 8, 8])], [value("z", FLOAT, None)], {"w": W}),
        str(place.folder / "model.onnx"),
    )
    for precision in ("fp32", "fp16"):
        error = place.check(source="model.onnx", precision=precision)["error"]
        assert error["code"] == "plugin-missing"
        assert error["message"].endswith("no plugin for EfficientNMS_TRT at node 'nms'")


@pytest.mark.parametrize("listed", [[], [("TRT", 1)]])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_model_without_its_operator_set_is_refused(place: Workplace, listed: Any, precision: str) -> None:
    proto = conv(1, 3, 8, 8)
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(*each) for each in listed)
    onnx.save(proto, str(place.folder / "model.onnx"))
    error = place.check(source="model.onnx", precision=precision)["error"]
    assert error["code"] == "onnx-invalid"
    assert "make_opsetid" in error["hint"]


def test_types_that_tensorrt_lacks_are_named_by_input(place: Workplace) -> None:
    proto = model(
        [node("Cast", ["x"], ["y"], to=FLOAT)], [value("x", TensorProto.INT16, [2])], [value("y", FLOAT, [2])], {}
    )
    onnx.save(proto, str(place.folder / "model.onnx"))
    error = place.check(source="model.onnx")["error"]
    assert error["code"] == "onnx-unsupported-operator"
    assert "input 'x' (int16)" in error["message"]


def test_a_well_formed_model_is_not_blamed(place: Workplace) -> None:
    nodes = [node("Expand", ["x", "sizes"], ["y"], name="expand")]
    inputs = [value("x", FLOAT, [1, 1]), value("sizes", INT64, ["n"])]
    onnx.save(model(nodes, inputs, [Y], {}), str(place.folder / "model.onnx"))
    error = place.check(source="model.onnx")["error"]
    assert error["code"] == "onnx-unsupported-operator"
    assert "well formed" not in error["message"]


REWRITTEN: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any]]] = {
    "fp16": (static, {"precision": "fp16"}),
    "dft": (dft, {"inputs": {"x": "2x40x3x2"}}),
    "branches": (two_rates, {"inputs": {"x": "1x3x16x16"}, "onnx": {"constants": {"sr": 16000}}}),
    "as it is": (static, {}),
}


@pytest.mark.parametrize("kind", REWRITTEN)
def test_rewrite_writes_the_very_graph_that_the_engine_is_built_from(place: Workplace, kind: str) -> None:
    make, asked = REWRITTEN[kind]
    onnx.save(make(), str(place.folder / "source.onnx"))
    built = place.build(source="source.onnx", **asked)
    result = place.call("rewrite", str(place.manifest), "model", "-o", "model.onnx", "--executor", "local")
    assert result.status == 0, result.stderr
    assert not list(place.folder.glob(".model.onnx-*"))
    onnxruntime.InferenceSession(str(place.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    named = dict(word.partition("=")[::2] for word in shlex.split(built["trtexec_command"]))
    assert named["--onnx"] in ("model.onnx", str(place.folder / "source.onnx"))
    # The written file, built as it is with the same shapes, gives the same bytes.
    place.write({"name": "again", "source": "model.onnx", **{key: asked[key] for key in asked if key == "inputs"}})
    again = place.run().model("again")
    assert again["engine"]["sha256"] == built["engine"]["sha256"]


def test_rewrite_of_a_model_that_can_not_be_built_writes_nothing(place: Workplace) -> None:
    onnx.save(resize(), str(place.folder / "source.onnx"))
    place.write({"name": "model", "source": "source.onnx"})
    result = place.call("rewrite", str(place.manifest), "model", "-o", "model.onnx", "--executor", "local")
    assert result.status == 1
    assert "inputs-missing" in result.stdout
    assert sorted(file.name for file in place.folder.iterdir() if file.suffix == ".onnx") == ["source.onnx"]


def test_rewrite_takes_an_onnx_file_in_a_folder_that_exists(place: Workplace) -> None:
    onnx.save(resize(), str(place.folder / "source.onnx"))
    place.write({"name": "model", "source": "source.onnx"})
    for output in ("model.plan", "absent/model.onnx"):
        assert place.call("rewrite", str(place.manifest), "model", "-o", output, "--executor", "local").status == 2


def test_the_command_names_values_targets_and_the_program_of_the_backend(place: Workplace) -> None:
    onnx.save(resize(), str(place.folder / "source.onnx"))
    builder = {"compute_capabilities": ["8.6", "8.9"]}
    line = shlex.split(place.build(source="source.onnx", inputs={"sizes": VALUES}, builder=builder)["trtexec_command"])
    assert line[0] == "tensorrt_rtx"
    assert "--computeCapabilities=86,89" in line
    assert "--optShapes=x:1x3x8x8,sizes:1x3x16x16" in line
