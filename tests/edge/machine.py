"""A machine with a real systemd as its first process: a view of this one's files, whose changes are thrown away."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What this Python runs from, wherever it is mounted.
PYTHON = sys.executable
SHARED = "/srv/shared"  # not below /tmp, which a service may have for itself
LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"  # which nspawn of that age doesn't know
_SEEN = [Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)]
_OWN = {f"PREPARE_MODELS_{name}_DIR": f"/var/lib/prepare-models/{name.lower()}" for name in ("CACHE", "STATE")}
_UNIT = """\
[Unit]
After=basic.target systemd-user-sessions.service
[Service]
Type=oneshot
WorkingDirectory={shared}
Environment={environment}
StandardOutput=file:{shared}/printed
StandardError=inherit
ExecStart=/bin/bash -eu {shared}/script
ExecStopPost=/bin/sh -c 'echo $EXIT_STATUS > {shared}/status; systemctl exit --no-block'
"""


@contextlib.contextmanager
def root() -> Iterator[Path]:
    """Yield a copy of this machine's root directory that keeps its changes to itself, and in memory."""
    with contextlib.ExitStack() as stack:
        folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
        stack.callback(folder.rmdir)
        _mount(stack, folder, "-t", "tmpfs", "none")
        for name in ("changes", "work", "root"):
            (folder / name).mkdir()
        options = f"lowerdir=/,upperdir={folder}/changes,workdir={folder}/work"
        _mount(stack, folder / "root", "-t", "overlay", "-o", options, "overlay")
        yield folder / "root"


def _mount(stack: contextlib.ExitStack, at: Path, *arguments: str) -> None:
    subprocess.run(["mount", *arguments, str(at)], check=True)
    stack.callback(subprocess.run, ["umount", str(at)], check=True)


def boot(script: str, shared: Path, **environment: str) -> str:
    """Boot, run a script as a service, shut down; return what it printed. ``shared``: directory that is SHARED there.

    Raises:
        AssertionError: the script failed; with what it printed.
    """
    (shared / "script").write_text(script)
    words = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        **_OWN,
        **environment,
    }
    unit = _UNIT.format(environment=" ".join(f'"{name}={text}"' for name, text in words.items()), shared=SHARED)
    with root() as top:
        (top / "etc/systemd/system/test.service").write_text(unit)
        seen = [f"--bind-ro={path}" for path in dict.fromkeys(_SEEN) if path != Path("/usr")]
        subprocess.run(
            ["timeout", "--kill-after=10", "250", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
             "--directory", str(top), *seen, f"--bind={shared}:{SHARED}", f"--system-call-filter={LANDLOCK}",
             "--boot", "systemd.unit=test.service"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    assert (shared / "status").exists(), "it did not boot"
    printed = (shared / "printed").read_text()
    assert (shared / "status").read_text().strip() == "0", printed
    return printed
