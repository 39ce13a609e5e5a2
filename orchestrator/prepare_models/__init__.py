"""prepare-models: from a manifest of pretrained networks to TensorRT engines for this machine."""

import os
import sys

__version__ = "0.1.0"


def _forget_current_directory() -> None:
    """Import nothing from the current directory: ``-m`` puts it first, an empty entry of PYTHONPATH means it."""
    try:
        here = os.getcwd()
    except OSError:
        return
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if not os.path.isabs(entry)]
    relative = [os.path.join(here, entry).rstrip(os.sep) for entry in entries] if "PYTHONPATH" in os.environ else []
    if sys.argv[:1] == ["-m"] and sys.path[:1] == [here]:  # while Python looks for __main__
        relative.append(here)
    for place in relative:
        if place in sys.path:
            sys.path.remove(place)


_forget_current_directory()
