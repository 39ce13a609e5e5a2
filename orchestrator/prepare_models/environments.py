"""What an environment that builds engines tells of itself, remembered while nothing changes that it depends on.

So a run that has nothing to build starts neither a child process nor a container to find that out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.files import write_atomic
from prepare_models_entrypoint.contract.report import RuntimeInfo

from .paths import cache_dir

_FORM = 2  # of what is remembered; raised when a description tells more
_MACHINE_FILES = ("/proc/sys/kernel/random/boot_id", "/proc/driver/nvidia/version")
_MACHINE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")


def remembered(
    facts: Sequence[object], ask: Callable[[], RuntimeInfo], *, lasting: Callable[[RuntimeInfo], bool]
) -> RuntimeInfo:
    """Return an environment's description.

    Args:
        facts: everything that it depends on.
        ask: finds it out.
        lasting: whether an answer holds as long as the facts do. That a GPU was missing does not.
    """
    name = hashlib.sha256(json.dumps([_FORM, *facts]).encode("utf-8")).hexdigest()[:32]
    file = cache_dir() / "environments" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError):
        known: RuntimeInfo = json.loads(file.read_text(encoding="utf-8"))
        return known
    answer = ask()
    if lasting(answer):
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json.dumps(answer).encode("utf-8"))
    return answer


def machine_facts(root: Path = Path("/")) -> list[str | None]:
    """Return what a GPU that is seen depends on: this boot of the machine, its driver, and what is hidden from us."""
    texts: list[str | None] = []
    for file in _MACHINE_FILES:
        try:
            texts.append((root / file.lstrip("/")).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            texts.append(None)
    return texts + [os.environ.get(name) for name in _MACHINE_VARIABLES]
