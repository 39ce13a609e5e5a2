"""``precision: auto`` judges each precision as its verification will: what it chooses is built and passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import networks, planted
from tests.command import Workplace
from tests.engine.caches import measured


def samples(file: Path, name: str, shape: tuple[int, ...], *largest: float) -> str:
    """Write samples of these magnitudes for an input."""
    random = np.random.default_rng(0)
    values = np.concatenate([random.uniform(-most, most, shape).astype(np.float32) for most in largest])
    with file.open("wb") as stream:
        np.savez(stream, **{name: values})  # type: ignore[arg-type]  # numpy's stub knows no mapping
    return file.name


def rows(net: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["precision"]: row for row in net["precision_proof"]["choices"]}


@pytest.mark.parametrize("thresholds", [{}, {"max_abs": 1e-3}])
def test_what_fits_the_first_samples_alone_is_not_chosen(place: Workplace, thresholds: dict[str, float]) -> None:
    planted.network(place.folder / "net.onnx", 0, overflows=True)
    file = samples(place.folder / "x.npz", "x", (1, 32), *[0.01] * 6, 2.0, 0.01)
    verify = {"npz": file, **({"thresholds": thresholds} if thresholds else {})}
    place.write({"name": "net", "source": "net.onnx", "precision": "auto", "verify": verify})
    result = place.run()
    net = result.model("net")
    assert (result.status, net["status"], net["error"]) == (0, "built", None)
    half = rows(net)["fp16"]
    if half["verdict"] == "chosen":
        assert (net["verification"]["verdict"], half["kept"] > 0) == ("passed", True)
    else:
        assert half["told"].startswith("on 8 samples of ")
        assert net["precision_proof"]["delivered"] == "fp32"


def test_the_error_in_the_table_is_that_of_the_verification(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    place.write({"name": "net", "source": "net.onnx", "precision": "auto", "verify": {"random": {"count": 5}}})
    net = place.run().model("net")
    row = rows(net)["fp16"]
    assert (row["verdict"], row["told"]) == ("chosen", "meets the thresholds on 5 random samples (seed 0)")
    assert row["error"] == max(output["max_of_range"] for output in net["verification"]["outputs"])


def test_scales_that_a_verification_would_refuse_are_not_chosen(place: Workplace) -> None:
    measured(networks.conv(place.folder / "net.onnx"), place.folder / "cal.bin")
    file = samples(place.folder / "x.npz", "input", (1, 3, 32, 32), *[0.05] * 8)
    model = {"name": "net", "source": "net.onnx", "calibration_cache": "cal.bin", "verify": {"npz": file}}
    place.write({**model, "precision": "int8"})
    assert "scales hold" in place.run().model("net")["error"]["message"]
    place.write({**model, "precision": "auto"})
    net = place.run().model("net")
    assert (net["status"], net["precision_proof"]["delivered"]) == ("built", "fp16")
    assert "scales hold" in rows(net)["int8"]["told"]
