"""A terminal of a given size, as a person has it: tmux draws what a command writes."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.cells import cell_len

_HEIGHT = 60
_ENDED = "the command has ended with"


@dataclass
class Screen:
    """What stands on a terminal. lines: those that a program wrote, however the terminal broke them."""

    width: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return all lines."""
        return "\n".join(self.lines)

    def too_long(self) -> list[str]:
        """Return the lines that the terminal had to break."""
        return [line for line in self.lines if cell_len(line) > self.width]


class Terminal:
    """A tmux server of its own, which ends with the block."""

    def __init__(self, folder: Path, width: int) -> None:
        self.width, self._folder, self._started = width, folder, 0

    def __enter__(self) -> Terminal:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run(self._tmux("kill-server"), check=False, capture_output=True)

    def run(self, command: list[str], folder: Path, **variables: str) -> Iterator[Screen]:
        """Run a command; yield the screen again and again, the last time when the command has ended."""
        words = ["env", "-u", "CI", *(f"{name}={value}" for name, value in variables.items()), *command]
        script = f"cd {shlex.quote(str(folder))}; clear; {shlex.join(words)}; echo {shlex.quote(_ENDED)} $?; sleep 600"
        size = ("-x", str(self.width), "-y", str(_HEIGHT))
        self._started += 1  # on a socket of its own: the last server may still be ending
        subprocess.run(self._tmux("new-session", "-d", *size, "-s", "it", "sh", "-c", script), check=True)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            screen = self._screen()
            done = [number for number, line in enumerate(screen.lines) if line.startswith(_ENDED)]
            if done:
                screen.lines = screen.lines[: done[0]]
                self.status = int(self._screen().lines[done[0]].split()[-1])
                yield screen
                subprocess.run(self._tmux("kill-session", "-t", "it"), check=True)
                return
            yield screen
            time.sleep(0.05)
        raise AssertionError(f"still running:\n{self._screen().text}")

    def after(self, command: list[str], folder: Path, **variables: str) -> Screen:
        """Return the screen that a command leaves."""
        *_, last = self.run(command, folder, **variables)
        return last

    def _screen(self) -> Screen:
        capture = self._tmux("capture-pane", "-p", "-J", "-S", "-", "-t", "it")
        told = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        return Screen(self.width, [line.rstrip() for line in told.rstrip("\n").split("\n")])

    def _tmux(self, *words: str) -> list[str]:
        return ["tmux", "-u", "-f", "/dev/null", "-S", str(self._folder / f"tmux-{self._started}.sock"), *words]
