"""Whether the user accepts the terms that a manifest marks."""

from __future__ import annotations

import os

VARIABLE = "PREPARE_MODELS_ACCEPT_EULA"


def accepted(*, flag: bool) -> bool:
    """Tell whether ``--accept-eula`` was given, or its variable is set."""
    return flag or os.environ.get(VARIABLE, "") in ("1", "true", "yes")
