"""What a build says about its own engine, in a directory that an earlier engine has filled."""

from __future__ import annotations

from pathlib import Path

from prepare_models_entrypoint.consumers.lint import of_engine
from prepare_models_entrypoint.contract.report import blank


def test_a_new_engine_is_not_judged_by_the_files_of_an_earlier_one(tmp_path: Path) -> None:
    report = blank("net", "net.onnx", precision="fp32", converter="auto")
    before = of_engine(report, tmp_path)
    (tmp_path / "isaac_ros.yaml").write_text("{ not YAML", encoding="utf-8")
    (tmp_path / "config.pbtxt").write_text("no_such_field: 1", encoding="utf-8")
    assert of_engine(report, tmp_path) == before
