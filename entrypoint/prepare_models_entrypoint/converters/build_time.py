"""Time of builds whose builder reports no progress: elapsed seconds, and those of the last similar build.

Stored in one small file per model under the cache directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, Optional

from ..contract.environment import RuntimeInfo
from ..contract.event import ELAPSED
from ..contract.files import pass_on
from ..contract.identity import target
from ..contract.job import ModelJob
from ..contract.source import Source

_EVERY_S = 1.0


def file_for(directory: Path, model: ModelJob, runtime: RuntimeInfo) -> Path:
    """Return the file that remembers builds of a model with this backend for this target."""
    backend = runtime["backend"]
    what = [Source.of(model.source).id, backend["name"] if backend else None, target(runtime)]
    return directory / f"{hashlib.sha256(json.dumps(what).encode('utf-8')).hexdigest()[:32]}.json"


def expected(file: Path, precision: str) -> Optional[float]:
    """Return the seconds of the last build in this precision, or of the longest in another; None without one."""
    known = _read(file)
    return known.get(precision, max(known.values(), default=None))


def remember(file: Path, precision: str, seconds: float) -> None:
    """Store how long a build took. If the disk refuses, only an estimate is lost, no engine."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        pass_on(file, json.dumps({**_read(file), precision: round(seconds, 3)}).encode("ascii"), mode=0o644)


def _read(file: Path) -> Dict[str, float]:
    try:
        known = json.loads(file.read_text(encoding="ascii"))
        return {str(precision): float(seconds) for precision, seconds in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextlib.contextmanager
def reported(progress: Callable[[str, int, int], None], expected_s: Optional[float]) -> Iterator[None]:
    """Report the seconds since now while the block runs; the total is the estimate, 0 without one."""
    done, started = threading.Event(), time.monotonic()

    def tick() -> None:
        while not done.wait(_EVERY_S):
            progress(ELAPSED, int(time.monotonic() - started), round(expected_s or 0))

    thread = threading.Thread(target=tick, name="elapsed", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
