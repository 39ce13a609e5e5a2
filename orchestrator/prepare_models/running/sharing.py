"""What a call says of a shared store."""

from __future__ import annotations

from pathlib import Path

from prepare_models_entrypoint.contract.values import Value

PULL_ONLY, PULL_OR_BUILD, BUILD_AND_PUSH = POLICIES = ("pull-only", "pull-or-build", "build-and-push")


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
