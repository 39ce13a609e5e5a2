"""The docker executor: what fetches has a network and no GPU; what converts has a GPU and no network."""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.job import CHECK_STAGES, VERIFY_STAGES, Job
from prepare_models_entrypoint.contract.report import FAILED, ModelReport, RuntimeInfo, StageResult, blank
from prepare_models_entrypoint.contract.runtime import BOARD_VARIABLE

from .. import __version__
from ..docker import gpu
from ..docker.container import Containers, Ended, RunSpec
from ..docker.copied_files import Bind
from ..docker.daemon import Image, container_user
from ..docker.owners import LABEL, owner_labels, owner_lives
from ..errors import ContainerError, InterruptedRunError
from ..lock import facts
from ..machine.environments import image_facts, machine_facts, remember, remembered, this_machine
from ..machine.facts import Machine
from ..manifest import ModelSpec
from ..running.connection import NetworkSpec
from ..support.paths import contents_dir
from . import ContainerOptions, Fetcher, OnEvent, Task
from .container_exit import memory_hint, without_report
from .container_prefetch import ContainerFetcher
from .exchange import (
    INSIDE,
    KEY,
    SECRETS,
    Control,
    Lines,
    Work,
    network_environment,
    secret,
    secret_text,
    sweep_keys,
    without_frame,
)

MODEL_LABEL = f"{LABEL}.model"
OWNER_LABEL = f"{LABEL}.owner"

CONVERT = ("convert", "inspect", "verify")
_CHECK = CHECK_STAGES[1:]
_VERIFY = VERIFY_STAGES[1:]
_RUN = ("run", f"{INSIDE}/job/job.json", f"{INSIDE}/out")
_GRACE_S = 60.0  # what the entrypoint may take beside the conversion, whose time it watches itself
_MEMORY_SHARE = 0.9


def connect(options: ContainerOptions) -> DockerExecutor:
    """Return the executor for the engine that DOCKER_HOST or the Docker context names, wherever it is.

    Raises:
        HostError: it does not answer, has not got the image, or has no way to the GPU.
    """
    containers = Containers()
    if containers.engine.local:
        return DockerExecutor(options, containers, this_machine())
    from .docker_remote import FarExecutor

    return FarExecutor(options, containers)


class DockerExecutor:
    """Runs one container for each model, and one before it for sources that have to be downloaded."""

    name = "docker"

    def __init__(self, options: ContainerOptions, containers: Containers, machine: Machine) -> None:
        """Choose platform, image and way to the GPU.

        Args:
            options: what the command line says.
            containers: the engine.
            machine: that of the engine.

        Raises:
            HostError: the image is missing, or the GPU can't be reached.
        """
        self._options, self._containers, self._machine = options, containers, machine
        engine = containers.engine
        self.platform = options.platform_for(self._machine)
        self._image = self._find_image(options.image or self.platform.image)
        wanted = options.gpu_for(self.platform)
        self._access = gpu.choose(engine, self._machine, wanted)
        self._gpus: queue.Queue[gpu.Access] | None = None
        if self._access.way != gpu.NONE:
            self._gpus = queue.Queue()
            for access in gpu.for_each(engine, self._machine, wanted):
                self._gpus.put(access)
        self._containers.sweep(OWNER_LABEL, "", keep=owner_lives)
        sweep_keys()

    def unavailable(self) -> str | None:
        """Return None: an executor that can't work is not made."""
        return None

    def fix(self) -> str:
        """Return the command that makes the executor available."""
        return "prepare-models doctor"

    def describe(self) -> RuntimeInfo:
        """Return backend and GPU as the entrypoint sees them in the image."""
        answer = self._described()
        if answer["gpu"] is None and self._access.way != gpu.NONE:
            raise _no_gpu_inside(self._access, answer["gpu_reason"] or "")
        return answer

    def _described(self) -> RuntimeInfo:
        """Return what the image tells of itself on this machine, from memory where that holds."""
        without = self._access.way == gpu.NONE
        machine_now = [] if without else [self._access.way, self._access.devices, *machine_facts()]
        facts_of_it = [self._image.id, self._machine.board, *machine_now]
        answer = remembered(facts_of_it, self._describe, lasting=lambda found: without or found["gpu"] is not None)
        if without or answer["gpu"] is not None:
            remember(image_facts(self._image.id, self._machine, self._options.gpu_for(self.platform)), answer)
        return answer

    def _describe(self) -> RuntimeInfo:
        answer: Any = self._ask(("describe",), (), self._access)
        answer.pop("contract", None)
        result: RuntimeInfo = answer
        return result

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the image's name and facts in a lock."""
        return facts.of_image(self.platform, self._image)

    def check(self, spec: ModelSpec, folder: Path) -> ModelReport:
        """Judge one model without building it. ``folder``: an empty private directory."""
        return self._stages(Work(spec, folder / "unused", folder, "check"), _CHECK)

    def verify(self, spec: ModelSpec, output_dir: Path, folder: Path) -> ModelReport:
        """Compare the engine in ``output_dir`` with its source model. ``folder``: an empty private directory."""
        return self._stages(Work(spec, output_dir, folder, "verify"), _VERIFY)

    def run(self, task: Task) -> ModelReport:
        """Build one model and return its report."""
        work = Work.of(task)
        # The model's lock is held, so whatever still works on it belongs to a run that was killed.
        self._containers.sweep(MODEL_LABEL, work.label)
        try:
            return self._stages(work, CONVERT)
        finally:
            work.remove_empty_output()

    def fetcher(self, job: FetchJob, network: NetworkSpec) -> Fetcher:
        """Return a container that fetches a job's sources."""
        return ContainerFetcher(self._download, job, network)

    def stop(self) -> None:
        """End whatever runs."""
        self._containers.stop()

    def _stages(self, work: Work, stages: tuple[str, ...]) -> ModelReport:
        """Fetch in a container with a network where that is needed, then do the other stages in one without."""
        fetched: list[StageResult] = []
        licences: list[str] = []
        if work.remote and not work.offline:
            report, work = self._fetch(work)
            if report["status"] == FAILED:
                return report
            fetched, licences = report["stages"], report["licences"]
        with secret(work.spec.key) as key_file, self._gpu() as access:
            report = self._without_network(work, stages, fetched, key_file, access)
        report["licences"] = sorted({*report["licences"], *licences})
        return report if report["stages"] else {**report, "stages": fetched}

    def _fetch(self, work: Work) -> tuple[ModelReport, Work]:
        """Return the report of the fetch stage, and the work as it goes on."""
        settings = work.spec.network
        with secret_text(settings.secrets()) as secrets_file:
            binds = [*work.local_sources(), *([Bind(secrets_file, SECRETS)] if secrets_file else [])]
            way = settings.with_secrets(Path(SECRETS) if secrets_file else None)
            control = work.control(Job(work.run_id, (work.job(),), str(work.cache), stages=("fetch",), network=way))
            spec = self._download(_RUN, (*control.binds, *binds), {MODEL_LABEL: work.label})
            return self._attend(work, control, spec, without_frame(work.on_event)), work

    def _download(
        self, argv: tuple[str, ...], binds: Sequence[Bind], labels: Mapping[str, str] | None = None
    ) -> RunSpec:
        """Describe a container that downloads: it has the network, what leads through it, and no GPU."""
        downloads = contents_dir() / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        environment, ca_binds = network_environment()
        binds = (Bind(downloads, str(downloads), read_only=False), *binds, *ca_binds)
        return self._spec(argv, binds, gpu.WITHOUT, network="host", environment=environment, labels=labels or {})

    def _without_network(
        self,
        work: Work,
        stages: tuple[str, ...],
        fetched: Sequence[StageResult],
        key_file: Path | None,
        access: gpu.Access,
    ) -> ModelReport:
        places = [work.cache / name for name in ("work", "logs", "timing")]
        for place in places:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if stages == CONVERT:
            work.output_dir.mkdir(parents=True, exist_ok=True)
            places.append(work.output_dir)
        binds = [Bind(place, str(place), read_only=False) for place in places]
        binds += work.local_sources()
        if stages == _VERIFY and work.output_dir.is_dir():
            binds.append(Bind(work.output_dir, str(work.output_dir)))
        if work.remote:
            binds += self._downloads(work)
        if key_file is not None:
            binds.append(Bind(key_file, KEY))
        job = Job(
            work.run_id,
            (work.job(key=key_file is not None, done=tuple(fetched)),),
            str(work.cache),
            stages=stages if work.remote else ("fetch", *stages),
            network=work.spec.network.settings(),
            tool=__version__,
            image=self._image.id,
        )
        control = work.control(job)
        spec = self._spec(
            _RUN, (*control.binds, *binds), access, network="none", environment={}, labels={MODEL_LABEL: work.label}
        )
        spec = replace(spec, back=self._back(work, control, stages))
        timeout_s = work.timeout_s + _GRACE_S if work.timeout_s else None
        return self._attend(work, control, spec, work.on_event, timeout_s)

    def _downloads(self, work: Work) -> list[Bind]:
        """Return what the container sees of the download store."""
        return [Bind(work.cache / "downloads", str(work.cache / "downloads"))]

    def _back(self, work: Work, control: Control, stages: tuple[str, ...]) -> dict[str, Path]:
        """Return which directories of the container are brought here: none, as they are here."""
        del work, control, stages
        return {}

    def _attend(
        self, work: Work, control: Control, spec: RunSpec, on_event: OnEvent, timeout_s: float | None = None
    ) -> ModelReport:
        with control.log.open("wb") as log:
            lines = Lines(on_event)
            ended = self._containers.run(
                spec, on_out=lines.feed, on_err=log.write, timeout_s=timeout_s, on_sent=work.on_sent()
            )
        if ended is None:
            raise InterruptedRunError("the run was stopped")
        return self._judge(work, control, ended, timeout_s)

    def _judge(self, work: Work, control: Control, ended: Ended, timeout_s: float | None) -> ModelReport:
        report = control.report() or blank(
            work.spec.name, work.spec.source, precision=work.spec.precision, converter=work.spec.converter
        )
        error = report["error"]
        if report["stages"] and (error is None or error["code"] != "out-of-memory"):
            return report
        report["status"] = FAILED
        if error is not None and ended.oom:
            report["error"] = {**error, "hint": memory_hint(self._memory())}
        elif error is None:
            report["error"] = without_report(ended, control.tail(), timeout_s, self._memory())
            report["log"] = control.keep(work.cache / "logs" / f"{work.run_id}-{work.spec.name}.container.log")
        return report

    def _ask(self, argv: tuple[str, ...], binds: tuple[Bind, ...], access: gpu.Access) -> dict[str, Any]:
        out, err = bytearray(), bytearray()
        spec = self._spec(argv, binds, access, network="none", environment={}, labels={})
        ended = self._containers.run(spec, on_out=out.extend, on_err=err.extend)
        try:
            document: dict[str, Any] = json.loads(out)
        except ValueError:
            last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
            status = ended.exit_code if ended else "none"
            raise ContainerError(
                "image-unfit",
                f"the entrypoint does not start in {self._name()}: status {status} {''.join(last)}",
                hint="build the image anew: prepare-models image build",
            ) from None
        return document

    def _spec(
        self,
        argv: tuple[str, ...],
        binds: tuple[Bind, ...],
        access: gpu.Access,
        *,
        network: str,
        environment: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> RunSpec:
        on_jetson = self._machine.l4t is not None and access.way != gpu.NONE
        return RunSpec(
            image=self._image.id,
            argv=argv,
            binds=binds,
            user=container_user(self._containers.engine),
            network=network,
            access=access,
            environment={**HOME, **self._board(), **environment},
            labels=owner_labels(labels),
            groups=self._machine.device_groups if on_jetson else (),
            memory_bytes=self._memory(),
        )

    def _board(self) -> dict[str, str]:
        return {BOARD_VARIABLE: self._machine.board} if self._machine.board else {}

    def _memory(self) -> int:
        """Return the memory limit. A Jetson's GPU uses the same memory, so there is none unless the user wants one."""
        if self._options.memory_bytes is not None:
            return self._options.memory_bytes
        return 0 if self._machine.l4t else int(self._containers.engine.memory_bytes * _MEMORY_SHARE)

    def _find_image(self, name: str) -> Image:
        image = self._containers.image(name)
        if image is None:
            raise ContainerError(
                "image-missing",
                f"the engine does not have the image {name}",
                hint=f"prepare-models image build --platform {self.platform.name}, or image pull, or image load",
            )
        why_not = image.unfit()
        if why_not is not None:
            raise ContainerError("image-unfit", f"{name}: {why_not}", hint="prepare-models image build")
        return image

    @contextlib.contextmanager
    def _gpu(self) -> Iterator[gpu.Access]:
        """Give a GPU to one build at a time; builds without one don't wait."""
        if self._gpus is None:
            yield self._access
            return
        access = self._gpus.get()
        try:
            yield access
        finally:
            self._gpus.put(access)

    def _name(self) -> str:
        return self._options.image or self.platform.image


HOME = {
    "HOME": "/tmp",  # noqa: S108  # the container's own
    "USER": "prepare-models",
    "LOGNAME": "prepare-models",
    "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108  # the container's own
    "CUDA_CACHE_PATH": "/tmp/.nv",  # noqa: S108  # the container's own
}


def _no_gpu_inside(access: gpu.Access, reason: str) -> ContainerError:
    return ContainerError(
        "gpu-unavailable",
        f"the container got no GPU, though the engine took the request ({access.way}): {reason}",
        hint="prepare-models doctor tells what is missing; --gpu none builds without one where the backend can",
    )
