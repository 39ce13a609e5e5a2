"""Convert every ONNX file of a folder, and say what became of each: the Python API in thirty lines."""

from __future__ import annotations

import sys
from pathlib import Path

import prepare_models


def told(event: prepare_models.Event) -> None:
    """Print the ends of stages."""
    if event.kind == "stage-finished":
        print(f"{event.model}: {event.stage} took {event.data['seconds']:.1f} s")


def main(folder: Path, models_dir: Path) -> int:
    """Return how many models failed."""
    models = [{"name": file.stem, "source": str(file.absolute())} for file in sorted(folder.glob("*.onnx"))]
    try:
        report = prepare_models.run({"version": 1, "models": models}, models_dir=models_dir, on_event=told)
    except prepare_models.PrepareModelsError as error:
        raise SystemExit(f"{error.message} [{error.code}]\n{error.hint}") from None
    for name, model in report.models.items():
        error_info = model["error"]
        print(f"{name}: {model['status']}", f"[{error_info['code']}]" if error_info else report.engines[name])
    return len(report.failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
