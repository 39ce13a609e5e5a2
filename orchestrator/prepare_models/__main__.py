"""The one door: every failure leaves here as a message, a hint and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from .cli import main as run_command
from .errors import EXIT_BUG, EXIT_ENVIRONMENT, EXIT_INTERRUPTED, PrepareModelsError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; never raise."""
    try:
        try:
            return run_command(argv)
        finally:
            sys.stdout.flush()  # here, where a reader that went away is no surprise
    except PrepareModelsError as error:
        sys.stderr.write(f"prepare-models: {error.diagnostics()}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("prepare-models: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the last line of defence: a bug of ours must not look like one of the user's
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _forget_output()
            sys.stderr.write(
                f"prepare-models: no room left to write {error.filename or 'the output'}\n  -> free disk space\n"
            )
            return EXIT_ENVIRONMENT
        from .bug_report import write

        sys.stderr.write(f"prepare-models: a bug: {type(error).__name__}; please report it with {write(error)}\n")
        return EXIT_BUG


def _forget_output() -> None:
    """Drop what standard output still holds, so that the interpreter's last flush keeps quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
