"""The one door: every failure leaves here as a message, a hint and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from .errors import EXIT_BUG, EXIT_ENVIRONMENT, EXIT_INTERRUPTED, NO_ROOM, HostError, PrepareModelsError
from .support.interrupts import ended_by_signals
from .support.terminal import say

_LIMITS = {
    errno.EMFILE: ("too many open files", "raise the limit: ulimit -n 4096, or work on fewer models at once: --jobs 1"),
    errno.ENFILE: (
        "the machine has too many open files",
        "end other programs, or raise fs.file-max: sysctl fs.file-max",
    ),
    errno.ENOMEM: ("no memory left", "end other programs, or add swap, then run again: what is done is kept"),
    errno.EFBIG: ("a file would exceed the limit for its size", "raise it: ulimit -f unlimited"),
    errno.EIO: ("a disk or its connection fails", "look for errors of the disk: sudo dmesg"),
}
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; never raise."""
    _open_streams()
    try:
        try:
            with ended_by_signals():
                return run_command(argv)
        finally:
            sys.stdout.flush()  # here, where a reader that went away is not a surprise
    except PrepareModelsError as error:
        say(f"prepare-models: {error.diagnostics()}")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("prepare-models: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the last line of defence: a bug of ours must not look like one of the user's
        known = OSError(errno.ENOMEM, "") if isinstance(error, MemoryError) else error
        trouble = _of_this_machine(known) if isinstance(known, OSError) else None
        if trouble is not None:
            _forget_output()
            say(f"prepare-models: {trouble.diagnostics()}")
            return EXIT_ENVIRONMENT
        from .support.bug_report import write

        sys.stderr.write(f"prepare-models: a bug: {type(error).__name__}; please report it with {write(error)}\n")
        return EXIT_BUG


def run_command(argv: Sequence[str] | None) -> int:
    """Run the command line, which is imported here so that Ctrl-C ends that, too, as it ends the rest."""
    from .cli.parser import main as run

    return run(argv)


def _of_this_machine(error: OSError) -> HostError | None:
    """Return what this machine lacks where nobody on the way here knew better, or None for what may be our bug."""
    if error.errno in NO_ROOM:
        return HostError(f"no room left to write {error.filename or 'the output'}", hint="free disk space")
    if error.errno in _LIMITS:
        what, fix = _LIMITS[error.errno]
        return HostError(f"{what}: {error.filename}" if error.filename else what, hint=fix)
    if error.errno in _DENIED and error.filename is not None:
        return HostError(f"{error.filename!s}: {error.strerror}", hint="check the path and its permissions")
    try:
        os.getcwd()
    except OSError:
        return HostError("the current directory no longer exists", hint="change to one that exists, then run again")
    return None


def _open_streams() -> None:
    """Put the null device where a standard stream was closed, lest a file that is opened later takes its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _forget_output() -> None:
    """Drop what standard output still holds, so that the interpreter's last flush keeps quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
