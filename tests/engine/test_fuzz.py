"""Mutated models, containers and caches: every one an error of its own kind or a good result; no crash, no hang.

The readers run in this process; what reaches the builder runs in the build process, where a crash of the backend is an
error of that model. The seed is fixed, so a failure comes back.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from prepare_models.errors import PrepareModelsError
from prepare_models.manifest.load import load
from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.runtime import probe
from prepare_models_entrypoint.converters import convert, etlt
from prepare_models_entrypoint.errors import StageError
from prepare_models_entrypoint.onnx_graph import calibration_cache, whole_file
from prepare_models_entrypoint.onnx_graph.typed_model import prepared
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


SCALES = dict.fromkeys(("input", "hidden", "normal", "output"), 0.1)


def normalized(path: Path) -> Path:
    """A convolution with a batch normalization, for everything that rewriting to int8 does."""
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["hidden"], name="conv"),
        helper.make_node("BatchNormalization", ["hidden", *"gomv"], ["normal"], name="norm"),
        helper.make_node("Conv", ["normal", "wide"], ["output"], name="last"),
    ]
    random = np.random.default_rng(0)
    weights = {name: random.uniform(0.5, 2, 4).astype(np.float32) for name in "gomv"}
    weights |= {name: random.standard_normal((4, 4, 3, 3)).astype(np.float32) for name in ("weight", "wide")}
    value = (TensorProto.FLOAT, (1, 4, 8, 8))
    return networks.save(path, nodes, [("input", *value)], [("output", TensorProto.FLOAT, (1, 4, 4, 4))], weights)


def rewrite_model(file: Path, cache: calibration_cache.CalibrationCache) -> None:
    whole_file.check(file)
    job = ModelJob(name="m", source=str(file), output_dir="out", deploy_dir="out", precision="int8")
    with prepared(job, file, file.parent, cache=cache, on_phase=lambda _: None):
        pass


def test_mutated_models(tmp_path: Path) -> None:
    data = normalized(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "cal.bin").write_bytes(calibration_cache.write(SCALES))
    cache = calibration_cache.read(tmp_path / "cal.bin", "cal.bin")
    rewrite_model(tmp_path / "whole.onnx", cache)
    chance, file = random.Random(1), tmp_path / "model.onnx"
    codes = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy on values that a mutation made infinite
        for _ in range(ROUNDS):
            file.write_bytes(mutated(data, chance))
            codes.add(survives(lambda: rewrite_model(file, cache)))
    assert {"", "onnx-invalid", "onnx-node-invalid"} <= codes


def test_mutated_containers(tmp_path: Path) -> None:
    data = encrypt(networks.conv(tmp_path / "plain.onnx"), tmp_path / "whole.etlt").read_bytes()
    chance, file, out = random.Random(2), tmp_path / "model.etlt", tmp_path / "out.onnx"
    key = tmp_path / "key"
    key.write_text(KEY)
    codes = set()
    for _ in range(ROUNDS):
        file.write_bytes(mutated(data, chance))
        error = etlt.decrypt_file(file, key, out)["error"]
        codes.add(error["code"] if error is not None else "")
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
        lambda: convert.convert(
            model, source, tmp_path / "plan", work_dir=tmp_path, runtime=probe(gpu=False), on_progress=lambda _: None
        )
    )
    assert code != "internal"
