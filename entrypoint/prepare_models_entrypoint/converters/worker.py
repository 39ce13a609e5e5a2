"""The build process: parse, check, build, write. A backend may crash, hang or exhaust memory, so it runs alone here."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import BinaryIO, Callable, List, Mapping, Optional, Sequence, Set

from .. import reach
from ..confinement import confine
from ..contract import converters, event, schema
from ..contract.conversion import OnnxConfig
from ..contract.files import pass_on
from ..contract.job import ModelJob
from ..errors import ConvertError, outcome, reported, taken_over
from ..landlock import Reach
from ..processes import Ended, answer_of, die_with_parent, go_first, show_as
from . import well_formed
from .request import JUDGED, PARSE, BuildRequest, BuildResult, Verdict, empty_result, load_converter

_PROGRESS_INTERVAL_S = 0.2
_LARGEST = 512 << 20  # bytes


def is_judged_meanwhile(kind: converters.Converter, model: ModelJob, file: Path, graph: Optional[Path]) -> bool:
    """Return whether a model is judged while it is built.

    It is where the build needs the ``onnx`` module, which is slow to import, for nothing else. With a large model that
    time hardly counts, and the build may need the memory.
    """
    as_it_is = model.precision == "fp32" and model.onnx == OnnxConfig() and graph is None
    return kind.name == "api" and as_it_is and file.stat().st_size <= _LARGEST


def works(request: BuildRequest) -> List[Callable[[int], int]]:
    """Return the work of each process of a build: the one that builds, and the one that judges, if any."""
    judging = [lambda events_fd: judge(request, events_fd)] if request.verdict is not None else []
    return [lambda events_fd: serve(request, events_fd), *judging]


def serve(request: BuildRequest, events_fd: int) -> int:
    """Serve one request; the outcome, good or bad, is written to its result file. Progress goes to ``events_fd``."""
    die_with_parent(request.parent)
    show_as("prepare-build")
    go_first()
    result = empty_result()
    result["confinement"] = confine(_reach(request), private=request.work_dir)
    with os.fdopen(events_fd, "wb", 0) as events:
        result["error"] = outcome(lambda: _convert(request, result, Progress(events)), "convert")
    pass_on(request.result, json.dumps(result).encode("utf-8"))
    return 0 if result["error"] is None else 1


def judge(request: BuildRequest, events_fd: int) -> int:
    """Judge the model of a request while its build begins. The verdict is written to a file, then announced."""
    die_with_parent(request.parent)
    show_as("prepare-judge")
    go_first()
    source, private = request.source, request.work_dir
    confine(reach.of(work_dir=private, source=source), private=private)
    verdict = Verdict(error=outcome(lambda: well_formed.check(source), "convert"))
    pass_on(str(request.verdict), json.dumps(verdict).encode("utf-8"))
    with os.fdopen(events_fd, "wb", 0) as events:
        Progress(events)(JUDGED, 0, 0)
    return 0


def _reach(request: BuildRequest) -> Optional[Reach]:
    """Return the files that a request may access; None (no limits) for some programs.

    A converter that is a script may start any program. CUDA in a program writes to files that the kernel creates for
    that process, which can't be named in advance.

    Timing caches and the GPU's lock are shared with other builds, so they are writable.
    """
    if request.program is not None and (_is_script(request.program) or reach.has_cuda()):
        return None
    kept = request.model.builder.timing_cache is not False or reach.has_cuda()
    timings = request.timing_dir if kept and not request.check_only else None
    if timings is not None:
        timings.mkdir(parents=True, exist_ok=True)
    return reach.of(
        work_dir=request.work_dir,
        source=request.source,
        model=request.model,
        read=[request.cache_file, *converters.find().programs.values()],  # their digests name timing caches
        write=[request.plan, timings, request.graph and request.graph.parent],
        program=request.program,
    )


def _is_script(program: str) -> bool:
    try:
        with open(program, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return False


class Progress:
    """Reports phases to the parent, at most a few times a second."""

    def __init__(self, events: BinaryIO) -> None:
        self._events = events
        self._last = 0.0
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Report a phase with its steps (0 of 0: unknown)."""
        now = time.monotonic()
        if phase == self._phase and done != total and now - self._last < _PROGRESS_INTERVAL_S:
            return
        self._last, self._phase = now, phase
        with contextlib.suppress(OSError):
            self._events.write((json.dumps({"phase": phase, "done": done, "total": total}) + "\n").encode("utf-8"))


def _convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    if request.model.verify is not None and request.key_fd is None:
        from ..verify import needs

        needs.check(request.model, request.source)
    load_converter(request.converter).convert(request, result, progress)


class Reports:
    """What the processes of a build report. The verdict counts once the build process has found nothing to refuse."""

    def __init__(self, request: BuildRequest, on_progress: Callable[[Mapping[str, object]], None]) -> None:
        self._verdict, self._on_progress = request.verdict, on_progress
        self._seen: Set[str] = set()

    def __call__(self, line: bytes) -> None:
        """Take a line.

        Raises:
            ConvertError: the model is being parsed, and is not well formed.
            ContractError: none of these processes wrote it.
        """
        phase = schema.read(event.Phase, schema.loads(line), "progress")
        self._seen.add(phase["phase"])
        if phase["phase"] != JUDGED:
            self._on_progress(phase)
        if self._verdict is not None and phase["phase"] in (JUDGED, PARSE) and self._seen.issuperset((JUDGED, PARSE)):
            verdict = answer_of(self._verdict, Verdict)
            if verdict is None:
                raise taken_over("verdict can't be read")
            if verdict["error"] is not None:
                raise reported(verdict["error"], ConvertError)

    def without_verdict(self, judges: Sequence[Ended], *, refused: bool) -> Optional[Ended]:
        """Return the end of a process that should have judged the model, and did not.

        ``refused``: whether the build process refused the model, which counts unless it was parsed.
        """
        judged = JUDGED in self._seen or (refused and PARSE not in self._seen)
        return None if judged else next(iter(judges), None)

    def check(self) -> None:
        """Refuse a good result if nothing reported that the model was parsed: then no build process wrote it."""
        if self._verdict is not None and PARSE not in self._seen:
            raise taken_over("progress does not say that it was parsed")
