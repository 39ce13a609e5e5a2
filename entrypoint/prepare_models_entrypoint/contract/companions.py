"""Names of the files beside an engine."""

from __future__ import annotations

CONFIG = "config.pbtxt"
PARAMETERS = "isaac_ros.yaml"
LAUNCH = "isaac_ros.launch.py"
DEEPSTREAM = "deepstream.txt"
LABELS = "deepstream.labels.txt"
PROVENANCE = "provenance.json"
SIGNED = "provenance.dsse.json"
REPORT = "report.json"
# The graph that an engine is built from, where only that is asked for; weights that don't fit into it stand beside it.
GRAPH = "model.onnx"
GRAPH_WEIGHTS = f"{GRAPH}.weights"

# Every engine has these; DEEPSTREAM is there where nvinfer can feed the engine, SIGNED where somebody signed.
ALWAYS = (CONFIG, PARAMETERS, LAUNCH, PROVENANCE)
