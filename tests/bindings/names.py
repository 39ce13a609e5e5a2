"""The names of a module, and the members of some of its classes, as JSON. For a process of its own."""

from __future__ import annotations

import importlib
import json
import sys

DETAILED = ("Builder", "BuilderFlag", "HardwareCompatibilityLevel", "IBuilderConfig", "ILayer", "INetworkDefinition",
            "ITimingCache", "OnnxParser")  # fmt: skip


def names(module: str) -> dict[str, list[str]]:
    """Return the public names of a module; those in ``DETAILED`` with their own public names."""
    trt = importlib.import_module(module)
    public = [name for name in dir(trt) if not name.startswith("_") and not name.startswith("tensorrt")]
    return {name: _members(getattr(trt, name)) if name in DETAILED else [] for name in public}


def _members(kind: object) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


if __name__ == "__main__":
    print(json.dumps(names(*sys.argv[1:])))
