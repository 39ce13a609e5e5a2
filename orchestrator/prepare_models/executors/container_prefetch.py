"""Sources that are fetched ahead of their turn, in a container that has a network and no GPU."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from prepare_models_entrypoint.contract.fetch import FetchJob

from ..docker.container import Containers, RunSpec
from ..docker.copied_files import Bind
from ..running.connection import NetworkSpec
from .exchange import INSIDE, SECRETS, secret_text

Describe = Callable[[tuple[str, ...], tuple[Bind, ...]], RunSpec]


class ContainerFetcher:
    """Fetches in a container of its own, which ``stop`` ends without touching others.

    Args:
        describe: makes the container's description from its arguments and what it is to see.
        job: what to fetch; its network settings are taken from ``network``.
        network: how sources are reached, secrets included.
    """

    def __init__(self, describe: Describe, job: FetchJob, network: NetworkSpec) -> None:
        self._describe, self._job, self._network = describe, job, network
        self._containers = Containers()

    def start(self) -> None:
        """Do nothing: the container starts when ``results`` are wanted."""

    def results(self) -> None:
        """Fetch all sources. What fails is tried and told again by the build."""
        with (
            tempfile.TemporaryDirectory(prefix="prepare-models-fetch-") as folder,
            secret_text(self._network.secrets()) as secrets,
        ):
            network = self._network.with_secrets(Path(SECRETS) if secrets else None)
            job = self._job._replace(network=network)
            (Path(folder) / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
            binds = [Bind(Path(folder), f"{INSIDE}/job")]
            if secrets is not None:
                binds.append(Bind(secrets, SECRETS))
            spec = self._describe(("fetch", f"{INSIDE}/job/job.json"), tuple(binds))
            self._containers.run(spec, on_out=lambda _: None, on_err=lambda _: None)

    def stop(self) -> None:
        """End the container, from another thread."""
        self._containers.stop()

    def close(self) -> None:
        """Close the connection."""
        self._containers.close()
