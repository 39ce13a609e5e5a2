"""What an environment that builds engines reports about itself, remembered until something it depends on changes.

So a run with nothing to build starts no child process or container to find out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import backends, converters
from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.files import write_atomic

from ..support.paths import cache_dir
from . import facts as machine
from . import gpus
from .facts import Machine

_FORM = 4  # version of the remembered form; raised when a description contains more
_MACHINE_FILES = ("proc/sys/kernel/random/boot_id", "proc/driver/nvidia/version")
_MOST = 100  # descriptions that are kept: each boot of a machine with a GPU adds one
_CARDS = "proc/driver/nvidia/gpus/*/information"
_MACHINE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")


def unavailable() -> str | None:
    """Return why this Python can't build engines, or None."""
    if backends.installed_backend() is not None or converters.find().reads_onnx:
        return None
    loads = [f"{backends.PRODUCTS[each['name']]} {each['version']}" for each in backends.installed()]
    alone = f"; what is installed loads engines and builds none: {', '.join(loads)}" if loads else ""
    return f"neither tensorrt nor tensorrt_rtx is installed for {sys.executable}{alone}"


def remembered(
    facts: Sequence[object], ask: Callable[[], RuntimeInfo], *, lasting: Callable[[RuntimeInfo], bool]
) -> RuntimeInfo:
    """Return an environment's description: what is remembered for some facts, else what ``ask`` finds out.

    ``facts``: everything that it depends on. ``lasting``: returns whether an answer stays valid as long as the facts
    do; a missing GPU doesn't.
    """
    found: RuntimeInfo | None = recalled(facts)
    if found is not None:
        return found
    answer = ask()
    if lasting(answer):
        remember(facts, answer)
    return answer


def recalled(facts: Sequence[object]) -> Any:
    """Return what is remembered for some facts, or None."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(_file(facts).read_text(encoding="utf-8"))
    return None


def remember(facts: Sequence[object], answer: Any) -> None:
    """Remember an answer, unless already known; failures to do so are ignored."""
    file, text = _file(facts), json.dumps(answer)
    with contextlib.suppress(OSError):
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, text.encode("utf-8"))
            for old in sorted(file.parent.glob("*.json"), key=lambda file: -file.stat().st_mtime)[_MOST:]:
                old.unlink(missing_ok=True)


def image_facts(image_id: str, found: Machine, gpu: str) -> list[object]:
    """Return what an image's description depends on, however its container gets its GPUs. ``gpu``: which."""
    return [CONTRACT_VERSION, image_id, found.board, gpu, *(machine_facts() if gpu != gpus.NONE else ())]


def this_machine() -> Machine:
    """Describe this machine; its driver is queried once for each boot, driver and set of GPUs."""
    return machine.probe(ask_gpus=_gpus)


def _gpus(root: Path) -> gpus.Answer:
    program, drivers = gpus.nvidia_smi(root), machine_facts(root)
    if not drivers[1]:  # without a file with the driver's version, a change would go unnoticed
        return gpus.ask(root)
    facts = ["gpus", program, os.stat(program).st_mtime_ns if program else None, *drivers]
    found = recalled(facts)
    if found:
        return gpus.Answer(tuple(gpus.Gpu(**gpu) for gpu in found))
    answer = gpus.ask(root)
    if answer.gpus and not answer.reason:
        remember(facts, [vars(gpu) for gpu in answer.gpus])
    return answer


def machine_facts(root: Path = Path("/")) -> list[str | None]:
    """Return what a visible GPU depends on: the machine's boot, its driver, GPUs, and what is hidden from us."""
    cards = sorted(str(file) for file in root.glob(_CARDS))
    texts = [machine.read(root / file) for file in (*_MACHINE_FILES, *cards)]
    return [*texts, *map(os.environ.get, _MACHINE_VARIABLES)]


def _file(facts: Sequence[object]) -> Path:
    name = hashlib.sha256(json.dumps([_FORM, *facts]).encode("utf-8")).hexdigest()[:32]
    return cache_dir() / "environments" / f"{name}.json"
