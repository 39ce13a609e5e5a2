"""What the command line says about containers, about a farm, and about what builds anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prepare_models_entrypoint.contract.values import Value


class FarmOptions(Value):
    """How a farm is reached, with the rights that its members give each other.

    scheduler: address, such as tls://build.example:8786. tls_ca, tls_cert, tls_key: PEM files, for tls://.
    insecure: whether tcp:// may leave this machine, which lets whoever reaches it run code on all members.
    attach: whether engines are taken that are built or under way, and nothing is started.
    store: URL of the store that all members share, through which engines come.
    """

    scheduler: str | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    attach: bool = False
    store: str | None = None


class ContainerOptions(Value):
    """What the command line says about containers. None: chosen by what the machine has.

    gpu: none, all, an index or a UUID. memory_bytes: limit of a container; 0 for none.
    farm: for the executor that has its machines elsewhere.
    nice: whether builds give way to other programs; in this Python, too.
    """

    platform: str | None = None
    image: str | None = None
    gpu: str | None = None
    memory_bytes: int | None = None
    nice: bool = False
    farm: FarmOptions = FarmOptions()

    @property
    def given(self) -> bool:
        """Return whether the user chose anything that only containers have."""
        return replace(self, nice=False, farm=FarmOptions()) != ContainerOptions()
