"""Where an engine comes from, and whether this run may deliver it."""

from __future__ import annotations

from pathlib import Path

from prepare_models_entrypoint.contract.companions import SIGNED
from prepare_models_entrypoint.contract.report import ModelReport, Origin

from ..support import paths
from .envelopes import short


def untrusted(record: ModelReport, directory: Path | None = None) -> str | None:
    """Say why this run may not deliver an engine, or return None.

    It may if the engine was built here, is of the bundle that this run works on, or if a key that is trusted now signed
    its bundle or the statement next to it.

    Args:
        record: its report.
        directory: model directory whose signed statement counts as well.
    """
    origin, here = record["origin"], paths.origin()
    if origin is None or (here is not None and here["bundle"] == origin["bundle"]):
        return None
    from . import statements, trust  # only engines from elsewhere are judged by keys

    keyid = origin["signed_by"]
    if keyid is not None and trust.vouched(keyid):
        return None
    signed = directory is not None and (directory / SIGNED).is_file()
    if directory is not None and signed and statements.verify(directory, trust.load(paths.keys_file())).good:
        return None
    if keyid is None:
        return "the engine came from an unsigned bundle"
    return f"the engine came from a bundle by {short(keyid)}, which is not trusted here now"


def label_of(origin: Origin) -> str:
    """Return an origin in a few words."""
    signed_by = origin["signed_by"]
    return f"bundle {origin['bundle'][:16]}, " + (f"signed by {short(signed_by)}" if signed_by else "unsigned")
