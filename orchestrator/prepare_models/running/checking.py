"""Checking models without building them, several at once: a small one mostly waits for processes to start."""

from __future__ import annotations

import contextlib
import contextvars
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prepare_models_entrypoint.contract.report import ModelReport
from prepare_models_entrypoint.contract.source import Source

from ..executors.executor import Executor
from ..manifest.model import ModelSpec

_AT_ONCE = 4
_LARGE = 256 << 20  # bytes; a larger model is checked alone because of its memory


def check_all(specs: Sequence[ModelSpec], executor: Executor) -> list[ModelReport]:
    """Return a report for each model, in order. Large models are checked one at a time."""
    large = threading.Lock()

    def check(spec: ModelSpec) -> ModelReport:
        with (
            large if _is_large(spec) else contextlib.nullcontext(),
            tempfile.TemporaryDirectory(prefix="prepare-models-check-") as folder,
        ):
            return executor.check(spec, Path(folder))

    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1), thread_name_prefix="check") as pool:
        futures = [pool.submit(contextvars.copy_context().run, check, spec) for spec in specs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            executor.stop()
            raise


def _is_large(spec: ModelSpec) -> bool:
    """Return whether a model is large, or may be: before it is fetched, its size is unknown."""
    path = Source.of(spec.source).path
    try:
        return path is None or path.stat().st_size > _LARGE
    except OSError:
        return False  # the check says what is wrong with it
