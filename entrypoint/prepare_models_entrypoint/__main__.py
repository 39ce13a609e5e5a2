"""``python -m prepare_models_entrypoint run JOB_FILE CONTROL_DIR``: prepare the job's models.

Events go to standard output, the report to ``CONTROL_DIR/report.json``. Exit status: 0: all models good, 1: at least
one failed (see the report), 2: the job can't be read, 143: stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Tuple, Type, TypeVar

from .contract import event
from .contract.codec import CONTRACT_VERSION
from .contract.files import UMASK_VARIABLE, pass_on
from .contract.launch import NICE_VARIABLE
from .events import Events
from .processes import die_with_parent

if TYPE_CHECKING:
    from .contract.settings import Document

D = TypeVar("D", bound="Document")

_GIVES_WAY = 19
_NOT_READ = 2  # exit status for a job that can't be read


def main(argv: Optional[List[str]] = None) -> int:
    """Parse the command line and run the command."""
    arguments = _parser().parse_args(argv)
    atexit.register(gc.freeze)  # the interpreter's last search for garbage would take 20 ms
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts all threads on import, and needs none here
    signal.signal(signal.SIGTERM, _stop)
    if os.environ.get(NICE_VARIABLE) == "1":
        os.nice(_GIVES_WAY)  # for disks, too: the kernel takes their priority from this one
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # from 1.29 on it sends names and digests of models to its maker
    if os.environ.get(UMASK_VARIABLE):
        os.umask(int(os.environ[UMASK_VARIABLE], 8))
    if arguments.command == "run":
        return run_job(arguments.job, arguments.control, arguments.parent)
    if arguments.command == "fetch":
        return fetch_job(arguments.job, arguments.parent)
    if arguments.command == "restore":
        return restore_all()
    sys.stdout.write(json.dumps(_answer(arguments)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prepare_models_entrypoint", description="The in-container half of prepare-models."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="prepare the models of a job")
    run.add_argument("job", type=Path, help="job file, JSON")
    run.add_argument("control", type=Path, help="directory that receives report.json")
    run.add_argument("--parent", type=int, help="end when the process with this id ends")
    get = commands.add_parser("fetch", help="fetch the sources of a fetch job")
    get.add_argument("job", type=Path, help="fetch job, JSON")
    get.add_argument("--parent", type=int, help="end when the process with this id ends")
    ngc = commands.add_parser("ngc", help="answer a question about NGC's catalogue, as JSON")
    ngc.add_argument("question", type=Path, help="question, JSON")
    look = commands.add_parser("inspect", help="print what a model file is, as JSON")
    look.add_argument("files", type=Path, nargs="+", help=".onnx, .etlt, .plan, .engine or a models directory")
    look.add_argument("--key-file", type=Path, help="file with the key of an .etlt")
    look.add_argument("--layers", action="store_true", help="list the layers")
    look.add_argument("--weights", action="store_true", help="list the weights")
    rules = commands.add_parser("lint", help="check a models directory, print the findings as JSON")
    rules.add_argument("models_dir", type=Path, help="models directory")
    rules.add_argument("--consumer", action="append", default=[], help="such as triton or isaac-ros@5.0")
    several = commands.add_parser("gather", help="write one repository of several GPUs, print the outcome as JSON")
    several.add_argument("repository", type=Path)
    several.add_argument("sources", nargs="+", type=Path)
    move = commands.add_parser("relocate", help="write companions for another place, print the outcome as JSON")
    move.add_argument("models_dir", type=Path, help="models directory")
    move.add_argument("--deploy-dir", help="the same directory as the consumers see it")
    plain = commands.add_parser("decrypt", help="write the ONNX model of an .etlt, print the outcome as JSON")
    plain.add_argument("file", type=Path, help=".etlt")
    plain.add_argument("--key-file", type=Path, required=True, help="file with the key")
    plain.add_argument("--output", type=Path, required=True, help=".onnx to write, readable only by this user")
    commands.add_parser("restore", help="publish engines that were already built: one JSON line in and out for each")
    commands.add_parser("describe", help="print backend and GPU of this environment, as JSON")
    return parser


# Commands that print one JSON document: the function that returns it, imported when it is needed, and its arguments.
_ANSWERS: Dict[str, Tuple[str, Callable[[argparse.Namespace], Tuple[object, ...]]]] = {
    "ngc": ("sources.ngc.catalogue.answer", lambda given: (json.loads(given.question.read_text(encoding="utf-8")),)),
    "inspect": (
        "inspect.file.describe_all", lambda given: (given.files, given.key_file, given.layers, given.weights),
    ),
    "lint": ("consumers.lint.of_directory", lambda given: (given.models_dir, tuple(given.consumer))),
    "gather": ("gather.gather", lambda given: (given.sources, given.repository)),
    "relocate": ("relocate.relocate", lambda given: (given.models_dir, given.deploy_dir)),
    "decrypt": ("converters.etlt.decrypt_file", lambda given: (given.file, given.key_file, given.output)),
}  # fmt: skip


def _answer(arguments: argparse.Namespace) -> object:
    if arguments.command == "describe":
        from .contract import runtime

        return {"contract": CONTRACT_VERSION, **runtime.probe()}
    function, given = _ANSWERS[arguments.command]
    module, _, name = function.rpartition(".")
    answer: object = getattr(importlib.import_module(f"{__package__}.{module}"), name)(*given(arguments))
    return answer


def run_job(job_file: Path, control_dir: Path, parent: Optional[int]) -> int:
    """Run a job and write its report."""
    if parent is not None:
        die_with_parent(parent)
    events = Events.on_stdout()
    from .contract import runtime
    from .contract.job import Job
    from .contract.report import FAILED, SCHEMA_VERSION

    job = _read(job_file, Job)
    if job is None:
        return _NOT_READ
    from .pipeline import prepare

    info = runtime.probe()
    events.emit(event.OPENED, **info)
    reports = [prepare(model, job, info, events) for model in job.models]
    document = {"schema_version": SCHEMA_VERSION, "run_id": job.run_id, "runtime": info, "models": reports}
    pass_on(control_dir / "report.json", json.dumps(document).encode("utf-8"), mode=0o644)
    failed = [report["name"] for report in reports if report["status"] == FAILED]
    events.emit(event.CLOSED, failed=failed)
    return 1 if failed else 0


def fetch_job(job_file: Path, parent: Optional[int]) -> int:
    """Fetch the sources of a job; the result of each is reported by an event."""
    if parent is not None:
        die_with_parent(parent)
    events = Events.on_stdout()
    from .contract.fetch import FetchJob
    from .download.batch import fetch_all

    job = _read(job_file, FetchJob)
    if job is None:
        return _NOT_READ
    # Immediately: what threads have written is kept and continued later, and further work would be discarded.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    good = fetch_all(job, events)
    events.emit(event.CLOSED)
    return 0 if good else 1


def _read(file: Path, kind: Type[D]) -> Optional[D]:
    """Return the job in a file; None, and why on standard error, if it can't be read."""
    try:
        return kind.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{file}: {error}\n")
        return None


def restore_all() -> int:
    """Publish an engine for each line of standard input, and answer each with its error, if any."""
    from .errors import outcome
    from .publish import restore

    for line in sys.stdin:
        error = outcome(functools.partial(restore, json.loads(line)), None)
        sys.stdout.write(json.dumps({"error": error}) + "\n")
        sys.stdout.flush()
    return 0


def _stop(number: int, frame: object) -> None:
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
