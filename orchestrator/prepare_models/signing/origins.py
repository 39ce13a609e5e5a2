"""Where an engine comes from, and whether this run may use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prepare_models_entrypoint.contract.companions import SIGNED
from prepare_models_entrypoint.contract.report import ModelReport, Origin

from ..support import paths
from .envelopes import short


def untrusted(
    record: ModelReport, directory: Path | None = None, locked: Mapping[str, str] | None = None
) -> str | None:
    """Return why this run may not use an engine, or None.

    It may if the engine was built here. One from elsewhere has to be exactly the locked one, if the lock has one of its
    build key; otherwise it has to be of the bundle that this run works on, or of one that a key signed which is trusted
    now, or such a key signed the statement next to it. One from a shared store has to be signed by such a key, too.

    ``directory``: model directory whose signed statement counts, too. ``locked``: sha256 by build key of the model's
    engines in the lock that this run must match; the caller verifies that the bytes have the digest in the record.
    """
    origin, here = record["origin"], paths.origin()
    if origin is None:
        return None
    digest, engine = (locked or {}).get(record["build_key"] or ""), record["engine"]
    if digest is not None and engine is not None:
        text = f"the engine came from elsewhere and has sha256 {engine['sha256'][:12]}, the lock has {digest[:12]}"
        return None if engine["sha256"] == digest else text
    if here is not None and here["bundle"] == origin["bundle"]:
        return None
    from . import statements, trust  # only engines from elsewhere are checked by keys

    keyid = origin["signed_by"]
    known = trust.load(paths.keys_file()).keys.get(keyid) if keyid is not None else None
    if known is not None and known.objection(trust.CONTENTS) is None:
        return None
    signed = directory is not None and (directory / SIGNED).is_file()
    if directory is not None and signed and statements.verify(directory, trust.load(paths.keys_file())).good:
        return None
    if origin["store"] is not None:
        by = (
            f"by {short(keyid)}, which is not trusted here now"
            if keyid
            else "where no key that is trusted here signed it"
        )
        return f"the engine came from {origin['store']}, {by}"
    if keyid is None:
        return "the engine came from an unsigned bundle"
    return f"the engine came from a bundle by {short(keyid)}, which is not trusted here now"


def label_of(origin: Origin) -> str:
    """Return an origin in a few words."""
    signed_by, bundle = origin["signed_by"], origin["bundle"]
    place = f"bundle {bundle[:16]}" if bundle else str(origin["store"])
    return f"{place}, " + (f"signed by {short(signed_by)}" if signed_by else "unsigned")
