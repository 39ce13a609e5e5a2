"""Convert one model: decrypt where it is encrypted, choose the converter, run the build process, judge how it ended."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..contract import ModelJob
from ..contract.report import RuntimeInfo
from ..contract.source import public
from ..errors import ConvertError
from ..processes import Ended, supervise, tail
from . import etlt
from .request import BuildRequest, BuildResult
from .trtexec import command, shell_line

OnProgress = Callable[[Dict[str, Any]], None]

_LOG_LINES = 5


@dataclass(frozen=True)
class Converted:
    """What came of a conversion: the build process's findings, its peak memory, the converter that was used."""

    result: BuildResult
    converter: str
    peak_rss_bytes: int
    trtexec_command: str


def convert(
    model: ModelJob, source: Path, plan: Path, *, work_dir: Path, runtime: RuntimeInfo, on_progress: OnProgress
) -> Converted:
    """Build ``plan`` from the model file ``source``.

    Args:
        model: what is asked.
        source: the fetched model file.
        plan: unfinished file beside the engine's final place.
        work_dir: private directory for intermediate files; what this function puts there it also removes.
        runtime: backend of this environment.
        on_progress: called with phase, done and total.
    """
    converter = choose_converter(model, runtime)
    with _plain_model(model, source, work_dir) as onnx:
        request = BuildRequest(
            onnx=str(onnx),
            plan=str(plan),
            work_dir=str(work_dir),
            result=str(work_dir / "result.json"),
            precision=model.precision,
            inputs=model.inputs,
            outputs=list(model.outputs),
            builder=model.builder,
        )
        result, ended = _run(request, work_dir, model.timeout_s, on_progress)
    argv = command(
        public(model.source),
        str(Path(model.deploy_dir) / "1" / "model.plan"),
        profile=result["profiles"][0],
        builder=model.builder,
        precision_flags=_precision_flags(result),
    )
    return Converted(result, converter, ended.peak_rss_bytes, shell_line(argv))


def choose_converter(model: ModelJob, runtime: RuntimeInfo) -> str:
    """Return the converter for a model, or refuse one that can't be used here."""
    if model.converter not in ("auto", "api"):
        raise ConvertError(
            "converter-unavailable",
            f"converter {model.converter} is not driven by this version",
            hint="use converter: auto, or leave the line out",
        )
    if runtime["backend"] is None:
        raise ConvertError(
            "backend-missing",
            "neither tensorrt nor tensorrt_rtx is installed beside the entrypoint",
            hint="pip install 'prepare-models[local]'",
        )
    return "api"


@contextlib.contextmanager
def _plain_model(model: ModelJob, source: Path, work_dir: Path) -> Iterator[Path]:
    """Yield the path of an ONNX file: the source itself, or its decrypted payload for as long as the block runs."""
    if source.suffix != ".etlt":
        yield source
        return
    if model.key_file is None:
        etlt.read_header(source)
        raise ConvertError(
            "etlt-key-missing",
            f"{source.name} is encrypted and the manifest gives no key",
            hint="add  key: {env: NAME}  or  key: {file: PATH}; the key stands on the model's NGC page",
        )
    plain = work_dir / "decrypted.onnx"
    try:
        etlt.decrypt(source, etlt.read_key(Path(model.key_file)), plain)
        yield plain
    finally:
        with contextlib.suppress(FileNotFoundError):
            plain.unlink()


def _run(
    request: BuildRequest, work_dir: Path, timeout_s: Optional[float], on_progress: OnProgress
) -> "tuple[BuildResult, Ended]":
    request_file, log = work_dir / "request.json", work_dir / "build.log"
    request.write(request_file)
    argv = [sys.executable, "-m", f"{__package__}.worker", str(request_file)]
    ended = supervise(argv, log=log, on_line=lambda line: on_progress(json.loads(line)), timeout_s=timeout_s)
    try:
        result: BuildResult = json.loads(Path(request.result).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _without_result(ended, log, timeout_s) from None
    error = result["error"]
    if error is not None:
        raise ConvertError(error["code"], error["message"], hint=error["hint"], retryable=error["retryable"])
    return result, ended


def _without_result(ended: Ended, log: Path, timeout_s: Optional[float]) -> ConvertError:
    last_lines = tail(log, _LOG_LINES)
    told = f"; its last words:\n{last_lines}" if last_lines else ""
    if ended.timed_out:
        return ConvertError(
            "build-timeout",
            f"the build was stopped after {timeout_s:g} s{told}",
            hint="raise --timeout",
            retryable=True,
        )
    if ended.signal == signal.SIGKILL:
        return ConvertError(
            "out-of-memory",
            f"the build process was killed, as the kernel does when memory runs out{told}",
            hint="lower builder.workspace, close other programs, add memory or swap",
            retryable=True,
        )
    if ended.signal is not None:
        return ConvertError(
            "build-crashed",
            f"the build process died of {ended.signal.name}{told}",
            hint="this is a crash inside TensorRT: try another version of it, or simplify the model",
        )
    return ConvertError(
        "internal",
        f"the build process ended with status {ended.exit_code} and no result{told}",
        hint="please report this, with the lines above",
    )


def _precision_flags(result: BuildResult) -> List[str]:
    precision = result["precision"]
    by_flag = precision is not None and (precision["method"] or "").startswith("builder flag")
    return [f"--{precision['delivered']}"] if precision is not None and by_flag else []
