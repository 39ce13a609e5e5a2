"""What a lock records about a platform: the tool, and what converts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.environment import RuntimeInfo

from .. import __version__
from .document import Facts

if TYPE_CHECKING:
    from ..docker.daemon import Image
    from ..machine.platforms import Platform

# Packages of the extra ``local``; others come with extras that not everybody has.
_REWRITING = ("onnx",)


def of_python(runtime: RuntimeInfo) -> tuple[str, Facts]:
    """Return name and facts of this Python as a platform."""
    backend = runtime["backend"]
    facts = {"tool": __version__}
    if backend is not None:
        facts.update(backend=backend["name"], backend_version=backend["version"])
    facts.update({name: found for name, found in runtime.get("packages", {}).items() if name in _REWRITING})
    return f"local-{os.uname().machine}", facts


def of_image(row: Platform, image: Image) -> tuple[str, Facts]:
    """Return name and facts of an image as a platform."""
    facts = {"tool": __version__, "image_id": image.id, "tensorrt": row.tensorrt}
    return f"{row.name}-{image.machine}", facts
