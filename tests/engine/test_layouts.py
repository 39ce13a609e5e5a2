"""A model is built right in every precision, however its weights are laid out: links, shards, ranges of one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

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


def test_small_weights_in_a_file_are_compared(place: Workplace) -> None:
    """Weights of any size may be in files; ONNX Runtime opens none for a part of a model."""
    model = onnx.load(str(networks.conv(place.folder / "plain.onnx")))
    onnx.save(model, str(place.folder / "model.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    report = place.build(source="model.onnx", precision="fp16", verify={})
    assert report["error"] is None, report["error"]
    assert report["verification"]["verdict"] == "passed"
