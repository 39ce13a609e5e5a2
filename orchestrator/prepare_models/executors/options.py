"""What the command line says about containers."""

from __future__ import annotations

from dataclasses import dataclass

from ..machine import platforms
from ..machine.facts import Machine
from ..machine.platforms import Platform


@dataclass(frozen=True)
class ContainerOptions:
    """What the command line says about containers. None leaves a choice to what is found on the machine.

    gpu: none, all, an index or a UUID. memory_bytes: limit of a container; 0 for none.
    """

    platform: str | None = None
    image: str | None = None
    gpu: str | None = None
    memory_bytes: int | None = None

    def platform_for(self, machine: Machine) -> Platform:
        """Return the platform of the image for a machine."""
        return platforms.named(self.platform) if self.platform else platforms.pick(machine).platform

    def image_for(self, platform: Platform) -> str:
        """Return the name of the image for a platform."""
        return self.image or platform.image

    @property
    def given(self) -> bool:
        """Tell whether the user chose anything that only containers have."""
        return self != ContainerOptions()
