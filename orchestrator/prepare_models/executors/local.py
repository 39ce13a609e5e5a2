"""The local executor: the entrypoint as a child process of this Python."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import converters, runtime
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.job import CHECK_STAGES, STAGES, VERIFY_STAGES, Job
from prepare_models_entrypoint.contract.report import FAILED, ErrorInfo, ModelReport, RuntimeInfo, blank, read

from .. import __version__
from ..errors import HostError, InterruptedRunError
from ..lock import facts
from ..machine.environments import machine_facts, remembered
from ..manifest import ModelSpec
from ..running import child
from ..running.connection import NetworkSpec
from ..running.fetch_process import Fetching
from ..running.jobs import model_job
from ..support.paths import contents_dir
from . import OnEvent, Task

_TERM_GRACE_S = 5.0


class LocalExecutor:
    """Starts one entrypoint process for each model, in a session of its own."""

    name = "local"

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def unavailable(self) -> str | None:
        """Say why this Python can't build engines, or return None."""
        if runtime.installed_backend() is None and converters.find()["trtexec"] is None:
            return f"neither tensorrt nor tensorrt_rtx is installed for {sys.executable}"
        return None

    def fix(self) -> str:
        """Return the command that installs the local extra, from the checkout if this is one."""
        checkout = Path(__file__).parents[3]
        wanted = f"{checkout}[local]" if (checkout / "pyproject.toml").is_file() else "prepare-models[local]"
        return shlex.join([sys.executable, "-m", "pip", "install", wanted])

    def describe(self) -> RuntimeInfo:
        """Return backend and GPU. The GPU is asked for in a child: this process stays clear of the CUDA driver."""
        info = runtime.probe(gpu=False)
        if info["backend"] is not None and info["backend"]["name"] == "tensorrt_rtx":
            return info
        facts = [sys.executable, info, *machine_facts()]
        return remembered(facts, lambda: self._with_gpu(info), lasting=lambda found: found["gpu"] is not None)

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return this Python's name and facts in a lock."""
        return facts.of_python(self.describe())

    def inspect(
        self, files: Sequence[Path], key_file: Path | None, *, layers: bool, weights: bool
    ) -> list[dict[str, Any]]:
        """Describe model files and models directories."""
        flags = [flag for flag, wanted in (("--layers", layers), ("--weights", weights)) if wanted]
        key = ["--key-file", str(key_file)] if key_file else []
        documents: list[dict[str, Any]] = self._ask("inspect", *flags, *key, "--", *map(str, files))["files"]
        return documents

    def lint(self, models_dir: Path, consumers: Sequence[str]) -> dict[str, Any]:
        """Check a models directory."""
        chosen = [part for consumer in consumers for part in ("--consumer", consumer)]
        return self._ask("lint", *chosen, "--", str(models_dir))

    def relocate(self, models_dir: Path, deploy_dir: str | None) -> dict[str, Any]:
        """Write the companions in a models directory for another place, as its consumers see it; None: as it is."""
        place = ["--deploy-dir", deploy_dir] if deploy_dir else []
        return self._ask("relocate", *place, "--", str(models_dir))

    def decrypt(self, file: Path, key_file: Path, output: Path) -> dict[str, Any]:
        """Write the ONNX model of an .etlt to ``output`` and return what happened."""
        return self._ask("decrypt", str(file), "--key-file", str(key_file), "--output", str(output))

    def check(self, spec: ModelSpec, folder: Path) -> ModelReport:
        """Judge one model without building it. ``folder``: an empty private directory."""
        return self._judge(spec, folder / "unused", folder, CHECK_STAGES)

    def verify(self, spec: ModelSpec, output_dir: Path, folder: Path) -> ModelReport:
        """Compare the engine in ``output_dir`` with its source model. ``folder``: an empty private directory."""
        return self._judge(spec, output_dir, folder, VERIFY_STAGES)

    def _judge(self, spec: ModelSpec, output_dir: Path, folder: Path, stages: tuple[str, ...]) -> ModelReport:
        secrets = spec.network.secrets()
        with child.secret_file(spec.key.read() if spec.key else None) as key, child.secret_file(secrets) as secret:
            model = model_job(spec, output_dir=output_dir, key_file=child.path_of(key))
            job = Job(
                run_id=stages[-1],
                models=(model,),
                cache_dir=str(contents_dir()),
                stages=stages,
                network=spec.network.with_secrets(child.path_of(secret)),
                tool=__version__,
            )
            (folder / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
            inherited = [descriptor for descriptor in (key, secret) if descriptor is not None]
            exit_code, told = self._run_entrypoint(folder, inherited, lambda _: None)
        return _read_report(folder, spec, exit_code, told)

    def run(self, task: Task) -> ModelReport:
        """Build one model in a child process and return its report."""
        spec, folder = task.planned.spec, task.lock.control_dir
        secrets = spec.network.secrets()
        with child.secret_file(spec.key.read() if spec.key else None) as key, child.secret_file(secrets) as secret:
            model = model_job(
                spec, output_dir=task.planned.output_dir, key_file=child.path_of(key), timeout_s=task.timeout_s
            )
            job = Job(
                run_id=task.run_id,
                models=(model,),
                cache_dir=str(contents_dir()),
                stages=STAGES[1:] if task.offline else STAGES,
                network=spec.network.with_secrets(child.path_of(secret)),
                tool=__version__,
            )
            (folder / "job.json").write_text(json.dumps(job.to_dict()), encoding="utf-8")
            inherited = [descriptor for descriptor in (task.lock.descriptor, key, secret) if descriptor is not None]
            exit_code, told = self._run_entrypoint(folder, inherited, task.on_event)
        return _read_report(folder, spec, exit_code, told)

    def fetcher(self, job: FetchJob, network: NetworkSpec) -> Fetching:
        """Return a child process that fetches a job's sources."""
        return Fetching(job, network, on_result=lambda _: None)

    def stop(self) -> None:
        """Ask every child to end, and kill those that don't."""
        with self._guard:
            self._stopped = True
            children = list(self._children)
        for process in children:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in children:
            try:
                process.wait(_TERM_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def _with_gpu(self, info: RuntimeInfo) -> RuntimeInfo:
        answer: dict[str, Any] = self._ask("describe")
        return {**info, "backend": answer["backend"], "gpu": answer["gpu"], "gpu_reason": answer["gpu_reason"]}

    def _run_entrypoint(self, folder: Path, inherited: Sequence[int], on_event: OnEvent) -> tuple[int, str]:
        argv = child.argv("run", str(folder / "job.json"), str(folder), "--parent", str(os.getpid()))
        with (folder / "entrypoint.log").open("wb") as log:
            with self._guard:
                if self._stopped:
                    raise InterruptedRunError("the run was stopped")
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=child.environment(),
                    pass_fds=tuple(inherited), start_new_session=True,
                )  # fmt: skip
                self._children.add(process)
            try:
                for line in process.stdout or ():
                    on_event(Event.from_line(line.decode("utf-8")))
                exit_code = process.wait()
            finally:
                process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()
                with self._guard:
                    self._children.discard(process)
        return exit_code, (folder / "entrypoint.log").read_text(encoding="utf-8", errors="replace")

    def _ask(self, *command: str) -> dict[str, Any]:
        answer = subprocess.run(child.argv(*command), capture_output=True, env=child.environment(), check=False)
        try:
            document: dict[str, Any] = json.loads(answer.stdout)
        except ValueError:
            last = answer.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise HostError(f"the entrypoint does not start: {''.join(last)}", hint=self.fix()) from None
        return document


def _read_report(folder: Path, spec: ModelSpec, exit_code: int, told: str) -> ModelReport:
    try:
        return read(json.loads((folder / "report.json").read_text(encoding="utf-8"))["models"][0])
    except (OSError, ValueError, LookupError, ContractError) as error:
        report = blank(spec.name, spec.source, precision=spec.precision, converter=spec.converter)
        report["status"] = FAILED
        last = "; ".join(told.strip().splitlines()[-3:]) or str(error)
        report["error"] = ErrorInfo(
            code="entrypoint-failed",
            stage=None,
            message=f"the entrypoint ended with status {exit_code} and no report: {last}",
            hint="run again with -v; if it stays, please report it",
            retryable=True,
        )
        return report
