"""A program that publishes engines without end, to be killed at any moment."""

from __future__ import annotations

import hashlib
import itertools
import sys
from pathlib import Path

from prepare_models_entrypoint import publish
from prepare_models_entrypoint.contract.files import partial_file
from prepare_models_entrypoint.contract.report import Binding, Engine, ModelReport, blank


def engine_of(number: int) -> bytes:
    return b"engine %d " % number * 20_000


def report_of(number: int, plan: bytes, dtype: str = "float32") -> ModelReport:
    report = blank("net", "net.onnx", precision="fp32", converter="auto")
    report["engine"] = Engine(path="", bytes=len(plan), sha256=hashlib.sha256(plan).hexdigest(), header={})
    report["io"] = [
        Binding(name=f"input_{number}", mode="input", dtype=dtype, shape=[1], profiles=[], source="network")
    ]
    return report


def publish_one(output_dir: Path, number: int, dtype: str = "float32") -> None:
    plan = publish.make_room(output_dir)
    content = engine_of(number)
    with partial_file(plan) as (stream, partial):
        stream.write(content)
        stream.flush()
        publish.publish(partial, output_dir, "/models/net", report_of(number, content, dtype))


def publish_forever(output_dir: Path) -> None:
    for number in itertools.count(1):
        publish_one(output_dir, number % 10)
        if number == 1:
            sys.stdout.write("publishing\n")
            sys.stdout.flush()
