"""Mutated models, containers and caches: every one an error of its own kind or a good result; no crash, no hang.

The readers run in this process; what reaches the builder runs in the build process, where a crash of the backend is an
error of that model. The seed is fixed, so a failure comes back.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from prepare_models.errors import PrepareModelsError
from prepare_models.manifest import load
from prepare_models_entrypoint.contract import ModelJob
from prepare_models_entrypoint.contract.runtime import probe
from prepare_models_entrypoint.convert import calibration_cache, etlt, graph, onnx_file, quantize, stage
from prepare_models_entrypoint.errors import StageError
from tests import networks
from tests.defects import KEY, encrypt
from tests.engine.caches import measured

ROUNDS = 500
BUILDS = 12
MANIFEST = """\
version: 1
defaults: {precision: fp16, builder: {workspace: 512MiB}}
models:
- name: net
  source: net.onnx
  precision: int8
  calibration_cache: cal.bin
  inputs: {"input_2:0": {min: 1x3x32x32, opt: 2x3x32x32, max: 4x3x32x32}}
  plugins: [{file: p.so, sha256: 0000000000000000000000000000000000000000000000000000000000000000}]
  onnx: {sanitize: true, static_shapes: {x: 1x3}}
  tao: {dims: "3,544,960"}
"""


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the data with bytes flipped, cut out, doubled, or its end missing."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(out)) if out else 0
        kind = chance.randrange(5)
        if kind == 0 and out:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and out:
            out[at] = chance.randrange(256)
        elif kind == 2:
            del out[at : at + chance.randint(1, 32)]
        elif kind == 3:
            out[at:at] = out[at : at + chance.randint(1, 32)]
        else:
            del out[at:]
    return bytes(out)


def survives(call: Callable[[], object]) -> str:
    """Return the code of the refusal, or nothing when the call went well. Any other exception fails the test."""
    try:
        call()
    except StageError as error:
        return error.code
    except PrepareModelsError as error:
        return error.code
    return ""


def read_model(file: Path) -> None:
    onnx_file.check(file)
    model = graph.load(file)
    quantize.insert(model, {"input": 0.1, "hidden": 0.1}, names=graph.tensor_names(model))


def test_mutated_models(tmp_path: Path) -> None:
    data = networks.conv(tmp_path / "whole.onnx").read_bytes()
    chance, file = random.Random(1), tmp_path / "model.onnx"
    codes = set()
    for _ in range(ROUNDS):
        file.write_bytes(mutated(data, chance))
        codes.add(survives(lambda: read_model(file)))
    assert "onnx-invalid" in codes


def test_mutated_containers(tmp_path: Path) -> None:
    data = encrypt(networks.conv(tmp_path / "plain.onnx"), tmp_path / "whole.etlt").read_bytes()
    chance, file, out = random.Random(2), tmp_path / "model.etlt", tmp_path / "out.onnx"
    codes = set()
    for _ in range(ROUNDS):
        file.write_bytes(mutated(data, chance))
        codes.add(survives(lambda: etlt.decrypt(file, KEY, out)))
        out.unlink(missing_ok=True)
    assert codes - {""} <= {"etlt-invalid", "etlt-uff", "etlt-key-wrong", "etlt-truncated"}
    assert len(codes) >= 3


def test_mutated_caches(tmp_path: Path) -> None:
    data = measured(networks.heavy(tmp_path / "model.onnx", layers=4), tmp_path / "whole.bin").read_bytes()
    chance, file = random.Random(3), tmp_path / "cal.bin"
    codes = set()
    for _ in range(ROUNDS):
        file.write_bytes(mutated(data, chance))
        codes.add(survives(lambda: calibration_cache.read(file, "cal.bin").written_for()))
    assert codes == {"", "calibration-cache-invalid"}


def test_mutated_manifests(tmp_path: Path) -> None:
    chance, file = random.Random(4), tmp_path / "models.yaml"
    codes = set()
    for _ in range(ROUNDS):
        file.write_bytes(mutated(MANIFEST.encode("utf-8"), chance))
        codes.add(survives(lambda: load(file)))
    assert "manifest-invalid" in codes


@pytest.mark.parametrize("seed", range(BUILDS))
def test_mutated_models_in_the_real_build_process(tmp_path: Path, seed: int) -> None:
    data = networks.conv(tmp_path / "whole.onnx").read_bytes()
    source = tmp_path / "model.onnx"
    source.write_bytes(mutated(data, random.Random(seed)))
    model = ModelJob(name="m", source=str(source), output_dir=str(tmp_path), deploy_dir=str(tmp_path), timeout_s=30)
    code = survives(
        lambda: stage.convert(
            model, source, tmp_path / "plan", work_dir=tmp_path, runtime=probe(gpu=False), on_progress=lambda _: None
        )
    )
    assert code != "internal"
