"""The work on a model, and each process of the entrypoint that it needs: its job, its folder, its results."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import external_data, schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.event import PROGRESS, Event
from prepare_models_entrypoint.contract.external_errors import ExternalDataError
from prepare_models_entrypoint.contract.fetch import Pins
from prepare_models_entrypoint.contract.job import Job, JobKind
from prepare_models_entrypoint.contract.report import FAILED, ErrorInfo, ModelReport, StageResult, blank, read
from prepare_models_entrypoint.contract.source import Source
from prepare_models_entrypoint.contract.values import Value

from .. import __version__
from ..running.child import AGAIN, entrypoint_failed
from ..support.paths import contents_dir

if TYPE_CHECKING:
    from ..manifest.model import ModelSpec

CONTAINER = "container"
OnEvent = Callable[[Event], None]

_KILLED = (137, 143)
_TAIL_LINES = 8
_TELL_EACH_S = 0.2


class Outcome(Value):
    """How a process ended.

    what: name of the process in messages and of its log. oom: whether the kernel killed something in it for lack of
    memory. expired_s: the time limit, in seconds, that ended it. memory_bytes: its memory limit; 0 for none.
    hint: what to do if the cause is unknown.
    """

    what: str
    exit_code: int
    oom: bool = False
    expired_s: float | None = None
    memory_bytes: int = 0
    hint: str = AGAIN

    def without_report(self, tail: str) -> ErrorInfo:
        """Return why there is no report. ``tail``: the last lines of the log."""
        last = f"; its last lines:\n{tail}" if tail else ""
        if self.expired_s is not None:
            return _error(
                "build-timeout", f"the {self.what} was stopped after {self.expired_s:g} s{last}", "raise --timeout"
            )
        if self.oom:
            return _error("out-of-memory", f"the {self.what} ran out of memory{last}", self._memory_hint())
        if self.what == CONTAINER and self.exit_code in _KILLED:
            return _error("container-killed", f"the {self.what} was killed from outside{last}", "run again")
        message = f"the {self.what} ended with status {self.exit_code} and without a report{last}"
        return entrypoint_failed(message, hint=self.hint)

    def hint_for(self, error: ErrorInfo) -> str:
        """Return the hint of an error, which for one about memory names the limit that the process had."""
        if error["code"] == "out-of-memory" and self.oom:
            return self._memory_hint()
        if error["code"] == "memory-insufficient" and self.memory_bytes:
            return f"the limit was {self.memory_bytes >> 20} MiB: raise --memory"
        return error["hint"]

    def _memory_hint(self) -> str:
        """Return a hint for when memory runs out."""
        less = "lower builder.workspace, run with --jobs 1"
        limit = self.memory_bytes >> 20
        return f"the limit was {limit} MiB: raise --memory, {less}" if limit else f"{less}, add memory or swap"


def _error(code: str, message: str, hint: str) -> ErrorInfo:
    return ErrorInfo(code=code, stage=None, message=message, hint=hint, retryable=True)


class Work(Value):
    """One model and the work on it. Everything has the same path on both sides, so that paths in messages are right.

    output_dir: the model's directory, absolute.
    folder: private directory for files exchanged with the entrypoint.
    lock: descriptor of the model's lock, to be kept open while anything works on the model; None without one.
    timeout_s: seconds that the conversion may take.
    offline: whether all sources are in the download store, so nothing is fetched.
    build_key: of the engine; None if it isn't known before the build.
    force: whether it is built even if a store has it.
    """

    kind: JobKind
    spec: ModelSpec
    output_dir: Path
    folder: Path
    run_id: str
    lock: int | None = None
    timeout_s: float | None = None
    on_event: OnEvent = lambda _: None
    offline: bool = False
    build_key: str | None = None
    force: bool = False
    cache: Path = field(default_factory=contents_dir)

    @property
    def remote(self) -> bool:
        """Return whether anything has to be downloaded or unpacked first."""
        return any(Source.of(source).path is None for source in self._sources)

    @property
    def _sources(self) -> list[str]:
        return [source for source in (self.spec.source, self.spec.calibration_cache) if source is not None]

    def local_files(self) -> list[Path]:
        """Return the model's own files and directories on this machine, absolute."""
        places = [Source.of(source).outer.path for source in self._sources]
        files = [path for path in places if path is not None and path.is_file()]
        wanted = [file for path in files for file in (path, *_weights(path))]
        wanted += [path for plugin in self.spec.plugins if (path := Path(plugin.file)).is_file()]
        calibration, verify = self.spec.calibration, self.spec.verify  # with samples
        images = [config.images for config in (calibration, verify.images if verify else None) if config]
        samples = [Path(place) for place in (*images, verify.npz if verify else None) if place]
        wanted += [path for path in samples if path.exists()]
        return [path.absolute() for path in dict.fromkeys(wanted)]

    def pinned(self, fetched: ModelReport) -> Work:
        """Return the same work, on exactly the bytes that a step has fetched."""
        materials = fetched["materials"]
        digests = {material["role"]: material["sha256"] for material in materials}
        weights = {each["source_id"]: each["sha256"] for each in materials if each["role"] == "external_data"}
        spec = replace(self.spec, pins=Pins.together((self.spec.pins, Pins(sha256=weights))))
        if Source.of(spec.source).path is None:
            spec = replace(spec, sha256=digests.get("model", spec.sha256))
        if spec.calibration_cache is not None and Source.of(spec.calibration_cache).path is None:
            spec = replace(spec, calibration_sha256=digests.get("calibration_cache", spec.calibration_sha256))
        return replace(self, spec=spec)


class Step(Value):
    """One process of the entrypoint.

    kind: what it does. fetch: whether it fetches first. done: the results of earlier stages, which are part of its
    report.
    """

    work: Work
    kind: JobKind
    fetch: bool
    done: Sequence[StageResult] = ()

    @property
    def folder(self) -> Path:
        """Return the private directory of this step; it contains ``job``, ``out`` and the log."""
        return self.work.folder / "-".join(self.kind.stages(fetch=self.fetch))

    @property
    def job(self) -> Path:
        """Return the directory of ``job.json``, which the entrypoint reads."""
        return self.folder / "job"

    @property
    def out(self) -> Path:
        """Return the directory that receives ``report.json``."""
        return self.folder / "out"

    @property
    def log(self) -> Path:
        """Return the file that receives the process's standard error."""
        return self.folder / "entrypoint.log"

    def write(self, *, key_file: Path | None, secrets_file: Path | None, image: str | None = None) -> None:
        """Write the job where the entrypoint reads it.

        ``key_file``, ``secrets_file``: where it finds the model's key, and the secrets of the connection. ``image``:
        digest of the container image that it runs in.
        """
        work = self.work
        model = work.spec.job(work.output_dir, key_file=key_file, timeout_s=work.timeout_s)
        job = Job(
            run_id=work.run_id,
            models=(replace(model, done=tuple(self.done)),),
            cache_dir=str(work.cache),
            stages=self.kind.stages(fetch=self.fetch),
            network=work.spec.network.with_secrets(secrets_file),
            tool=__version__,
            image=image,
        )
        for folder in (self.job, self.out):
            folder.mkdir(parents=True, exist_ok=True)
        (self.job / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")

    def report(self) -> ModelReport | None:
        """Return the entrypoint's report, or None if there is none."""
        try:
            return read(schema.load(self.out / "report.json")["models"][0])
        except (OSError, ValueError, LookupError, TypeError, ContractError):
            return None

    def tail(self) -> str:
        """Return the last lines of the log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])

    def keep_log(self, kind: str) -> str | None:
        """Keep the log, if not empty, and return its path. ``kind``: what wrote it."""
        if not self.log.is_file() or not self.log.stat().st_size:
            return None
        target = self.work.cache / "logs" / f"{self.work.run_id}-{self.work.spec.name}.{kind}.log"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(self.log), str(target))
        return str(target)

    def on_sent(self) -> Callable[[int, int], None]:
        """Return a callback that reports the progress of sending files, a few times a second."""
        last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _TELL_EACH_S:
                last = time.monotonic()
                data = {"phase": "send", "done": done, "total": total}
                event = Event(0, time.time(), PROGRESS, model=self.work.spec.name, stage="convert", data=data)
                self.work.on_event(event)

        return tell


class Lines:
    """Joins pieces of a stream into events."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Add a piece; lines that are not events are ignored."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            with contextlib.suppress(ContractError):
                self._on_event(Event.from_line(line.decode("utf-8", "replace")))


def _weights(model: Path) -> tuple[Path, ...]:
    """Return a model's weights files; none if they are invalid, in which case the entrypoint refuses the model."""
    try:
        return external_data.files(model)
    except (ExternalDataError, OSError):
        return ()


def failed(spec: ModelSpec, error: ErrorInfo) -> ModelReport:
    """Return the report of a model that failed before anything was done."""
    report = blank(spec.name, spec.source, precision=spec.precision, converter=spec.converter)
    return {**report, "status": FAILED, "error": error}
