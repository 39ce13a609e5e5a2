"""Models that can't become engines, each with the code of the refusal. Used by tests and by the measurement of time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from eff_tao_encryption.tao_codec.tao_codec import encrypt_stream
from onnx import TensorProto, helper

from tests import networks

FLOAT = TensorProto.FLOAT
KEY = "canary_tlt_encode"


def encrypt(plain: Path, target: Path, key: str = KEY) -> Path:
    """Write ``plain`` as an .etlt container with NVIDIA's own codec."""
    with plain.open("rb") as source, target.open("wb") as etlt:
        etlt.write(struct.pack("<i", 0))
        encrypt_stream(source, etlt, key, encryption=True, rewind=False)
    return target


def _write(path: Path, data: bytes) -> dict[str, Any]:
    path.write_bytes(data)
    return {"source": path.name}


def wrong_key(folder: Path) -> dict[str, Any]:
    encrypt(networks.conv(folder / "plain.onnx"), folder / "model.etlt", key="another key")
    return {"source": "model.etlt", "key": {"env": "MODEL_KEY"}}


def truncated_etlt(folder: Path) -> dict[str, Any]:
    whole = encrypt(networks.heavy(folder / "plain.onnx", layers=2), folder / "whole.etlt").read_bytes()
    return {**_write(folder / "model.etlt", whole[: len(whole) // 2]), "key": {"env": "MODEL_KEY"}}


def uff(folder: Path) -> dict[str, Any]:
    return {**_write(folder / "model.etlt", struct.pack("<i", 7) + b"input_1" + bytes(64)), "key": "any"}


def empty_if(folder: Path) -> dict[str, Any]:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["inner"])], "branch", [],
        [helper.make_tensor_value_info("inner", FLOAT, (1, 8))],
    )  # fmt: skip
    node = helper.make_node("If", [], ["output"], name="if_node", then_branch=branch, else_branch=branch)
    model = helper.make_model(
        helper.make_graph(
            [node], "test",
            [helper.make_tensor_value_info("input", FLOAT, (1, 8))],
            [helper.make_tensor_value_info("output", FLOAT, (1, 8))],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    return _write(folder / "model.onnx", model.SerializeToString())


def dynamic(folder: Path) -> dict[str, Any]:
    networks.conv(folder / "model.onnx", ("batch", 3, 32, 32))
    return {"source": "model.onnx"}


def foreign_cache(folder: Path) -> dict[str, Any]:
    networks.conv(folder / "model.onnx")
    (folder / "cal.bin").write_bytes(b"TRT-8601-EntropyCalibration2\nother: 3c010a14\n")
    return {"source": "model.onnx", "precision": "int8", "calibration_cache": "cal.bin"}


def external(folder: Path, size: int, *, there: int | None = None) -> dict[str, Any]:
    """A chain of matrix products whose weights of about ``size`` bytes lie in another, sparse file.

    ``there``: bytes of that file, all by default.
    """
    width, layers = 1024, 4
    inner = size // layers // width // 4
    each = width * inner * 4
    nodes, weights, names = [], [], ["input", *(f"hidden_{index}" for index in range(1, layers)), "output"]
    for index in range(layers):
        dims = (width, inner) if index % 2 == 0 else (inner, width)
        tensor = TensorProto(name=f"w{index}", data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "weights.bin"), ("offset", str(index * each)), ("length", str(each))):
            tensor.external_data.add(key=key, value=value)
        weights.append(tensor)
        ends = [names[index], f"w{index}"], [names[index + 1]]
        nodes.append(helper.make_node("MatMul", *ends, name=f"matmul_{index}"))
    networks.save(folder / "model.onnx", nodes, [("input", FLOAT, (1, width))], [("output", FLOAT, (1, width))])
    model = onnx.load(str(folder / "model.onnx"))
    model.graph.initializer.extend(weights)
    with (folder / "weights.bin").open("wb") as stream:
        stream.truncate(layers * each if there is None else there)
    return _write(folder / "model.onnx", model.SerializeToString())


def plugin_operator(folder: Path) -> dict[str, Any]:
    value = (FLOAT, (1, 8))
    node = helper.make_node("EfficientNMS_TRT", ["input"], ["output"], name="nms_node")
    networks.save(folder / "model.onnx", [node], [("input", *value)], [("output", *value)])
    return {"source": "model.onnx"}


def unsupported(folder: Path) -> dict[str, Any]:
    value = (FLOAT, (4, 4))
    node = helper.make_node("Det", ["input"], ["output"], name="det_node")
    networks.save(folder / "model.onnx", [node], [("input", *value)], [("output", FLOAT, ())])
    return {"source": "model.onnx"}


def zeros(folder: Path) -> dict[str, Any]:
    """A file of the right size that was never filled."""
    return _write(folder / "model.onnx", bytes(4096))


def incomplete_3_gb(folder: Path) -> dict[str, Any]:
    """A model of 3 GB whose weights file ends after 1 GB."""
    return external(folder, 3 << 30, there=1 << 30)


def too_large(folder: Path) -> dict[str, Any]:
    """A whole model (its weights file is sparse) that no machine of the field could build."""
    return external(folder, 1 << 40)


Maker = Callable[[Path], dict[str, Any]]
DEFECTS: list[tuple[str, Maker]] = [
    ("etlt-key-wrong", wrong_key),
    ("etlt-truncated", truncated_etlt),
    ("etlt-uff", uff),
    ("onnx-unsupported-operator", unsupported),
    ("onnx-node-invalid", empty_if),
    ("inputs-missing", dynamic),
    ("network-empty", zeros),
    ("calibration-cache-foreign", foreign_cache),
    ("onnx-external-data", incomplete_3_gb),
    ("memory-insufficient", too_large),
    ("plugin-missing", plugin_operator),
]
