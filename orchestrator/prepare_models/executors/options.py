"""What the command line says about containers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContainerOptions:
    """What the command line says about containers. None: chosen by what the machine has.

    gpu: none, all, an index or a UUID. memory_bytes: memory limit of a container; 0 for none.
    """

    platform: str | None = None
    image: str | None = None
    gpu: str | None = None
    memory_bytes: int | None = None

    @property
    def given(self) -> bool:
        """Return whether the user set anything that only containers have."""
        return self != ContainerOptions()
