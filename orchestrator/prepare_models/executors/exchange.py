"""What is handed to a container and what comes back: paths, job, report, events, the container's words, the key."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import external_data
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.event import CLOSED, MODEL_FINISHED, OPENED, PROGRESS, Event
from prepare_models_entrypoint.contract.job import Job, ModelJob
from prepare_models_entrypoint.contract.report import ModelReport, read
from prepare_models_entrypoint.contract.source import local_path, member_of

from ..docker.copied_files import Bind
from ..docker.owners import machine
from ..errors import KeyUnavailableError
from ..manifest import Key, ModelSpec
from ..running.jobs import model_job
from ..support.paths import contents_dir
from . import OnEvent, Task

INSIDE = "/run/prepare-models"
KEY = f"{INSIDE}/key"
SECRETS = f"{INSIDE}/secrets"

_TAIL_LINES = 8
_TOLD_EACH_S = 0.2
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclasses.dataclass(frozen=True)
class Work:
    """One model with its paths. Inside the container everything has the path that it has outside, so messages fit.

    control_dir: private directory for what is exchanged with the containers.
    offline: whether all sources are in the download store, so that nothing is fetched.
    """

    spec: ModelSpec
    output_dir: Path
    control_dir: Path
    run_id: str
    timeout_s: float | None = None
    on_event: Callable[[Event], None] = lambda _: None
    offline: bool = False
    cache: Path = dataclasses.field(default_factory=contents_dir)

    @classmethod
    def of(cls, task: Task) -> Work:
        """Return the work that a task asks for."""
        return cls(
            task.planned.spec, task.planned.output_dir.absolute(), task.lock.control_dir, task.run_id,
            timeout_s=task.timeout_s, on_event=task.on_event, offline=task.offline,
        )  # fmt: skip

    @property
    def label(self) -> str:
        """Name the model directory of this machine, for the containers that work on it."""
        return hashlib.sha256(machine().encode() + os.fsencode(self.output_dir)).hexdigest()[:32]

    @property
    def _sources(self) -> list[str]:
        return [source for source in (self.spec.source, self.spec.calibration_cache) if source is not None]

    @property
    def remote(self) -> bool:
        """Tell whether anything has to be downloaded or unpacked first."""
        return any(local_path(source) is None for source in self._sources)

    def on_sent(self) -> Callable[[int, int], None]:
        """Return what tells how far the sending of files is."""
        told = [time.monotonic()]

        def tell(done: int, total: int) -> None:
            now = time.monotonic()
            if now - told[0] >= _TOLD_EACH_S:
                told[0] = now
                data = {"phase": "send", "done": done, "total": total}
                self.on_event(Event(0, time.time(), PROGRESS, model=self.spec.name, stage="convert", data=data))

        return tell

    def job(self, *, key: bool = False, done: tuple[Mapping[str, Any], ...] = ()) -> ModelJob:
        """Return what the entrypoint is asked; ``key`` says that the container has the key's file."""
        model = model_job(
            self.spec, output_dir=self.output_dir, key_file=Path(KEY) if key else None, timeout_s=self.timeout_s
        )
        return dataclasses.replace(model, done=done)

    def local_sources(self) -> list[Bind]:
        """Return the model's own files on this machine, read-only."""
        places = [member.archive if (member := member_of(source)) else source for source in self._sources]
        files = [path for place in places if (path := local_path(place)) is not None and path.is_file()]
        wanted = [file for path in files for file in (path, *_weights(path))]
        wanted += [path for plugin in self.spec.plugins if (path := Path(plugin.file)).is_file()]
        wanted += [path for path in self._samples() if path.exists()]
        return [Bind(path.absolute(), str(path.absolute())) for path in dict.fromkeys(wanted)]

    def _samples(self) -> list[Path]:
        """Return directories and files of samples, for a calibration and a verification."""
        calibration, verify = self.spec.calibration, self.spec.verify
        images = [config.images for config in (calibration, verify.images if verify else None) if config]
        return [Path(place) for place in (*images, verify.npz if verify else None) if place]

    def control(self, job: Job) -> Control:
        """Write the job where a container reads it."""
        folder = self.control_dir / "-".join(job.stages)
        for name in ("job", "out"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "job" / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
        return Control(folder)

    def remove_empty_output(self) -> None:
        """Remove the directories of a build that published nothing: Triton takes every directory for a model."""
        for directory in (self.output_dir / "1", self.output_dir):
            with contextlib.suppress(OSError):
                directory.rmdir()


@dataclasses.dataclass(frozen=True)
class Control:
    """What a container and this process exchange: the job read-only, the report, and the container's own words."""

    folder: Path

    @property
    def log(self) -> Path:
        """Return the file that receives the container's own words."""
        return self.folder / "container.log"

    @property
    def binds(self) -> tuple[Bind, Bind]:
        """Return the job, read-only, and the report's directory."""
        return (
            Bind(self.folder / "job", f"{INSIDE}/job"),
            Bind(self.folder / "out", f"{INSIDE}/out", read_only=False),
        )

    def report(self) -> ModelReport | None:
        """Return what the entrypoint reported, or None where it did not come to that."""
        try:
            document = json.loads((self.folder / "out" / "report.json").read_text(encoding="utf-8"))
            return read(document["models"][0])
        except (OSError, ValueError, LookupError, ContractError):
            return None

    def tail(self) -> str:
        """Return the last of the container's words."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def keep(self, target: Path) -> str | None:
        """Keep the container's words, if it had any, and return where."""
        if not self.log.stat().st_size:
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(self.log), str(target))
        return str(target)


class Lines:
    """Puts pieces of a stream together to events."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Take a piece; what is no event is no concern of the run's."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            with contextlib.suppress(ContractError):
                self._on_event(Event.from_line(line.decode("utf-8", "replace")))


def _weights(model: Path) -> tuple[Path, ...]:
    """Return a model's weights files; of one whose weights are not as they must be none: the entrypoint refuses it."""
    try:
        return external_data.files(model)
    except (external_data.ExternalDataError, OSError):
        return ()


def without_frame(on_event: OnEvent) -> OnEvent:
    """Keep back what the container that only fetches says about the model's beginning and end."""

    def forward(event: Event) -> None:
        if event.kind not in (OPENED, MODEL_FINISHED, CLOSED):
            on_event(event)

    return forward


def network_environment() -> tuple[dict[str, str], list[Bind]]:
    """Return what a download needs of this environment: proxies, and a CA of one's own with the place where it lies."""
    names = [name for each in _PROXY_VARIABLES for name in (each, each.lower())]
    environment = {name: os.environ[name] for name in names if os.environ.get(name)}
    binds: dict[str, Bind] = {}
    for name in _CA_VARIABLES:
        place = Path(os.environ[name]).absolute() if os.environ.get(name) else None
        if place is not None and place.exists():
            environment[name] = str(place)
            binds[str(place)] = Bind(place.resolve(), str(place))
    return environment, list(binds.values())


def _keys_directory() -> Path:
    """Return a directory in memory that only this user can read."""
    user = os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"  # noqa: S108  # a private directory in it
    base = Path(user) if os.access(user, os.W_OK) else contents_dir()
    directory = base / f"prepare-models-keys-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise KeyUnavailableError(f"{directory} is open to other users", hint="remove it, then run again")
    return directory


def secret(key: Key | None) -> contextlib.AbstractContextManager[Path | None]:
    """Yield a file that holds the key for as long as its container runs."""
    return secret_text(key.read() if key else None)


@contextlib.contextmanager
def secret_text(content: str | None) -> Iterator[Path | None]:
    """Yield a file with a secret for as long as its container runs; in memory where the system has such files."""
    if content is None:
        yield None
        return
    file = _keys_directory() / f"{os.getpid()}-{threading.get_ident()}"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
        yield file
    finally:
        file.unlink(missing_ok=True)


def sweep_keys() -> None:
    """Remove the keys of processes that were killed."""
    for file in _keys_directory().iterdir():
        pid = file.name.partition("-")[0]
        if not Path("/proc", pid).exists():
            file.unlink(missing_ok=True)
