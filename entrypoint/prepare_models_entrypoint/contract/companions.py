"""Names of the files of a model: its engine, and what is next to it."""

from __future__ import annotations

import os
from pathlib import Path

PLAN = "1/model.plan"  # where Triton looks for it

CONFIG = "config.pbtxt"
PARAMETERS = "isaac_ros.yaml"
LAUNCH = "isaac_ros.launch.py"
DEEPSTREAM = "deepstream.txt"
LABELS = "deepstream.labels.txt"
PROVENANCE = "provenance.json"
SIGNED = "provenance.dsse.json"
REPORT = "report.json"
# The graph that an engine is built from, where only that is asked for; weights that don't fit into it are next to it.
GRAPH = "model.onnx"
GRAPH_WEIGHTS = f"{GRAPH}.weights"

# Every engine has these; DEEPSTREAM is there where nvinfer can feed the engine, SIGNED where somebody signed.
ALWAYS = (CONFIG, PARAMETERS, LAUNCH, PROVENANCE)

# What ``provision`` made of a model directory: everything else in it leads to the release that CURRENT names.
RELEASES = ".releases"
CURRENT = f"{RELEASES}/current"


def is_provisioned(directory: Path) -> bool:
    """Return whether a model's directory has releases, so that nobody may write its files in place."""
    return os.path.isdir(os.path.join(str(directory), CURRENT))


def has_engine(directory: Path) -> bool:
    """Return whether there is an engine in a model's directory, without a look at it."""
    return os.path.exists(os.path.join(str(directory), PLAN))
