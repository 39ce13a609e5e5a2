"""The workflow of older TAO models on full TensorRT: an encrypted model and its calibration cache become an engine."""

from __future__ import annotations

import pytest

from tests.command import Workplace
from tests.engine import quickstart

QUICKSTART = {"input_2:0": "1x3x544x960"}

pytest.importorskip("eff_tao_encryption.tao_codec.tao_codec", reason="NVIDIA's codec is for Python 3.10 and 3.12")


@pytest.fixture
def encrypted(place: Workplace) -> Workplace:
    from tests.defects import encrypt

    encrypt(quickstart.MODEL, place.folder / "model.etlt")
    return place


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_etlt_becomes_a_verified_engine(encrypted: Workplace, precision: str) -> None:
    from tests.defects import KEY

    cache = {"calibration_cache": str(quickstart.FOLDER / "calibration.cache")} if precision == "int8" else {}
    report = encrypted.build(source="model.etlt", key=KEY, precision=precision, inputs=QUICKSTART, verify={}, **cache)
    error = report["error"]
    if error is not None and precision == "int8":
        assert error["code"] == "precision-not-delivered", error
        return
    assert error is None, error
    assert report["precision_proof"]["delivered"] == precision
    assert (report["verification"]["verdict"], report["verification"]["candidate"]) == ("passed", "engine")
