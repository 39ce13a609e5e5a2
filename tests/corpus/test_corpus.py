"""Real networks in fp16 and int8: right on samples that nothing was settled on, or refused, as expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.shapes import ShapeRange
from prepare_models_entrypoint.contract.verification import CalibrationConfig, VerifyConfig
from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph import calibrate
from prepare_models_entrypoint.onnx_graph.typed_model import as_asked, prepared
from prepare_models_entrypoint.verify import analysis
from prepare_models_entrypoint.verify.judging import judge
from tests.command import Workplace
from tests.corpus.networks import NETWORKS, RIGHT, Feed, Network
from tests.rounding import rounded, session

DOCS = Path(__file__).parents[2] / "docs" / "networks.md"
GIVEN, HELD_OUT = range(9), range(100, 106)


def given(network: Network, folder: Path) -> Path:
    """Write the samples that a user would give."""
    folder.mkdir()
    for seed in GIVEN:
        np.savez(folder / f"{seed}.npz", **network.sample(seed))  # type: ignore[arg-type]  # numpy's stub knows no mapping
    return folder


def rewritten(network: Network, precision: str, folder: Path) -> Path:
    """Rewrite a network as a build does, and return the file."""
    shapes = {name: ShapeRange(min=shape, opt=shape, max=shape) for name, shape in network.inputs.items()}
    model = onnx.load(str(network.path()))
    dynamic = {
        value.name for value in model.graph.input
        if any(not dim.HasField("dim_value") or dim.dim_value < 1 for dim in value.type.tensor_type.shape.dim)
    }  # fmt: skip
    job = ModelJob(
        name="m", source=str(network.path()), output_dir="out", deploy_dir="out", precision=precision,
        inputs={name: shape for name, shape in shapes.items() if name in dynamic},
        calibration=CalibrationConfig(images=str(given(network, folder / "samples"))),
    )  # fmt: skip
    source = network.path()
    cache = None
    if precision == "int8":
        cache = calibrate.produce(as_asked(job, source), job, folder / "made.cache", lambda *_: None)
    findings = analysis.find(job, source, lambda _: None)
    with prepared(job, source, folder, cache=cache, on_phase=lambda _: None, findings=findings) as typed:
        assert typed.evidence is not None
        assert typed.evidence.layers.get(precision), typed.evidence.layers
        kept: Path = typed.path.rename(folder / "typed.onnx")
    return kept


def answers(model: Any, feeds: list[Feed]) -> list[Feed]:
    runner = session(model)
    names = [value.name for value in runner.get_outputs()]
    return [dict(zip(names, runner.run(None, feed), strict=True)) for feed in feeds]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_network_is_right_or_refused(network: Network, precision: str, tmp_path: Path) -> None:
    if network.outcome(precision) != RIGHT:
        with pytest.raises(ConvertError) as caught:
            rewritten(network, precision, tmp_path)
        assert caught.value.code == network.outcome(precision)
        return
    made = rewritten(network, precision, tmp_path)
    onnx.checker.check_model(str(made))
    feeds = [network.sample(seed) for seed in HELD_OUT]
    pairs = zip(answers(str(network.path()), feeds), answers(rounded(onnx.load(str(made))), feeds), strict=True)
    judged = judge(VerifyConfig(), precision)(list(pairs))
    assert not judged.problems


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("network", [each for each in NETWORKS if each.builds], ids=lambda network: network.name)
def test_small_ones_are_built_and_compared(network: Network, precision: str, place: Workplace) -> None:
    given(network, place.folder / "samples")
    inputs = {name: "x".join(map(str, shape)) for name, shape in network.inputs.items()}
    report = place.build(
        source=str(network.path()), precision=precision, inputs=inputs, calibration={"images": "samples"}
    )
    assert report["status"] == "built", report["error"]
    assert report["precision_proof"]["delivered"] == precision
    assert report["verification"]["verdict"] == "passed"


def test_the_documented_table_is_what_is_tested() -> None:
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \| (.+) \| (.+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(network.package, network.file, network.fp16, network.int8) for network in NETWORKS]
