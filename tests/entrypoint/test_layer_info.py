"""What TensorRT really said of its layers, word for word, and what can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare_models_entrypoint.contract.backends import installed
from prepare_models_entrypoint.contract.precision import Means
from prepare_models_entrypoint.converters import layer_info
from prepare_models_entrypoint.converters.messages import is_noise
from prepare_models_entrypoint.converters.precision import Rule, prove
from prepare_models_entrypoint.errors import ConvertError

REAL = Path(__file__).parents[1] / "data" / "inspector-8.6.0-conv-relu.json"


def test_an_answer_with_control_characters_is_read() -> None:
    assert b"\x1e" in REAL.read_bytes(), "as TensorRT 8.6.0 wrote it"
    evidence = layer_info.read(REAL)
    assert evidence is not None
    assert dict(evidence.layers) == {"fp32": 1}
    (layer,) = layer_info.layers(layer_info.parse(REAL.read_text()))
    assert (layer["name"], layer["type"], layer["outputs"]) == ("conv + relu", "CaskConvolution", ["output"])


def test_an_int8_engine_that_came_out_in_fp32_is_refused() -> None:
    with pytest.raises(ConvertError) as caught:
        prove("int8", Rule(Means.FLAGS, ("INT8",)), layer_info.read(REAL), allow_fallback=False)
    assert caught.value.code == "precision-not-delivered"


def test_an_unreadable_answer_is_never_one_without_layers(tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text(REAL.read_text()[:-40])
    with pytest.raises(layer_info.UnreadableError):
        layer_info.read(tmp_path / "layers.json")
    assert layer_info.read(tmp_path / "none.json") is None


def test_noise_of_the_timing_cache_hides_no_error() -> None:
    assert is_noise(
        "1: [myelinCache.h::deserializeFromBuffer::52] Error Code 1: Myelin (Myelin error from unknown graph)"
    )
    assert is_noise("4: The timing cache will not be used!")
    assert not is_noise(
        "10: [optimizer.cpp::computeCosts::3869] Error Code 10: Internal Error (Could not find any implementation)"
    )


def test_a_backend_without_metadata_says_its_version_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("__version__ = '8.5.2.2'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"name": "tensorrt", "version": "8.5.2.2"} in installed()


def test_a_backend_that_does_not_say_its_version_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('no libnvinfer')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "tensorrt" not in [backend["name"] for backend in installed()]
