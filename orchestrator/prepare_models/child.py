"""The entrypoint as a child process of this Python: its arguments, its environment, and secrets that leave no trace."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE = "prepare_models_entrypoint"
# Keys go to the entrypoint through a file without a name; what it starts in turn has no use for them.
_KEY_VARIABLES = ("NGC_API_KEY", "NGC_CLI_API_KEY", "NGC_APP_KEY")


def argv(*arguments: str) -> list[str]:
    """Return the argument vector of an entrypoint command."""
    return [sys.executable, "-m", MODULE, *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment without keys, and with the entrypoint importable from wherever it is."""
    import prepare_models_entrypoint.contract  # noqa: F401  # its parent's location is what is asked for

    root = str(Path(sys.modules[MODULE].__path__[0]).parent)
    kept = {name: value for name, value in os.environ.items() if name not in _KEY_VARIABLES}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


@contextlib.contextmanager
def secret_file(content: str | None) -> Iterator[int | None]:
    """Yield a descriptor from which a child reads a secret. It has no name on any disk, so it leaves nothing behind."""
    if content is None:
        yield None
        return
    descriptor = os.memfd_create("secret")
    try:
        os.write(descriptor, content.encode("utf-8"))
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int | None) -> Path | None:
    """Return the path under which a child that inherits a descriptor finds it."""
    return None if descriptor is None else Path(f"/proc/self/fd/{descriptor}")
