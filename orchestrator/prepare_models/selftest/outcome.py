"""The results of a selftest, and the file with them, without anything private."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.report import ModelReport
from prepare_models_entrypoint.contract.values import Value

from .. import __version__
from ..machine.findings import FAIL, OK, Finding

SKIP = "skip"  # in addition to doctor's verdicts
VERSION = 1  # of the file

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class Step(Value):
    """One thing that was tested. ``verdict``: ok, warn, fail or skip. ``seconds``: wall time."""

    name: str
    verdict: str
    message: str
    seconds: float = 0.0
    fix: str = ""


@dataclass
class Outcome:
    """Everything that a selftest found."""

    executor: str
    started_at: str
    findings: list[Finding] = field(default_factory=list)
    runtime: RuntimeInfo | None = None
    steps: list[Step] = field(default_factory=list)
    models: list[ModelReport] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Return whether any step failed."""
        return any(step.verdict == FAIL for step in self.steps)

    def document(self, private: Mapping[str, str]) -> str:
        """Return the file to attach to a bug report, as JSON. ``private``: texts, each with its replacement."""
        found = {
            "selftest": VERSION,
            "tool": {"name": "prepare-models", "version": __version__},
            "verdict": FAIL if self.failed else OK,
            **asdict(self),
        }
        return json.dumps(_without(found, private), indent=2) + "\n"


def _without(found: object, private: Mapping[str, str]) -> object:
    """Return JSON with private words in texts replaced. Keys, numbers and Booleans are our own."""
    if isinstance(found, str):
        for word in sorted(private, key=len, reverse=True):
            found = found.replace(word, private[word])
        return found
    if isinstance(found, dict):
        return {key: _without(value, private) for key, value in found.items()}
    return [_without(each, private) for each in found] if isinstance(found, list) else found


def private_words(work: Path) -> dict[str, str]:
    """Return what a public file must not contain (paths, user, machine, secrets), each with its replacement.

    Args:
        work: the selftest's own directory.
    """
    words = {
        str(work): "<selftest>",
        str(Path(__file__).parents[1]): "<prepare_models>",
        os.getcwd(): "<here>",
        os.path.expanduser("~"): "~",
        socket.gethostname(): "<host>",
    }
    with contextlib.suppress(OSError, KeyError):  # a uid without an account
        words[getpass.getuser()] = "<user>"
    for name, value in os.environ.items():
        if _SECRET.search(name):
            words[value] = "<secret>"
        elif name.upper().endswith("_PROXY"):
            words[urlsplit(value).netloc.rpartition("@")[0]] = "<secret>"
    # "root" and "/" are everywhere and reveal nothing.
    return {word: instead for word, instead in words.items() if len(word) > 2 and word not in ("root", "localhost")}
