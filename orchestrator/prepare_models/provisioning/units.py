"""The systemd units that provision a device: their templates filled in, and written where systemd looks."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from prepare_models_entrypoint.contract.files import write_atomic

from ..errors import HostError, UsageError
from ..support import paths
from ..support.os_errors import writing
from .notify import SILENCE_S

SERVICE, TIMER = "prepare-models.service", "prepare-models.timer"
_TEMPLATES = Path(__file__).with_name("systemd")
_SYSTEM, _USER = "etc/systemd/system", "~/.config/systemd/user"
_UNQUOTED = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def render(command: Sequence[str], directory: Path, writable: Sequence[Path], *, user: bool) -> dict[str, str]:
    """Return the units by their file names.

    ``command``: what the service starts in ``directory``, its program by an absolute path. ``writable``: directories
    that it writes to, besides its cache and its state. ``user``: for the user's own service manager, which has no
    sandbox.

    Raises:
        UsageError: a path is below /tmp, or has a line break or another control character, as an argument may.
    """
    cache, state = paths.cache_dir(), paths.state_dir()
    temporary = cache / "tmp"
    written = [str(each) for each in (*writable, cache, temporary, state)]
    hidden = [place for place in (str(directory), *written) if re.match(r"/(var/)?tmp(/|$)", place)]
    if hidden and not user:
        raise UsageError(f"the service has a /tmp of its own, so it can't see {hidden[0]}", hint="choose another place")
    sandbox = {
        "made": _command(written),
        "writable": " ".join(_word(f"-{each}") for each in written),
        "temporary": _word(f"TMPDIR={temporary}"),
    }
    places = (f"{paths.CACHE_VARIABLE}={cache}", f"{paths.STATE_VARIABLE}={state}")
    facts = {
        "silence": str(SILENCE_S),
        "directory": _line(str(directory)),
        "places": " ".join(map(_word, places)),
        "command": _command(command),
        "sandbox": "" if user else _filled("sandbox.conf", sandbox),
    }
    return {SERVICE: _filled(SERVICE, facts).rstrip() + "\n", TIMER: _filled(TIMER, {})}


def install(units: dict[str, str], root: Path, *, user: bool) -> dict[Path, bool]:
    """Write units below a root directory, that of an image perhaps, and return for each file whether that changed it.

    ``user``: below the user's home directory instead.

    Raises:
        HostError: a file can't be written, or this user has no home directory.
    """
    folder = Path(os.path.expanduser(_USER)) if user else root / _SYSTEM
    if user and not folder.is_absolute():
        raise HostError("this user has no home directory for units", hint="set HOME, or install them as root")
    changed = {}
    with writing(folder, "run it as root, or install for this user alone with --user"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            file = folder / name
            changed[file] = not file.is_file() or file.read_bytes() != text.encode("utf-8")
            if changed[file]:
                write_atomic(file, text.encode("utf-8"))
    return changed


def _filled(name: str, facts: dict[str, str]) -> str:
    return Template((_TEMPLATES / name).read_text(encoding="utf-8")).substitute(facts)


def _command(words: Sequence[str]) -> str:
    """Return words of a command line, in which $ begins a variable."""
    return " ".join(_word(each).replace("$", "$$") for each in words)


def _text(text: str) -> str:
    """Return a text for a unit file, in which % begins a specifier."""
    if not text.isprintable():
        raise UsageError(f"a unit file can't hold {text!r}", hint="rename it without control characters")
    return text.replace("%", "%%")


def _line(text: str) -> str:
    """Return a text as the rest of a line, where nothing is quoted."""
    safe = _text(text)
    if safe.endswith("\\") or safe != safe.strip():
        raise UsageError(f"a unit file can't hold {text!r}", hint="rename it without a space or a backslash at its end")
    return safe


def _word(text: str) -> str:
    """Return a text as one word of a unit file."""
    safe = _text(text)
    if _UNQUOTED.fullmatch(safe):
        return safe
    escaped = safe.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
