"""What a call says about a run, containers, a farm, a shared store and signatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prepare_models_entrypoint.contract.values import Value

from .docker.address import is_local
from .errors import UsageError

if TYPE_CHECKING:
    from .signing.trust import KeyList

PULL_ONLY, PULL_OR_BUILD, BUILD_AND_PUSH = POLICIES = ("pull-only", "pull-or-build", "build-and-push")
_FARM_ADDRESS = "tls://HOST:8786, or tcp://127.0.0.1:8786 on one machine"


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

    def address(self) -> str:
        """Return the scheduler's address.

        Raises:
            UsageError: it is not one, or leaves this machine without TLS, or the files of TLS are incomplete.
        """
        address = self.scheduler or ""
        try:
            parts = urlsplit(address)
            complete = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
        except ValueError:
            parts, complete = urlsplit(""), None
        if not complete:
            raise UsageError(f"{address!r} is not the address of a scheduler", hint=f"give --scheduler {_FARM_ADDRESS}")
        files = [self.tls_ca, self.tls_cert, self.tls_key]
        if parts.scheme == "tls" and None in files:
            raise UsageError(f"{address} needs certificates", hint="give --tls-ca, --tls-cert and --tls-key")
        for file in filter(None, files):
            if not file.is_file():
                raise UsageError(f"{file} is not a file", hint="give the PEM files of the farm's certificates")
        if parts.scheme == "tcp" and any(files):
            raise UsageError(f"{address} has no TLS", hint=f"write tls://{parts.netloc}")
        if parts.scheme == "tcp" and not is_local(address) and not self.insecure:
            raise UsageError(
                f"{address} leaves this machine without TLS: whoever reaches it could run programs on its machines",
                hint="give tls://, --tls-ca, --tls-cert and --tls-key; --insecure is for a network of the farm's own",
            )
        return address


class ContainerOptions(Value):
    """How containers are run. None: chosen by what the machine has.

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


class Sharing(Value):
    """A shared store, and what a run does with it.

    url: of fsspec, such as ``s3://bucket/prefix``; ``https://`` can only be read.
    policy: ``pull-only`` builds nothing, ``pull-or-build`` builds what the store lacks, ``build-and-push`` puts there
        what was built. jitter_s: the first contact waits for a random time up to that, so that a fleet does not come at
        once. bytes_per_s: how fast engines are pulled at most. sign: private key in PEM that signs what is put there.
        password_file: holds its password.
    """

    url: str
    policy: str = PULL_OR_BUILD
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    sign: Path | None = None
    password_file: Path | None = None

    @property
    def pushes(self) -> bool:
        """Return whether engines are put there."""
        return self.policy == BUILD_AND_PUSH


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
        from .signing import trust

        return trust.of_public_key(self.public_key) if self.public_key else trust.load(trust.place(self.trusted_keys))


class RunSettings(Value):
    """How engines are built and what is written about it.

    jobs: models to prepare at the same time. fail_fast: whether to start no more models after a failure.
    force: whether to build engines that are up to date, too. timeout_s: seconds for the conversion of one model.
    reports: files for the run's report by form, next to the one in the models directory.
    sharing: shared store that engines come from and go to.
    """

    models_dir: Path
    jobs: int = 1
    fail_fast: bool = False
    force: bool = False
    timeout_s: float | None = None
    accept_eula: bool = False
    reports: Mapping[str, Path] = field(default_factory=dict)
    sharing: Sharing | None = None
