"""The build process: parse, check, build, write. A backend may crash, hang or eat the memory, so it is alone here.

``python -m prepare_models_entrypoint.convert.worker REQUEST EVENTS_FD``
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List

from ..contract.files import sync, write_atomic
from ..contract.report import Binding, Precision, ProfileShapes
from ..errors import ConvertError, StageError, from_os_error
from ..processes import die_with_parent
from . import preflight
from .request import BuildRequest, BuildResult, empty_result

_PROGRESS_INTERVAL_S = 0.2


def main(request_path: str, events_fd: str) -> int:
    """Serve one request; the outcome, good or bad, stands in its result file."""
    request = BuildRequest.read(request_path)
    die_with_parent(request.parent)
    result = empty_result()
    with os.fdopen(int(events_fd), "wb", 0) as events:
        try:
            _convert(request, result, Progress(events))
        except StageError as error:
            result["error"] = error.info("convert")
        except OSError as error:
            result["error"] = from_os_error(error).info("convert")
        except MemoryError:
            result["error"] = ConvertError(
                "out-of-memory", "the build process got no more memory", hint="build on a machine with more memory"
            ).info("convert")
    write_atomic(request.result, json.dumps(result).encode("utf-8"), mode=0o600)
    return 0 if result["error"] is None else 1


class Progress:
    """Tells the parent about phases, at most a few times a second."""

    def __init__(self, events: BinaryIO) -> None:
        self._events = events
        self._last = 0.0
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Report a phase with its steps (0 of 0: not known)."""
        now = time.monotonic()
        if phase == self._phase and done != total and now - self._last < _PROGRESS_INTERVAL_S:
            return
        self._last, self._phase = now, phase
        with contextlib.suppress(OSError):
            self._events.write((json.dumps({"phase": phase, "done": done, "total": total}) + "\n").encode("utf-8"))


def _convert(request: BuildRequest, result: BuildResult, progress: Progress) -> None:
    backend = _load_backend()
    result["backend"] = backend.info()
    with _typed_model(request, result, backend.weakly_typed(), progress) as onnx:
        progress("parse", 0, 0)
        network = backend.Network(onnx)
    bindings: List[Binding] = network.bindings()
    preflight.check_network(bindings, network.layers)
    preflight.check_outputs(bindings, request.outputs)
    profile = preflight.resolve_profile(bindings, request.inputs)
    progress("build", 0, 0)
    plan, result["builder"] = backend.build(network, profile, request.builder, request.precision, progress)
    result["profiles"] = [profile]
    result["io"] = _with_profiles(bindings, profile)
    progress("write", 0, 0)
    result["engine_bytes"], result["engine_sha256"] = _write(plan, request.plan)


def _load_backend() -> Any:
    try:
        from . import backend
    except (ImportError, OSError) as error:
        raise ConvertError(
            "backend-unusable",
            f"the TensorRT module does not load: {error}",
            hint="install 'prepare-models[local]' again, or check the driver and libraries of this environment",
        ) from error
    return backend


@contextlib.contextmanager
def _typed_model(request: BuildRequest, result: BuildResult, weakly_typed: bool, progress: Progress) -> Iterator[str]:
    """Yield the ONNX file that the parser shall read: the model, or a copy rewritten to the precision."""
    requested = request.precision
    if requested == "int8":
        raise ConvertError(
            "precision-unavailable",
            "int8 engines are not built yet: neither from a calibration cache nor from Q/DQ nodes",
            hint="use precision: fp16 or fp32",
        )
    if requested == "fp32" or weakly_typed:
        method = "as exported" if requested == "fp32" else "builder flag FP16"
        result["precision"] = Precision(requested=requested, delivered=requested, method=method)
        yield request.onnx
        return
    from .fp16 import rewrite

    progress("rewrite to fp16", 0, 0)
    rewritten = Path(request.work_dir) / "fp16.onnx"
    try:
        result["warnings"] += rewrite(Path(request.onnx), rewritten)
        result["precision"] = Precision(requested=requested, delivered="fp16", method="graph rewritten, fp32 bindings")
        yield str(rewritten)
    finally:
        with contextlib.suppress(FileNotFoundError):
            rewritten.unlink()


def _with_profiles(bindings: List[Binding], profile: Dict[str, ProfileShapes]) -> List[Binding]:
    for binding in bindings:
        if binding["name"] in profile:
            binding["profiles"] = [profile[binding["name"]]]
    return bindings


def _write(plan: Any, path: str) -> "tuple[int, str]":
    """Write the plan and bring it to the disk; meanwhile hash it."""
    view, digest = memoryview(plan), hashlib.sha256()
    hashing = threading.Thread(target=digest.update, args=(view,))
    hashing.start()
    try:
        with open(path, "wb") as stream:
            stream.write(view)
            sync(stream)
    finally:
        hashing.join()
    return len(view), digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
