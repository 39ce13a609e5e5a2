"""Convert one model: decrypt it if encrypted, choose the converter, run the build process, judge how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..contract import converters, event, extras
from ..contract.builder import BuilderConfig
from ..contract.environment import RuntimeInfo
from ..contract.files import is_plain
from ..contract.job import ModelJob
from ..contract.report import Attempt
from ..contract.shapes import ShapeRange
from ..contract.values import Value
from ..errors import ConvertError, VerifyError, reported, taken_over
from ..processes import Ended, Silence, answer_of, supervise_forks, tail
from . import build_time, etlt, options, worker
from .request import BuildRequest, BuildResult, load_converter

OnProgress = Callable[[Mapping[str, object]], None]
OnStart = Callable[[], Callable[[], None]]

_LOG_LINES = 5
_SILENCE_S = 300.0
_JUDGE = "the process that checks the model by ONNX's rules"
_MIB = 1 << 20
_BUILDER_RUNGS: Tuple[Mapping[str, Any], ...] = (
    {"workspace_bytes": 1024 * _MIB},
    {"workspace_bytes": 512 * _MIB, "max_aux_streams": 0},
    {"workspace_bytes": 256 * _MIB, "tactic_dram_bytes": 512 * _MIB},
    {"optimization_level": 1},
)


class Converted(Value):
    """Result of a conversion: the build process's findings, its peak memory, the converter and why it was chosen.

    trtexec_command: the command line that repeats the conversion without this tool; None after a check.
    """

    result: BuildResult
    converter: str
    reason: str
    peak_rss_bytes: int
    trtexec_command: Optional[str]


def convert(
    model: ModelJob, source: Path, plan: Path, *, work_dir: Path, runtime: RuntimeInfo, on_progress: OnProgress,
    cache_file: Optional[Path] = None, timing_dir: Optional[Path] = None, check_only: bool = False,
    graph: Optional[Path] = None, attempts: Optional[List[Attempt]] = None,
    on_start: OnStart = lambda: lambda: None,
) -> Converted:  # fmt: skip
    """Build ``plan`` from the model file ``source``.

    plan: unfinished file next to the engine's final place. work_dir: private directory for intermediate files; this
    function removes what it puts there. on_progress: called with phase, done and total. timing_dir: where timing caches
    and the locks of GPUs are kept between builds; ``durations`` next to it has the times of builds. check_only: check
    the model without building. graph: file that receives the backend's ONNX graph. attempts: receives the builds that
    ran out of memory, with what was changed after each. on_start: called when the processes of a build have started:
    now this one may have threads. What it returns is called before any further process starts, and waits for them.
    """
    started = time.monotonic()
    durations = build_time.file_for(timing_dir.with_name("durations"), model, runtime) if timing_dir else None
    kind, reason = choose_converter(model, source, runtime)
    with contextlib.ExitStack() as stack:
        key_fd = stack.enter_context(_key(model, source)) if kind.encrypted else None
        file = source if kind.encrypted else stack.enter_context(plain_model(model, source, work_dir))
        request = BuildRequest(
            model=model,
            source=file,
            plan=plan,
            work_dir=work_dir,
            result=work_dir / "result.json",
            converter=kind.name,
            program=converters.find().programs.get(kind.name),
            cache_file=cache_file,
            timing_dir=timing_dir,
            expected_s=build_time.expected(durations, model.precision) if durations else None,
            capability=runtime["gpu"]["compute_capability"] if runtime["gpu"] else None,
            key_fd=key_fd,
            check_only=check_only,
            graph=graph,
            verdict=work_dir / "verdict.json" if worker.is_judged_meanwhile(kind, model, file, graph) else None,
        )
        kept = attempts if attempts is not None else []
        result, ended, built = _climb(request, runtime, on_progress, on_start, kept)
    if graph is not None:
        left = list(graph.parent.iterdir())  # a link among them would lead out of this directory
        if graph not in left or not all(map(is_plain, left)):
            raise taken_over("graph is not a file of its own")
    if durations is not None and not check_only:
        build_time.remember(durations, model.precision, time.monotonic() - started)
    peak = max(ended.peak_rss_bytes, result["children_rss_bytes"])
    command = None if check_only else load_converter(kind.name).line(built, result)
    return Converted(result, kind.name, reason, peak, command)


def choose_converter(model: ModelJob, source: Path, runtime: RuntimeInfo) -> Tuple[converters.Converter, str]:
    """Return the converter for a model, and the reason for this choice.

    Raises:
        ConvertError: nothing here can convert it, or the converter that the manifest names can't.
    """
    encrypted = converters.is_encrypted(source.name)
    header = etlt.read_header(source) if encrypted else None
    backend = runtime["backend"]
    choice = converters.choose(
        model.converter,
        converters.Case(
            encrypted=encrypted,
            payload=header.payload if header else None,
            bindings=backend["name"] if backend else None,
            found=converters.find(),
        ),
    )
    if choice.converter is not None:
        return converters.kind_of(choice.converter), choice.reason
    if header is not None and header.payload == "uff":
        raise etlt.is_uff(source, header)
    if model.converter != "auto":
        raise ConvertError(
            "converter-unavailable",
            f"converter {model.converter}: {choice.reason}",
            hint="use converter: auto, or an environment that has it",
        )
    raise ConvertError("backend-missing", choice.reason, hint=extras.install("local"))


def _climb(
    request: BuildRequest,
    runtime: RuntimeInfo,
    on_progress: OnProgress,
    on_start: OnStart,
    attempts: List[Attempt],
) -> "tuple[BuildResult, Ended, ModelJob]":
    """Build, and retry with less after each build that ran out of memory. The returned model is the last attempt's."""
    backend = runtime["backend"] or {"name": "tensorrt", "version": "10.0"}
    takes = load_converter(request.converter).takes
    ladder = rungs(request.model, backend=backend["name"], version=backend["version"], takes=takes)
    last: Optional[ConvertError] = None
    waits: List[Callable[[], None]] = []
    kills = _oom_kills()
    while True:
        try:
            return (*_run(request, on_progress, lambda: waits.append(on_start())), request.model)
        except ConvertError as error:
            if last is not None and error.code == "builder-option-unavailable":
                raise last from None  # a step that this version doesn't know
            if error.code != "out-of-memory" or request.check_only:
                raise
            if error.retryable and _oom_kills() == kills:
                raise  # killed by someone, not by the kernel
            model, changed = next(ladder, (None, {}))
            if model is None:
                raise
            last = error
            attempts.append(Attempt(code=error.code, message=error.message, changed=changed))
            less = ", ".join(f"{name} {value}" for name, value in changed.items())
            on_progress({"phase": f"again with {less}", "done": 0, "total": 0})
            with contextlib.suppress(FileNotFoundError):
                request.result.unlink()
            request = dataclasses.replace(request, model=model)
            while waits:
                waits.pop()()


def _oom_kills() -> int:
    """Return how often the kernel killed processes for lack of memory, on this machine and in this control group."""
    found = 0
    for file in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):
        with contextlib.suppress(OSError, ValueError):
            words = file.read_text(encoding="ascii").split()
            found += sum(int(count) for name, count in zip(words, words[1:]) if name == "oom_kill")
    return found


@contextlib.contextmanager
def _key(model: ModelJob, source: Path) -> Iterator[int]:
    """Yield a descriptor from which the build process reads the key; it is not a file on any disk."""
    descriptor = os.memfd_create("key")
    try:
        os.write(descriptor, etlt.read_key(_key_file(model, source)).encode("utf-8"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _key_file(model: ModelJob, source: Path) -> Path:
    if model.key_file is None:
        raise ConvertError(
            "etlt-key-missing",
            f"{source.name} is encrypted and the manifest gives no key",
            hint="add  key: {env: NAME}  or  key: {file: PATH}, to convert  --key-env NAME; the key is on the "
            "model's NGC page",
        )
    return Path(model.key_file)


@contextlib.contextmanager
def plain_model(model: ModelJob, source: Path, work_dir: Path) -> Iterator[Path]:
    """Yield the path of an ONNX file: the source itself, or its decrypted payload while the block runs."""
    if not converters.is_encrypted(source.name):
        yield source
        return
    plain = work_dir / "decrypted.onnx"
    try:
        etlt.decrypt(source, _key_file(model, source), plain)
        yield plain
    finally:
        with contextlib.suppress(FileNotFoundError):
            plain.unlink()


def _run(request: BuildRequest, on_progress: OnProgress, on_start: Callable[[], object]) -> "tuple[BuildResult, Ended]":
    log, timeout_s = request.work_dir / "build.log", request.model.limit_s

    def tell(silent_s: float) -> None:
        on_progress({"phase": event.SILENT, "done": round(silent_s), "total": round(timeout_s)})

    reports = worker.Reports(request, on_progress)
    ended, *judges = supervise_forks(
        worker.works(request), log=log, on_line=reports, timeout_s=timeout_s, silence=Silence(_SILENCE_S, tell),
        on_start=on_start,
    )  # fmt: skip
    if ended.nonsense is not None:
        raise taken_over(f"progress was {ended.nonsense}")
    result = answer_of(request.result, BuildResult)
    died = reports.without_verdict(judges, refused=result is not None and result["error"] is not None)
    if died is not None:
        raise _without_result(died, log, timeout_s, _JUDGE)
    if result is None:
        raise _without_result(ended, log, timeout_s)
    if result["error"] is not None:
        kind = VerifyError if result["error"]["stage"] == VerifyError.of_stage else ConvertError
        raise reported(result["error"], kind)
    reports.check()
    return result, max((ended, *judges), key=lambda each: each.peak_rss_bytes)


def _without_result(ended: Ended, log: Path, timeout_s: float, who: str = "the build process") -> ConvertError:
    last_lines = tail(log, _LOG_LINES)
    text = f"; it last printed:\n{last_lines}" if last_lines else ""
    if ended.timed_out:
        return ConvertError("build-timeout", f"the build was stopped after {timeout_s:g} s{text}", retryable=True)
    if ended.signal == signal.SIGKILL:
        return ConvertError(
            "out-of-memory", f"{who} was killed, as the kernel does when memory runs out{text}", retryable=True
        )
    if ended.signal == signal.SIGBUS:
        return ConvertError(
            "source-changed",
            f"a file of the model became shorter, or its disk failed, while it was being read{text}",
            retryable=True,
        )
    if ended.signal is not None:
        hint = "export the model again, or report this with the model" if who == _JUDGE else ""
        return ConvertError("build-crashed", f"{who} died of {ended.signal.name}{text}", hint=hint)
    return ConvertError(
        "build-crashed",
        f"{who} ended with status {ended.exit_code} and no result{text}",
        hint="report this with the model and the lines above, or use the model only if you trust where it comes from",
    )


def rungs(
    model: ModelJob, *, backend: str, version: str, takes: Callable[[BuilderConfig], bool] = lambda _: True
) -> Iterator[Tuple[ModelJob, Dict[str, Any]]]:
    """Yield smaller and smaller requests, each with what it changed.

    Settings that the backend or the converter lacks are skipped, and one that the manifest sets lower stays. The
    largest batch is halved last, and only if the manifest allows a fallback, as it changes what the engine can do.
    """

    def fits(name: str, value: Any) -> bool:
        current, builder = getattr(model.builder, name), BuilderConfig(**{name: value})
        if (current is not None and current <= value) or not takes(builder):
            return False
        try:
            options.check(builder, backend, version, precision=model.precision, has_gpu=True)
        except ConvertError:
            return False
        return True

    for rung in _BUILDER_RUNGS:
        changed = {name: value for name, value in rung.items() if fits(name, value)}
        if changed:
            model = dataclasses.replace(model, builder=dataclasses.replace(model.builder, **changed))
            yield model, changed
    while model.allow_fallback:
        inputs = {name: _halved(shapes) for name, shapes in model.inputs.items()}
        if inputs == dict(model.inputs):
            return
        model = dataclasses.replace(model, inputs=inputs)
        yield model, {"max_batch": max(shapes.max[0] for shapes in inputs.values() if not shapes.values)}


def _halved(shapes: ShapeRange) -> ShapeRange:
    """Return the range with half the largest batch; axis 0 is the batch; if it is fixed, nothing changes."""
    if shapes.values or not shapes.max or shapes.min[0] == shapes.max[0]:
        return shapes
    most = max(shapes.min[0], shapes.max[0] // 2, 1)
    middle = min(shapes.opt[0], most)
    return ShapeRange(min=shapes.min, opt=(middle, *shapes.opt[1:]), max=(most, *shapes.max[1:]))
