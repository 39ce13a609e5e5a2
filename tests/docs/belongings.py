"""What the reader of every page has: a clone, two models, and images."""

from __future__ import annotations

import atexit
import functools
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = Path(__file__).parents[2]
_CLONE = ("orchestrator", "entrypoint", "docker", "examples", "compose", "pyproject.toml", "README.md", "LICENSE")
_IMAGES = 8


def lay_out(folder: Path) -> None:
    """Copy what every reader has into a folder."""
    shutil.copytree(_prepared(), folder, dirs_exist_ok=True)


@functools.cache
def _prepared() -> Path:
    """Write ``model.onnx`` (fixed shapes), ``detector.onnx`` (any batch), ``samples/`` and the clone's files."""
    folder = Path(tempfile.mkdtemp(prefix="reader-"))
    atexit.register(shutil.rmtree, folder)
    for name in _CLONE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "examples/quickstart/model.onnx", folder)
    onnx.save(_detector(), folder / "detector.onnx")
    sys.path.insert(0, str(ROOT / "examples/quickstart"))
    draw = importlib.import_module("synthetic").synthetic_batch
    (folder / "samples").mkdir()
    images, _ = draw(_IMAGES, 136, 240, seed=1)  # four times the size takes sixteen times as long
    for number, image in enumerate(images):
        picture = Image.fromarray((image.transpose(1, 2, 0) * 255).astype(np.uint8)).resize((960, 544))
        picture.save(folder / "samples" / f"{number}.png")
    return folder


def _detector() -> onnx.ModelProto:
    """Return a small network, images (batch, 3, 640, 640) -> scores (batch, 8)."""
    random = np.random.default_rng(1)
    weights = {
        "first": random.normal(0, 0.2, (8, 3, 3, 3)), "second": random.normal(0, 0.1, (8, 8, 3, 3)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["a"], name="conv_1", strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"], name="relu_1"),
        helper.make_node("Conv", ["b", "second"], ["c"], name="conv_2", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["scores"], name="flatten"),
    ]
    graph = helper.make_graph(
        nodes, "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 640, 640])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
