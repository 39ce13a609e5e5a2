"""Names of a model's files: its engine and the files next to it."""

from __future__ import annotations

import os
from pathlib import Path

PLAN = "1/model.plan"  # where Triton looks for it
PLAN_ENDINGS = (".plan", ".engine", ".trt")

CONFIG = "config.pbtxt"
PARAMETERS = "isaac_ros.yaml"
LAUNCH = "isaac_ros.launch.py"
DEEPSTREAM = "deepstream.txt"
LABELS = "deepstream.labels.txt"
PROVENANCE = "provenance.json"
SIGNED = "provenance.dsse.json"
REPORT = "report.json"
# The graph that an engine would be built from, if only that is wanted; weights that don't fit into it are next to it.
GRAPH = "model.onnx"
GRAPH_WEIGHTS = f"{GRAPH}.weights"

# Every engine has these. DEEPSTREAM exists if nvinfer can feed the engine, SIGNED if somebody signed it.
ALWAYS = (CONFIG, PARAMETERS, LAUNCH, PROVENANCE)

# A model directory written by ``provision``: everything else in it links to the release that CURRENT names.
RELEASES = ".releases"
CURRENT = f"{RELEASES}/current"


def is_provisioned(directory: Path) -> bool:
    """Return whether a model's directory has releases, so that nobody may write its files in place."""
    return os.path.isdir(os.path.join(str(directory), CURRENT))


def has_engine(directory: Path) -> bool:
    """Return whether a model's directory contains an engine; its content is not checked."""
    return os.path.exists(os.path.join(str(directory), PLAN))
