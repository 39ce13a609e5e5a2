"""Terms of models in a manifest, and whether the user accepts them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..errors import LicenceError
from .model import ModelSpec

VARIABLE = "PREPARE_MODELS_ACCEPT_EULA"


def accepted(*, flag: bool) -> bool:
    """Return whether ``--accept-eula`` was given, or its variable is set."""
    return flag or os.environ.get(VARIABLE, "") in ("1", "true", "yes")


def require(specs: Iterable[ModelSpec], *, accepted: bool) -> None:
    """Refuse models whose terms were not accepted.

    Raises:
        LicenceError: terms were not accepted; it names each model with the page of its terms.
    """
    terms = sorted({f"{spec.name}: {spec.eula}" for spec in specs if spec.eula})
    if terms and not accepted:
        raise LicenceError(
            "terms must be accepted: " + ", ".join(terms),
            hint=f"read them, then run again with --accept-eula or {VARIABLE}=1",
        )
