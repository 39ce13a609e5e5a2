"""What the command line says about containers, and about what builds anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ContainerOptions:
    """What the command line says about containers. None: chosen by what the machine has.

    gpu: none, all, an index or a UUID. memory_bytes: limit of a container; 0 for none.
    nice: whether builds give way to other programs; in this Python, too.
    """

    platform: str | None = None
    image: str | None = None
    gpu: str | None = None
    memory_bytes: int | None = None
    nice: bool = False

    @property
    def given(self) -> bool:
        """Return whether the user chose anything that only containers have."""
        return replace(self, nice=False) != ContainerOptions()
