"""Calibration caches made from the user's own samples."""

from __future__ import annotations

import numpy as np
import pytest

from prepare_models_entrypoint.onnx_graph import calibration_cache
from tests import networks
from tests.command import Workplace


def test_a_cache_is_made_from_samples_and_kept(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "samples").mkdir()
    for index in range(4):
        sample = np.random.default_rng(index).uniform(-2, 2, (1, 3, 32, 32)).astype(np.float32)
        np.save(place.folder / "samples" / f"{index}.npy", sample)
    report = place.build(source="model.onnx", precision="int8", calibration={"images": "samples", "limit": 3})
    assert report["status"] == "built", report["error"]
    made = place.models_dir / "model" / "calibration.cache"
    scales = calibration_cache.read(made, "made").scales
    assert scales["input"] == pytest.approx(2 / 127, rel=0.01)
    again = place.build(source="model.onnx", precision="int8", calibration_cache=str(made))
    assert again["engine"]["sha256"] == report["engine"]["sha256"]


def test_samples_that_were_moved_give_no_new_engine_and_changed_ones_do(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "samples").mkdir()
    sample = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    np.save(place.folder / "samples" / "0.npy", sample)
    model = {"source": "model.onnx", "precision": "int8"}
    first = place.build(calibration={"images": "samples"}, **model)
    assert first["status"] == "built", first["error"]
    (place.folder / "samples").rename(place.folder / "moved")
    assert place.build(calibration={"images": "moved"}, **model)["status"] == "up-to-date"
    np.save(place.folder / "moved" / "0.npy", 2 * sample)
    again = place.build(calibration={"images": "moved"}, **model)
    assert again["status"] == "built"
    assert "calibration sha256" in again["reason"]
    assert again["engine"]["sha256"] != first["engine"]["sha256"]


def test_samples_that_are_not_there_are_an_error(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = place.build(source="model.onnx", precision="int8", calibration={"images": "nowhere"})
    assert report["error"]["code"] == "calibration-samples-unusable"
