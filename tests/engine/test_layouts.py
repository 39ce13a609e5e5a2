"""A model is built right in every precision, however its weights are laid out: links, shards, ranges of one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import model_file, prepare
from prepare_models_entrypoint.onnx_graph.segments import Segments
from tests import layouts, networks
from tests.command import Workplace
from tests.engine.caches import measured

WIDTH, LAYERS = 160, 5


def outputs(model: Path, x: Any) -> Any:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_layout_is_built_and_says_the_same(place: Workplace, precision: str) -> None:
    models: dict[str, dict[str, Any]] = {}
    for kind in layouts.KINDS:
        source = layouts.write(place.folder / kind, kind, width=WIDTH, layers=LAYERS)
        plain = source if kind in ("plain", "shards", "shared", "ranges") else models["plain"]["source"]
        models[kind] = {"name": kind, "source": str(source), "precision": precision, "verify": {}}
        if precision == "int8":
            models[kind]["calibration_cache"] = str(measured(Path(plain), place.folder / f"{kind}.bin"))
    place.write(*models.values())
    result = place.run()
    for kind in layouts.KINDS:
        net = result.model(kind)
        assert net["error"] is None, kind
        assert net["verification"]["verdict"] == "passed", kind
        assert net["precision_proof"]["delivered"] == precision, kind
    x = np.random.default_rng(1).random((1, WIDTH), np.float32)
    for kind, model in models.items():
        typed = place.folder / f"{kind}.typed.onnx"
        assert place.call("rewrite", str(place.manifest), kind, "-o", str(typed)).status == 0, kind
        right = Segments(prepare.prepare(model_file.load(Path(model["source"])))).run({"x": x})["y"]
        assert np.abs(outputs(typed, x) - right).max() < (0.01 if precision == "fp16" else 0.1) * right.max(), kind


def test_whatever_onnx_puts_into_a_file_is_read_there_and_compared(place: Workplace) -> None:
    """With ``size_threshold=0`` these are sizes, too, and with ``convert_attribute`` those of Constant nodes."""
    shape = numpy_helper.from_array(np.array([1, -1], np.int64))
    model = onnx.load(str(networks.conv(place.folder / "plain.onnx")))
    model.graph.node[-1].output[0] = "flat"
    sizes = helper.make_node("Constant", [], ["sizes"], value=shape)
    model.graph.node.extend([sizes, helper.make_node("Reshape", ["flat", "sizes"], ["again"])])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 4, 32, 32], np.int64), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["again", "shape"], ["output"]))
    onnx.save(
        model, str(place.folder / "model.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip
    source = {"source": "model.onnx", "verify": {}}
    place.write({"name": "fp32", **source}, {"name": "fp16", "precision": "fp16", **source})
    run = place.run()
    assert [run.model(name)["error"] for name in ("fp32", "fp16")] == [None, None]
    assert run.model("fp16")["verification"]["verdict"] == "passed"
