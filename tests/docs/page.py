"""A page's folder, in which its blocks run in their order, and the machines that its prompts name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs import belongings
from tests.docs.compare import difference

_PROMPT = re.compile(r"^(?P<machine>[a-z]*)[$] +(?P<command>.*)$")
_STATUS = re.compile(r"# exit status (\d+)")
_ENDED = "the command ended with status"
_LIMIT_S = 200
_NO_NETWORK = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "NGC_CLI_API_URL", "PIP_INDEX_URL"), "http://127.0.0.1:9")


@dataclass
class Command:
    """A command of a console block: on which machine, which lines of output the page shows, with which exit status."""

    machine: str
    text: str
    shown: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Return the exit status that its comment names, else 0."""
        named = _STATUS.search(self.text)
        return int(named[1]) if named else 0


def commands(source: str) -> Iterator[Command]:
    """Yield the commands of a console block. A prompt is ``$``, or a machine's name before it, such as ``robot$``."""
    command: Command | None = None
    for line in source.splitlines():
        prompt = _PROMPT.match(line)
        if prompt:
            if command:
                yield command
            command = Command(prompt["machine"], prompt["command"])
        elif command is None:
            raise AssertionError(f"a console block starts with a prompt, not with {line!r}")
        elif command.text.endswith("\\"):
            command.text += f"\n{line.removeprefix('> ')}"
        else:
            command.shown.append(line)
    if command:
        yield command


class Machine:
    """A shell with a home of its own, which lasts for a page: what it exports stays."""

    def __init__(self, home: Path, folder: Path, variables: Mapping[str, str]) -> None:
        home.mkdir(parents=True)
        self._log = home / ".printed"
        own = {"HOME": str(home), "PREPARE_MODELS_CACHE_DIR": str(home / "cache"), "COLUMNS": "120", "NO_COLOR": "1"}
        own |= _NO_NETWORK if home.name == "closed" else {}
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder, env={**variables, **own}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, text: str) -> tuple[int, str, str]:
        """Run a command; return its status and what it printed, on standard output and on standard error."""
        out, err = self._log.with_suffix(".out"), self._log.with_suffix(".err")
        shell = self._shell
        assert shell.stdin
        assert shell.stdout
        shell.stdin.write(f"{{ {text}\n}} < /dev/null > {out} 2> {err}; echo {_ENDED} $?\n")
        shell.stdin.flush()
        ended = shell.stdout.readline()
        assert ended.startswith(_ENDED), f"the shell ended with: {text}"
        return int(ended.split()[-1]), out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def close(self) -> None:
        """End the shell."""
        self._shell.communicate("exit\n", timeout=_LIMIT_S)


class Page:
    """A fresh folder with what every reader has."""

    def __init__(self, place: Path, variables: Mapping[str, str]) -> None:
        self.place, self.folder = place, place / "me"
        self._machines: dict[str, Machine] = {}
        programs = [str(self._python()), str(Path(sys.executable).parent), os.environ["PATH"]]
        self._variables = {**os.environ, **variables, "PATH": os.pathsep.join(programs)}
        self.folder.mkdir()
        belongings.lay_out(self.folder)

    def _python(self) -> Path:
        """Make an environment for what the page installs, over that of the session, and return its programs."""
        folder = self.place / "venv"
        venv.create(folder, with_pip=False, symlinks=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = Path(sys.prefix) / "lib" / version / "site-packages"
        (folder / "lib" / version / "site-packages" / "session.pth").write_text(f"{site}\n", encoding="utf-8")
        pip = folder / "bin" / "pip"
        pip.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m pip "$@"\n', encoding="utf-8")
        pip.chmod(0o755)
        return folder / "bin"

    def console(self, source: str) -> None:
        """Run a console block: each command ends as the page says, and prints what it shows."""
        for command in commands(source):
            status, out, err = self._machine(command.machine).run(command.text)
            if status != command.status:
                pytest.fail(f"$ {command.text}\nexit status {status}\n{out}\n{err}", pytrace=False)
            if command.shown:
                printed = (out if status == 0 else out + err).replace(str(self.folder), "/home/me")
                differs = difference(command.shown, printed.splitlines())
                if differs:
                    pytest.fail(f"$ {command.text}\n{differs}", pytrace=False)

    def file(self, name: str, source: str) -> None:
        """Write the file that a block shows; one that a command has written has to be as it is shown."""
        file = self.folder / name
        if file.exists():
            differs = difference(source.splitlines(), file.read_text(encoding="utf-8").splitlines())
            if differs:
                pytest.fail(f"{name}\n{differs}", pytrace=False)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source, encoding="utf-8")

    def program(self, source: str) -> None:
        """Run a Python program in the page's folder."""
        file = self.place / "block.py"
        file.write_text(source, encoding="utf-8")
        self.console(f"$ python {file}\n")

    def _machine(self, name: str) -> Machine:
        if name not in self._machines:
            self._machines[name] = Machine(self.place / "homes" / (name or "me"), self.folder, self._variables)
        return self._machines[name]

    def close(self) -> None:
        """End the shells."""
        for machine in self._machines.values():
            machine.close()
