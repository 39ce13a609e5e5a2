"""``ros2 run prepare_models_ros prepare MANIFEST MODELS_DIR [NAME...]``: build what is out of date, launch nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import prepare_models


def launch_file(manifest: str, model: str, models_dir: str) -> Path:
    """Prepare one model, and return the launch file of its node.

    Raises:
        prepare_models.PrepareModelsError: the manifest can't be read, or the engine could not be built.
    """
    prepare_models.run(manifest, models=[model], models_dir=models_dir).raise_for_failure()
    return Path(models_dir, model, "isaac_ros.launch.py").absolute()


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare models and return the exit status: 0 when all are ready."""
    manifest, models_dir, *names = sys.argv[1:] if argv is None else argv
    try:
        prepare_models.run(manifest, models=names, models_dir=models_dir).raise_for_failure()
    except prepare_models.PrepareModelsError as error:
        sys.stderr.write(f"[{error.code}] {error.message}\n  -> {error.hint}\n")
        return 1
    return 0
