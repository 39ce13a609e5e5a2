"""Showing an ONNX graph in Netron."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prepare_models_entrypoint.contract import extras

from ...errors import HostError, UsageError


def check(files: Sequence[Path]) -> None:
    """Refuse what can't be shown, before anything is done.

    Raises:
        UsageError: not exactly one ONNX file.
        HostError: Netron is not installed.
    """
    if len(files) != 1 or files[0].suffix.lower() != ".onnx":
        raise UsageError("--view shows one .onnx file", hint="give the model that a plan was built from")
    try:
        import netron  # noqa: F401  # only asked for
    except ImportError:
        raise HostError("--view needs Netron", hint=extras.install("view")) from None


def serve(file: Path) -> None:
    """Serve the graph on this machine alone and open a browser; return when the user ends it with Ctrl-C."""
    import netron

    netron.start(str(file), address=("127.0.0.1", 0))
    netron.wait()
