"""The workflow of older TAO models on full TensorRT: an encrypted model and its calibration cache become an engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import networks
from tests.command import Workplace
from tests.engine.caches import measured

pytest.importorskip("eff_tao_encryption.tao_codec.tao_codec", reason="NVIDIA's codec is for Python 3.10 and 3.12")


@pytest.fixture
def encrypted(place: Workplace) -> Iterator[Workplace]:
    from tests.defects import encrypt

    plain = networks.conv(place.folder / "plain.onnx", (1, 3, 64, 64), channels=64)
    encrypt(plain, place.folder / "model.etlt")
    measured(plain, place.folder / "model.cache")
    plain.unlink()
    yield place


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_etlt_becomes_a_verified_engine(encrypted: Workplace, precision: str) -> None:
    from tests.defects import KEY

    cache = {"calibration_cache": "model.cache"} if precision == "int8" else {}
    report = encrypted.build(source="model.etlt", key=KEY, precision=precision, verify={}, **cache)
    error = report["error"]
    if error is not None and precision == "int8":
        assert error["code"] == "precision-not-delivered", error
        return
    assert error is None, error
    assert report["precision_proof"]["delivered"] == precision
    assert (report["verification"]["verdict"], report["verification"]["candidate"]) == ("passed", "engine")
