"""The entry point: every failure ends here as a message, a hint and an exit status."""

from __future__ import annotations

import os
import signal
import sys

_HANDLED = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _HANDLED:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main` can handle it, Ctrl-C ends this without a traceback


def _forget_relative_places() -> None:
    """Import nothing from the current directory, to which empty or relative entries of PYTHONPATH refer."""
    try:
        here = os.getcwd()
    except OSError:
        return
    for entry in os.environ["PYTHONPATH"].split(os.pathsep) if "PYTHONPATH" in os.environ else ():
        place = os.path.join(here, entry).rstrip(os.sep)
        if not os.path.isabs(entry) and place in sys.path:
            sys.path.remove(place)


_forget_relative_places()  # before any other import; a program that imports the package keeps its own path

import atexit  # noqa: E402
import contextlib  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

from . import __version__  # noqa: E402
from .errors import EXIT_INTERRUPTED, BugError, InterruptedRunError, PrepareModelsError  # noqa: E402
from .support.os_errors import of_this_machine, with_its_fix  # noqa: E402  # here: without a free descriptor, nothing can be imported

gc.set_threshold(50_000)  # or modules are searched for garbage dozens of times while they are imported
if _HANDLED:
    signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(gc.freeze)  # or the interpreter looks through a run's reports for garbage once more before it ends


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; never raise."""
    _open_streams()
    try:
        try:
            with _ended_by_signals():
                return run_command(argv)
        finally:
            sys.stdout.flush()  # here, where a closed pipe is expected
    except BrokenPipeError:
        _forget_output()
        return EXIT_INTERRUPTED
    except PrepareModelsError as error:
        return _ended(with_its_fix(error), argv)
    except KeyboardInterrupt:
        return _ended(InterruptedRunError("interrupted"), argv)
    except Exception as error:  # noqa: BLE001  # the last line of defence: a bug of ours must not look like one of the user's
        trouble = of_this_machine(error)
        if trouble is not None:
            _forget_output()
            return _ended(trouble, argv)
        return _ended(BugError(type(error).__name__, _bug_report(error)), argv)


def _ended(error: PrepareModelsError, argv: Sequence[str] | None) -> int:
    """Show how a command ended: as text, and as the document that ``--json`` promises. Returns the exit status."""
    from .support.page import show

    with contextlib.suppress(OSError):  # standard error may be full, too
        show(*error.shown(), stream=sys.stderr)
    if _wants_json(sys.argv[1:] if argv is None else argv):
        try:
            sys.stdout.write(json.dumps(error.to_dict(), indent=2) + "\n")
            sys.stdout.flush()
        except OSError:
            _forget_output()
    return error.exit_code


def _bug_report(error: BaseException) -> Path:
    """Write the file that a user attaches to a bug report, and return its path.

    It contains types and code locations, not messages, arguments or values: those may contain keys, URLs or model
    names.
    """
    import platform
    import tempfile
    import traceback

    lines = [f"prepare-models {__version__}", f"Python {platform.python_version()} on {platform.platform()}", ""]
    current: BaseException | None = error
    while current is not None:
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}")
        frames = traceback.extract_tb(current.__traceback__)
        lines += [f"  {_module(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
        current = current.__cause__ or current.__context__
    with tempfile.NamedTemporaryFile(
        "w", prefix="prepare-models-bug-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("\n".join(lines) + "\n")
    return Path(file.name)


def _module(filename: str) -> str:
    """Return a path relative to sys.path, so that no home directory is reported."""
    for root in sorted(filter(None, sys.path), key=len, reverse=True):
        if filename.startswith(root):
            return filename[len(root) :].lstrip("/")
    return os.path.basename(filename)


def _wants_json(argv: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, even if it is otherwise invalid."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    return any(len(word) > len("--j") and "--json".startswith(word) for word in options)


def run_command(argv: Sequence[str] | None) -> int:
    """Run the command line; it is imported here so that Ctrl-C also works during the import."""
    from .cli.parser import main as run

    return run(argv)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block as Ctrl-C does, with all cleaned up, unless they already have handlers."""

    def interrupted(number: int, frame: object) -> None:
        del frame
        raise InterruptedRunError(f"stopped by {signal.Signals(number).name}")

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _open_streams() -> None:
    """Replace closed standard streams by the null device, lest a file opened later gets their descriptor.

    The others wait for whoever is at their other end: where a parent's pipe doesn't, output would be cut short.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
            os.set_inheritable(number, True)
        os.set_blocking(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _forget_output() -> None:
    """Discard buffered standard output, so that the interpreter's last flush is silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
