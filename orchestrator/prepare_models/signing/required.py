"""Which signature is required."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.values import Value

if TYPE_CHECKING:
    from .trust import KeyList


class Signatures(Value):
    """Which signature a lock or bundle must have; none if neither ``required`` nor a key is set.

    public_key: PEM file of the one key that must have signed it. trusted_keys: list of trusted keys, instead of the
    user's own.
    """

    required: bool = False
    public_key: Path | None = None
    trusted_keys: Path | None = None

    def keys(self) -> KeyList | None:
        """Return the keys, one of which must have signed; None if no signature is required."""
        if self.public_key is None and self.trusted_keys is None and not self.required:
            return None
        from . import trust

        return trust.of_public_key(self.public_key) if self.public_key else trust.load(trust.place(self.trusted_keys))
