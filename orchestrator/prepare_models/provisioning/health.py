"""The command that judges a version once it is current."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from prepare_models_entrypoint.contract.values import Value

from ..running import child

_STANDARD_ERROR = 2  # a notebook's sys.stderr has no descriptor


class Health(Value):
    """A command that checks a model's new version, which is kept if it ends in time with status 0.

    command: for the shell, with PREPARE_MODELS_MODEL, PREPARE_MODELS_VERSION and PREPARE_MODELS_MODELS_DIR set.
    timeout_s: seconds after which it is killed and the version is rolled back.
    """

    command: str
    timeout_s: float = 60.0

    def problem(self, models_dir: Path, model: str, version: int) -> str | None:
        """Run the command, with its output on standard error; return why the version is refused, or None."""
        about = {"MODEL": model, "VERSION": str(version), "MODELS_DIR": str(models_dir)}
        process = subprocess.Popen(
            ["/bin/sh", "-c", self.command], stdin=subprocess.DEVNULL, stdout=_STANDARD_ERROR,
            env={**child.environment(), **{f"PREPARE_MODELS_{name}": value for name, value in about.items()}},
            start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(self.timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return f"the health command took more than {self.timeout_s:g} s"
            raise
        return None if status == 0 else f"the health command ended with status {status}"
