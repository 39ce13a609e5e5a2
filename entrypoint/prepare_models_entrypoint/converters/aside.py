"""A model is judged by one process while another begins to build it: what both report, and when the verdict counts."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Set

from ..contract import converters, event, schema
from ..contract.conversion import OnnxConfig
from ..contract.job import ModelJob
from ..errors import ConvertError, reported, taken_over
from ..processes import Ended, answer_of
from .request import JUDGED, PARSE, BuildRequest, Verdict
from .worker import judge, serve

_LARGEST = 512 << 20  # bytes


def is_for(kind: converters.Converter, model: ModelJob, file: Path, graph: Optional[Path]) -> bool:
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
            _heed(Path(self._verdict))

    def without_verdict(self, judges: Sequence[Ended]) -> Optional[Ended]:
        """Return the end of a process that should have judged what was parsed, and did not."""
        return next(iter(judges), None) if PARSE in self._seen and JUDGED not in self._seen else None

    def check(self) -> None:
        """Refuse a good result if nothing reported that the model was parsed: then no build process wrote it."""
        if self._verdict is not None and PARSE not in self._seen:
            raise taken_over("progress does not say that it was parsed")


def _heed(file: Path) -> None:
    verdict = answer_of(file, Verdict)
    if verdict is None:
        raise taken_over("verdict can't be read")
    if verdict["error"] is not None:
        raise reported(verdict["error"], ConvertError)
