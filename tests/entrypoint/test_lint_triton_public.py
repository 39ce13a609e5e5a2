"""Configurations in the style of public repositories: judged from the server's sources, before these rules saw them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from prepare_models_entrypoint.contract.report import Binding

from .model_folders import Repository, tensor

DATA = json.loads((Path(__file__).parents[1] / "data" / "triton-configurations.json").read_text(encoding="utf-8"))


def bindings(engine: str) -> List[Binding]:
    return [tensor(name, mode, shape, dtype, *ranges) for name, mode, dtype, shape, ranges in DATA["engines"][engine]]


def findings(folder: Path, case: Dict[str, Any]) -> List[Dict[str, str]]:
    repository = Repository(folder)
    repository.model(bindings(case["engine"]), files={"config.pbtxt": case["config"], **case.get("files", {})})
    return repository.lint("triton")


@pytest.mark.parametrize("case", DATA["loads"], ids=lambda case: case["config"][-60:])
def test_what_triton_loads_is_good(tmp_path: Path, case: Dict[str, Any]) -> None:
    assert findings(tmp_path, case) == []


@pytest.mark.parametrize("case", DATA["refused"], ids=lambda case: case["config"][-60:])
def test_what_triton_refuses_is_found(tmp_path: Path, case: Dict[str, Any]) -> None:
    assert findings(tmp_path, case) != []
