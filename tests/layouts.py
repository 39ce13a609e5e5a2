"""One network in each layout that weights have in the wild: a file, links to it, several files, ranges of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT
KINDS = ("plain", "hard-link", "hugging-face", "shards", "shared", "ranges")


@dataclass
class _Net:
    """A chain of matrix products with other weights in each: ``x`` (1, width) -> ``y``."""

    width: int
    layers: int
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def weights(self) -> bytes:
        values = self.random.standard_normal((self.width, self.width), dtype=np.float32)
        return bytes((values * np.float32(1.4 / np.sqrt(self.width))).tobytes())

    def model(self, place: Callable[[int], dict[str, str | int]]) -> bytes:
        """Return the model; ``place`` says where the weights of a layer lie."""
        nodes, tensors, hidden = [], [], "x"
        for index in range(self.layers):
            name = f"w{index}"
            tensor = TensorProto(name=name, data_type=FLOAT, dims=[self.width, self.width])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in place(index).items():
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", [hidden, name], [f"product{index}"], name=f"matmul{index}"))
            hidden = "y" if index + 1 == self.layers else f"hidden{index}"
            nodes.append(helper.make_node("Relu", [f"product{index}"], [hidden], name=f"relu{index}"))
        x, y = (helper.make_tensor_value_info(name, FLOAT, [1, self.width]) for name in ("x", "y"))
        graph = helper.make_graph(nodes, "chain", [x], [y], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())


def write(folder: Path, kind: str, *, width: int, layers: int) -> Path:
    """Write the network, ``4 * width * width * layers`` bytes of weights, and return the file to name in a manifest."""
    net = _Net(width, layers)
    model, size = folder / "model.onnx", 4 * width * width
    at: dict[int, dict[str, str | int]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    blobs = folder / "blobs"
    if kind in ("hard-link", "hugging-face"):
        blobs.mkdir()
    for index in range(layers):
        if kind == "shared" and index % 2:  # two layers, one range
            at[index] = at[index - 1]
            continue
        name = f"model-{index % 3}.weights" if kind == "shards" else "model.onnx_data"
        with (blobs / "weights" if blobs.is_dir() else folder / name).open("ab") as stream:
            if kind == "ranges":
                stream.write(bytes(3 + index))
            at[index] = {"location": name, "offset": stream.tell(), "length": size}
            stream.write(net.weights())
    if kind == "ranges":
        del at[layers - 1]["length"]
    if not blobs.is_dir():
        model.write_bytes(net.model(at.__getitem__))
        return model
    (blobs / "model").write_bytes(net.model(at.__getitem__))
    return _linked(folder, blobs, hard=kind == "hard-link")


def _linked(folder: Path, blobs: Path, *, hard: bool) -> Path:
    snapshot = folder if hard else folder / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True, exist_ok=True)
    for name, blob in (("model.onnx", "model"), ("model.onnx_data", "weights")):
        if hard:
            (snapshot / name).hardlink_to(blobs / blob)
        else:
            (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot / "model.onnx"


def size(model: Path) -> int:
    """Return the bytes of a model and of its weights, each file once."""
    return sum(file.stat().st_size for file in model.parent.iterdir() if file.is_file())
