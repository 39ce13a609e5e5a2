"""The steps of a selftest: doctor, builds in every precision, what was built, its numbers, a second run, cleanup."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from prepare_models_entrypoint.contract import extras, sizes
from prepare_models_entrypoint.contract.comparison import OutputComparison
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.report import BUILT, UP_TO_DATE, ModelReport
from prepare_models_entrypoint.contract.values import Value

from .. import __version__
from ..executors.executor import Executor
from ..machine import doctor, facts
from ..machine.doctor import FAIL, LOCAL, OK, WARN, Finding
from ..manifest.load import load
from ..options import ContainerOptions, RunSettings
from ..running.progress import Observer
from ..running.runner import Run
from ..running.selection import Chosen
from ..support import paths

SKIP = "skip"  # in addition to doctor's verdicts
VERSION = 1  # of the file

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class Step(Value):
    """One thing that was tested. ``verdict``: ok, warn, fail or skip. ``seconds``: wall time."""

    name: str
    verdict: str
    message: str
    seconds: float = 0.0
    fix: str = ""


@dataclass
class Outcome:
    """Everything that a selftest found."""

    executor: str
    started_at: str
    findings: list[Finding] = field(default_factory=list)
    runtime: RuntimeInfo | None = None
    steps: list[Step] = field(default_factory=list)
    models: list[ModelReport] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether any step failed."""
        return any(step.verdict == FAIL for step in self.steps)

    def document(self, private: Mapping[str, str]) -> str:
        """Return the file to attach to a bug report, as JSON. ``private``: texts, each with its replacement."""
        found = {
            "selftest": VERSION,
            "tool": {"name": "prepare-models", "version": __version__},
            "verdict": FAIL if self.failed else OK,
            **asdict(self),
        }
        return json.dumps(_without(found, private), indent=2) + "\n"


def _without(found: object, private: Mapping[str, str]) -> object:
    """Return JSON with private words in texts replaced. Keys, numbers and Booleans are our own."""
    if isinstance(found, str):
        for word in sorted(private, key=len, reverse=True):
            found = found.replace(word, private[word])
        return found
    if isinstance(found, dict):
        return {key: _without(value, private) for key, value in found.items()}
    return [_without(each, private) for each in found] if isinstance(found, list) else found


def private_words(work: Path) -> dict[str, str]:
    """Return what a public file must not contain (paths, user, machine, secrets), each with its replacement.

    ``work``: the selftest's own directory.
    """
    words = {
        str(work): "<selftest>",
        str(Path(__file__).parents[1]): "<prepare_models>",
        os.getcwd(): "<here>",
        os.path.expanduser("~"): "~",
        socket.gethostname(): "<host>",
    }
    with contextlib.suppress(OSError, KeyError):  # a uid without an account
        words[getpass.getuser()] = "<user>"
    for name, value in os.environ.items():
        if _SECRET.search(name):
            words[value] = "<secret>"
        elif name.upper().endswith("_PROXY"):
            words[urlsplit(value).netloc.rpartition("@")[0]] = "<secret>"
    # "root" and "/" are everywhere and reveal nothing.
    return {word: instead for word, instead in words.items() if len(word) > 2 and word not in ("root", "localhost")}


_MANIFEST = Path(__file__).with_name("models.yaml")
_UNAVAILABLE = "precision-unavailable"
_NOT_DELIVERED = "precision-not-delivered"  # the builder preferred another precision: such an engine has to be refused
_ENGINE = "engine"  # the fact comes from the engine itself, not from the network that it was built from


class Selftest:
    """One selftest, with all its files in its own directory, which it removes."""

    def __init__(self, executor: Executor, containers: ContainerOptions, observer: Observer) -> None:
        """Prepare a selftest.

        Args:
            executor: builds and verifies.
            containers: what the executor was chosen with.
            observer: called with what the runs do.
        """
        self.work = Path(tempfile.mkdtemp(prefix="prepare-models-selftest-"))
        self.outcome = Outcome(executor.name, dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"))
        self._executor, self._containers, self._observer = executor, containers, observer
        self._started = time.monotonic()

    def run(self) -> Outcome:
        """Run all steps; a failure stops only what needs the failed step."""
        cache = os.environ.get(paths.CACHE_VARIABLE)
        os.environ[paths.CACHE_VARIABLE] = str(self.work / "cache")  # else a user's engine would be restored
        try:
            self._doctor()
            runtime = self._environment()
            if runtime["backend"] is not None:
                self._models(runtime)
        finally:
            del os.environ[paths.CACHE_VARIABLE]
            if cache is not None:
                os.environ[paths.CACHE_VARIABLE] = cache
            self._cleanup()
        return self.outcome

    def _step(self, name: str, verdict: str, message: str, *, fix: str = "") -> None:
        now = time.monotonic()
        self.outcome.steps.append(Step(name, verdict, message, round(now - self._started, 3), fix))
        self._started = now

    def _doctor(self) -> None:
        """Add doctor's findings, with failures as warnings: the steps that follow show what works."""
        findings = doctor.examine(
            facts.probe(), models_dir=self.work, platform=self._containers.platform, image=self._containers.image,
            automatic=self._executor.name,
        )  # fmt: skip
        self.outcome.findings = findings
        bad = [finding for finding in findings if finding.status != OK]
        message = "; ".join(f"{finding.name}: {finding.message}" for finding in bad) or "nothing is missing"
        self._step("doctor", WARN if bad else OK, message, fix="prepare-models doctor" if bad else "")

    def _environment(self) -> RuntimeInfo:
        runtime = self.outcome.runtime = self._executor.describe()
        backend, gpu = runtime["backend"], runtime["gpu"]
        if backend is None:
            local = self._executor.name == LOCAL
            fix = extras.install("local") if local else "use an image that has it: prepare-models image build"
            self._step("environment", FAIL, "no TensorRT", fix=fix)
            return runtime
        where = f"{gpu['name']}, compute capability {gpu['compute_capability']}" if gpu else "no GPU"
        self._step("environment", OK, f"{backend['name']} {backend['version']}, Python {runtime['python']}, {where}")
        return runtime

    def _models(self, runtime: RuntimeInfo) -> None:
        first = self._runs()
        for report in first:
            self.outcome.models.append(report)
            self.outcome.steps += _verdicts(report, on_gpu=runtime["gpu"] is not None)
        built = [report["name"] for report in first if report["status"] == BUILT]
        self._started = time.monotonic()
        again = {report["name"]: report for report in self._runs(built)} if built else {}
        stale = [
            f"{name}: {report['status']}, {report['reason']}"
            for name, report in again.items()
            if report["status"] != UP_TO_DATE
        ]
        if stale or not built:
            self._step("second run", FAIL if stale else SKIP, "; ".join(stale) or "no engine was built")
        else:
            self._step("second run", OK, f"{len(built)} engines up to date")

    def _runs(self, names: list[str] | None = None) -> list[ModelReport]:
        paths.make_cache()
        loaded = load(_MANIFEST)
        specs = [spec for spec in loaded.models if names is None or spec.name in names]
        run = Run(Chosen(loaded, specs, self._executor), RunSettings(self.work / "models"), self._observer)
        run.models()
        models: list[ModelReport] = run.report(time.time())["models"]
        return models

    def _cleanup(self) -> None:
        self._started = time.monotonic()
        shutil.rmtree(self.work, ignore_errors=True)
        if self.work.exists():
            self._step("cleanup", FAIL, f"{self.work} could not be removed", fix=f"rm -r {self.work}")
        else:
            self._step("cleanup", OK, "nothing is left")


def _verdicts(report: ModelReport, *, on_gpu: bool) -> Iterator[Step]:
    """Yield each step that a model's report shows."""
    precision = report["precision_proof"]["requested"]
    took = {"convert": 0.0, "inspect": 0.0, "verify": 0.0}
    took |= {stage["name"]: round(stage["seconds"], 3) for stage in report["stages"]}
    name, error = f"build {precision}", report["error"]
    if error is not None and error["code"] == _UNAVAILABLE:
        yield Step(name, SKIP, error["message"], took["convert"])
        return
    if report["engine"] is None and error is not None:
        verdict = WARN if error["code"] == _NOT_DELIVERED else FAIL
        yield Step(name, verdict, f"{error['message']} [{error['code']}]", round(sum(took.values()), 3), error["hint"])
        return
    yield Step(name, OK, sizes.readable(report["engine"]["bytes"]) if report["engine"] else "refused", took["convert"])
    yield replace(_inspection(report, precision, on_gpu=on_gpu), seconds=took["inspect"])
    yield replace(_parity(report, precision, on_gpu=on_gpu), seconds=took["verify"])
    yield _latency(report, precision, on_gpu=on_gpu)


def _inspection(report: ModelReport, precision: str, *, on_gpu: bool) -> Step:
    name = f"load and inspect {precision}"
    io = ", ".join(f"{binding['name']} {binding['dtype']} {binding['shape']}" for binding in report["io"])
    proof = report["precision_proof"]
    message = f"{io}; {proof['delivered'] or 'unproven'} by {proof['source'] or 'nothing'}"
    loaded = all(binding["source"] == _ENGINE for binding in report["io"])
    if not on_gpu:
        return Step(name, SKIP, f"not loaded without a GPU; of the network: {message}")
    return Step(name, OK if loaded and proof["delivered"] == precision else FAIL, message)


def _parity(report: ModelReport, precision: str, *, on_gpu: bool) -> Step:
    name, found = f"parity {precision}", report["verification"]
    if found is None:
        error = report["error"]
        message, fix = (error["message"], error["hint"]) if error else ("nothing was compared", "")
        return Step(name, FAIL, message, fix=fix)
    where = "on the GPU" if found["candidate"] == _ENGINE else "of the rewritten model, on the CPU"
    message = f"{found['verdict']}, {where}: {'; '.join(map(_agreement, found['outputs']))}"
    if found["verdict"] == "not-compared" and not on_gpu:
        return Step(name, SKIP, "the model was not rewritten, and its engine can't run here")
    if found["verdict"] != "passed":
        return Step(name, FAIL, message, fix="attach this file to a bug report")
    if on_gpu and found["candidate"] != _ENGINE:
        return Step(name, FAIL, message, fix=found["engine_not_run"] or "")
    return Step(name, OK if on_gpu else WARN, message)


def _agreement(output: OutputComparison) -> str:
    if output["argmax"] is not None:
        return f"{output['name']} {output['argmax']:.2%} of places alike"
    of_range = output["max_of_range"]
    return f"{output['name']} off by {of_range:.2e} of its range" if of_range is not None else output["name"]


def _latency(report: ModelReport, precision: str, *, on_gpu: bool) -> Step:
    name, found = f"latency {precision}", report["verification"]
    latency = found["latency"] if found else None
    if latency is None:
        reason = found["latency_absent"] or "" if found else "nothing was compared"
        return Step(name, FAIL if on_gpu else SKIP, reason)
    return Step(name, OK, f"median {latency['median_ms']:.3f} ms, p99 {latency['p99_ms']:.3f} ms")
