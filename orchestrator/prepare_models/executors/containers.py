"""Containers as transports: those that fetch have a network and no GPU, those that convert a GPU and no network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prepare_models_entrypoint.contract import downloads
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.job import JobKind
from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport

from ..docker import gpu
from ..docker.container import Containers, RunSpec
from ..docker.copied_files import Bind
from ..docker.daemon import LABEL, machine
from ..running.connection import ConnectionSpec
from ..running.publishing import Publisher
from ..store import FILES, PLAN
from ..support.paths import contents_dir
from .executor import Downloader, Transport
from .site import Site, secret_file
from .work import CONTAINER, Lines, OnEvent, Outcome, Step, Work

MODEL_LABEL = f"{LABEL}.model"
INSIDE = "/run/prepare-models"

_KEY = Path(f"{INSIDE}/key")
_SECRETS = Path(f"{INSIDE}/secrets")
_RUN = ("run", f"{INSIDE}/job/job.json", f"{INSIDE}/out")
_MADE = "made"  # in a step's folder: what came from the model's directory in the container
_GRACE_S = 60.0  # for the entrypoint besides the conversion, whose time it limits itself
_AGAIN = "build the image again with prepare-models image build; if it stays, please report it"
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class FetchingContainers(Downloader):
    """Containers with a network and without a GPU. The daemon sees this machine's files."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def carry(self, step: Step, on_event: OnEvent) -> Outcome | None:
        """Fetch a model's sources into the download store."""
        sweep(self._site, step)
        connection = step.work.spec.network
        with secret_file(connection.secrets(), "connection") as secrets_file:
            step.write(key_file=None, secrets_file=_SECRETS if secrets_file else None)
            binds = [*_exchanged(step), *_bound(step.work.local_files()), *_secret(secrets_file, _SECRETS)]
            spec = self.container(_RUN, binds, {MODEL_LABEL: label(step.work)})
            return attend(self._site, step, spec, on_event)

    def fetcher(self, job: FetchJob, connection: ConnectionSpec) -> ContainerFetcher:
        """Return a container that fetches a job's sources."""
        return ContainerFetcher(self, job, connection)

    def container(
        self, argv: tuple[str, ...], binds: Sequence[Bind], labels: Mapping[str, str] | None = None
    ) -> RunSpec:
        """Describe a container that sees the download store and has the network settings."""
        store = contents_dir() / "downloads"
        store.mkdir(parents=True, exist_ok=True)
        # What a download needs from this environment: proxies, and a custom CA.
        names = [name for each in _PROXY_VARIABLES for name in (each, each.lower())]
        environment = {name: os.environ[name] for name in names if os.environ.get(name)}
        ca: dict[str, Bind] = {}
        for name in _CA_VARIABLES:
            place = Path(os.environ[name]).absolute() if os.environ.get(name) else None
            if place is not None and place.exists():
                environment[name] = str(place)
                ca[str(place)] = Bind(place.resolve(), str(place))
        binds = (Bind(store, str(store), read_only=False), *binds, *ca.values())
        return self._site.container(argv, binds, gpu.WITHOUT, network="host", environment=environment, labels=labels)


class BuildingContainers(Transport):
    """Containers with a GPU and without a network: they need neither servers' keys nor their network."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def carry(self, step: Step, on_event: OnEvent) -> Outcome | None:
        """Run everything but the fetch."""
        work, shared = step.work, self._site.local
        sweep(self._site, step)
        if step.kind.writes:
            work.output_dir.mkdir(parents=True, exist_ok=True)
        try:
            key = work.spec.key.read() if work.spec.key else None
            with secret_file(key, "key") as key_file, self._site.gpu() as access:
                step.write(key_file=_KEY if key_file else None, secrets_file=None, image=self._site.image.id)
                binds = [*_exchanged(step), *_places(step), *_bound(work.local_files()), *_secret(key_file, _KEY)]
                if work.remote:
                    binds += _bound([work.cache / "downloads"] if shared else _own_downloads(work))
                labels = {MODEL_LABEL: label(work)}
                spec = self._site.container(_RUN, binds, access, network="none", labels=labels)
                timeout_s = work.timeout_s + _GRACE_S if work.timeout_s else None
                spec = replace(spec, back={} if shared else _written(step))
                return attend(self._site, step, spec, on_event, timeout_s)
        finally:
            # What published nothing leaves no directories: Triton considers every directory a model.
            for directory in (work.output_dir / "1", work.output_dir) if step.kind is JobKind.RUN else ():
                with contextlib.suppress(OSError):
                    directory.rmdir()

    def deliver(self, step: Step, report: ModelReport) -> ErrorInfo | None:
        """Publish what was copied from another machine."""
        return None if self._site.local else publish_copied(step, report)


class ContainerFetcher:
    """Fetches in a separate container, which ``stop`` ends without touching others.

    containers: describes the container. job: what to fetch; its network settings come from ``connection``, with
    secrets.
    """

    def __init__(self, containers: FetchingContainers, job: FetchJob, connection: ConnectionSpec) -> None:
        self._describe, self._job, self._connection = containers.container, job, connection
        self._containers = Containers()

    def __enter__(self) -> ContainerFetcher:  # noqa: PYI034  # Self is not in Python 3.10
        return self

    def __exit__(self, *exc: object) -> None:
        self._containers.close()

    def results(self) -> None:
        """Fetch all sources. Failed ones are retried by the build, which reports why they fail."""
        with (
            tempfile.TemporaryDirectory(prefix="prepare-models-fetch-") as folder,
            secret_file(self._connection.secrets(), "ahead") as secrets_file,
        ):
            job = replace(self._job, network=self._connection.with_secrets(_SECRETS if secrets_file else None))
            (Path(folder) / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
            binds = [Bind(Path(folder), f"{INSIDE}/job"), *_secret(secrets_file, _SECRETS)]
            spec = self._describe(("fetch", f"{INSIDE}/job/job.json"), binds)
            self._containers.run(spec, on_out=lambda _: None, on_err=lambda _: None)

    def stop(self) -> None:
        """End the container, from another thread."""
        self._containers.stop()


def attend(site: Site, step: Step, spec: RunSpec, on_event: OnEvent, timeout_s: float | None = None) -> Outcome | None:
    """Run a container to its end, and return how it ended; None if it was stopped."""
    with step.log.open("wb") as log:
        lines = Lines(on_event)
        ended = site.containers.run(
            spec, on_out=lines.feed, on_err=log.write, timeout_s=timeout_s, on_sent=step.on_sent()
        )
    if ended is None:
        return None
    expired_s = timeout_s if ended.timed_out else None
    return Outcome(CONTAINER, ended.exit_code, ended.oom, expired_s, site.memory_bytes, _AGAIN)


def sweep(site: Site, step: Step) -> None:
    """Remove containers that still work on a model whose lock this run holds: they belong to a killed run."""
    if step.kind in (JobKind.RUN, JobKind.FETCH) and step.work.lock is not None:
        site.containers.sweep(MODEL_LABEL, label(step.work))


def label(work: Work) -> str:
    """Return a label of a model directory on this machine, for the containers that work on it."""
    return hashlib.sha256(machine().encode() + os.fsencode(work.output_dir)).hexdigest()[:32]


def _exchanged(step: Step) -> list[Bind]:
    return [Bind(step.job, f"{INSIDE}/job"), Bind(step.out, f"{INSIDE}/out", read_only=False)]


def _places(step: Step) -> list[Bind]:
    """Return the directories that a step writes to, and the engine that it verifies."""
    work = step.work
    places = [work.cache / name for name in ("work", "logs", "timing")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if step.kind.writes:
        places.append(work.output_dir)
    binds = [Bind(place, str(place), read_only=False) for place in places]
    verified = step.kind is JobKind.VERIFY and work.output_dir.is_dir()
    return binds + (_bound([work.output_dir]) if verified else [])


def _bound(paths: Sequence[Path]) -> list[Bind]:
    return [Bind(path, str(path)) for path in paths]


def _secret(file: Path | None, target: Path) -> list[Bind]:
    return [] if file is None else [Bind(file, str(target))]


def _own_downloads(work: Work) -> list[Path]:
    """Return a model's files in the download store."""
    spec = work.spec
    digests = filter(None, (spec.sha256, spec.calibration_sha256, *spec.pins.sha256.values()))
    blobs = [downloads.blob(work.cache / "downloads", digest) for digest in digests]
    return [blob for blob in dict.fromkeys(blobs) if blob.is_file()]


def _written(step: Step) -> dict[str, Path]:
    """Return where a container writes report, logs and engine, and where these files go on this machine.

    No timing caches: those of concurrent builds can't be merged.
    """
    work = step.work
    made = {JobKind.RUN: step.folder / _MADE, JobKind.REWRITE: work.output_dir}
    written = {str(work.output_dir): made[step.kind]} if step.kind.writes else {}
    return {f"{INSIDE}/out": step.out, str(work.cache / "logs"): work.cache / "logs", **written}


def publish_copied(step: Step, report: ModelReport) -> ErrorInfo | None:
    """Publish what came back from a container on another machine; return the error, if any."""
    files = {each.name: each for each in (step.folder / _MADE).rglob("*") if each.is_file() and each.name in FILES}
    plan, engine = files.get(PLAN), report["engine"]
    if plan is None or engine is None or sha256_file(plan) != engine["sha256"]:
        return ErrorInfo(
            code="docker-lost", stage="inspect", message="the engine file changed on its way from the container",
            hint="run again", retryable=True,
        )  # fmt: skip
    with Publisher() as publisher:
        return publisher.publish(files, report, step.work.output_dir)
