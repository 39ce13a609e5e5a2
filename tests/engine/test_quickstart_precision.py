"""The quickstart model in every precision: from .onnx and .etlt alike, and still right about its own test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.onnx_graph import calibration_cache
from prepare_models_entrypoint.onnx_graph.typed_model import prepared
from tests.command import Workplace
from tests.defects import KEY, encrypt
from tests.engine.caches import measured
from tests.engine.quickstart import HELD_OUT, MODEL, images


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured(MODEL, tmp_path_factory.mktemp("quickstart") / "cal.bin", images(0, 4))


def labels(model: Path, feeds: list[Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"input_2:0": feed})[0] for feed in feeds]


@pytest.mark.parametrize("source", ["model.onnx", "model.etlt"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_six_engines(place: Workplace, cache: Path, source: str, precision: str) -> None:
    (place.folder / "model.onnx").write_bytes(MODEL.read_bytes())
    encrypt(MODEL, place.folder / "model.etlt")
    more = {"calibration_cache": str(cache)} if precision == "int8" else {}
    place.write({"name": "net", "source": source, "key": {"env": "MODEL_KEY"}, "precision": precision, **more})
    report = place.run(MODEL_KEY=KEY).model("net")
    assert report["status"] == "built", report["error"]
    assert report["precision_proof"]["delivered"] == precision
    assert set(report["precision_proof"]["layers"]) == {precision}
    assert [(b["name"], b["dtype"]) for b in report["io"]] == [("input_2:0", "float32"), ("argmax_1", "int32")]


@pytest.mark.parametrize(("precision", "agreement"), [("fp16", 0.995), ("int8", 0.97)])
def test_the_rewritten_model_sees_what_the_original_sees(
    tmp_path: Path, cache: Path, precision: str, agreement: float
) -> None:
    feeds = images(HELD_OUT, 3)
    job = ModelJob(name="net", source=str(MODEL), output_dir="out", deploy_dir="out", precision=precision)
    scales = calibration_cache.read(cache, "cal.bin")
    with prepared(job, MODEL, tmp_path, cache=scales, on_phase=lambda _: None) as typed:
        found = labels(typed.path, feeds)
    same = [float((a == b).mean()) for a, b in zip(found, labels(MODEL, feeds), strict=True)]
    assert min(same) >= agreement
