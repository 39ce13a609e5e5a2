"""Names of the files beside an engine."""

from __future__ import annotations

CONFIG = "config.pbtxt"
PARAMETERS = "isaac_ros.yaml"
LAUNCH = "isaac_ros.launch.py"
DEEPSTREAM = "deepstream.txt"
PROVENANCE = "provenance.json"
SIGNED = "provenance.dsse.json"
REPORT = "report.json"

# Every engine has these; DEEPSTREAM is there where nvinfer can feed the engine, SIGNED where somebody signed.
ALWAYS = (CONFIG, PARAMETERS, LAUNCH, PROVENANCE)
