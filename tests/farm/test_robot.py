"""A fleet: what a build host built, robots take, and they publish nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models.signing import envelopes

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


def write_key(folder: Path) -> CryptoSigner:
    """Write key.pem and key.pub, and return what signs with them."""
    for command in ("genpkey -algorithm ed25519 -out key.pem", "pkey -in key.pem -pubout -out key.pub"):
        subprocess.run(["openssl", *command.split()], check=True, cwd=folder)
    return envelopes.private_key(folder / "key.pem", None)
