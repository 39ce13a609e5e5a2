"""The quickstart model and the synthetic images that it is trained and tested on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[2] / "examples" / "quickstart"
MODEL = FOLDER / "model.onnx"
HELD_OUT = 1_000_000


def images(first: int, count: int) -> list[Any]:
    spec = importlib.util.spec_from_file_location("synthetic", FOLDER / "synthetic.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module.synthetic_batch(1, 544, 960, first + index)[0].astype(np.float32) for index in range(count)]
