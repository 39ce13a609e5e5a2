"""int8 from images in a container: calibrated, built and verified there as here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import networks
from tests.docker.conftest import DockerPlace

SAMPLES = 8


def test_int8_from_images_is_calibrated_and_verified_in_a_container_as_here(
    place: DockerPlace, nothing_left: Callable[[], None]
) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "pictures").mkdir()
    random = np.random.default_rng(3)
    for index in range(SAMPLES):
        pixels = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place.folder / "pictures" / f"{index}.png")
    samples = {"images": "pictures"}
    place.write({"name": "net", "source": "model.onnx", "precision": "int8", "calibration": samples, "verify": samples})
    found: dict[str, Any] = {}
    for executor in ("docker", "local"):
        done = place.call("run", "models.yaml", "--executor", executor, "--models-dir", executor, "--force", "--json")
        found[executor] = done.model("net")
        assert found[executor]["status"] == "built", found[executor]["error"]
    inside, here = found["docker"], found["local"]
    assert inside["precision_proof"] == here["precision_proof"]
    assert inside["precision_proof"]["layers"] == {"int8": 1}
    assert inside["verification"]["verdict"] == here["verification"]["verdict"] == "passed"
    assert inside["verification"]["samples"] == here["verification"]["samples"]
    for one, other in zip(inside["verification"]["outputs"], here["verification"]["outputs"], strict=True):
        assert one["max_abs"] == pytest.approx(other["max_abs"], rel=0.1)
    assert inside["engine"]["sha256"] == here["engine"]["sha256"]
    nothing_left()
