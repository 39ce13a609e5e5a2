"""A revision compared with an earlier one: both do the same work in turns; prints ratios of one run.

``python benchmarks/compare.py --before REV [NAME...]``: help, import, warm, demo, small, fetch. Without names, all of
them. Both get a worktree and a virtual environment of their own. A ratio above 1 means slower than before: ``wall``
compares the shortest times, ``cpu`` the medians of CPU time, children included. ``wall`` suffers from other work on the
machine, ``cpu`` hardly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fetch import serving, write
from networks import NETWORKS

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "examples" / "quickstart" / "models.yaml"


class Cost(NamedTuple):
    """Seconds that a command took."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Side:
    """One of the two: its virtual environment, and a folder for its files."""

    venv: Path
    place: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PREPARE_MODELS_CACHE_DIR": str(self.place / "cache")}

    def command(self, *arguments: str) -> list[str]:
        return [str(self.venv / "bin" / "prepare-models"), *arguments]

    def forget(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)

    def cost(self, argv: list[str]) -> Cost:
        """Run a command, which must succeed."""
        os.sync()  # otherwise unwritten data would count towards this command's fsync
        before, started = _children_s(), time.perf_counter()
        ended = subprocess.run(argv, capture_output=True, env=self.environment, check=False)
        wall, cpu = time.perf_counter() - started, _children_s() - before
        if ended.returncode != 0:
            raise SystemExit(f"{' '.join(argv[:3])} ended with {ended.returncode}: {ended.stderr.decode()[-2000:]}")
        return Cost(wall, cpu)


def _children_s() -> float:
    """Return the CPU time of all finished children, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# Prepares what a side needs, and returns what is measured.
Work = Callable[[Side], Callable[[], Cost]]


def helping(side: Side) -> Callable[[], Cost]:
    return lambda: side.cost(side.command("--help"))


def importing(side: Side) -> Callable[[], Cost]:
    code = "import prepare_models.__main__, prepare_models_entrypoint.contract.job"
    return lambda: side.cost([str(side.venv / "bin" / "python"), "-c", code])


def run(side: Side, manifest: Path, *options: str) -> list[str]:
    return side.command(
        "run", str(manifest), "--models-dir", str(side.place / "models"), "--executor", "local", *options
    )


def warm(side: Side, count: int = 100) -> Callable[[], Cost]:
    """One engine is really built; the others are copies under their own names, with everything that a run looks at."""
    side.forget()
    names, models, manifest = [f"model-{n:04}" for n in range(count)], side.place / "models", side.place / "models.yaml"
    NETWORKS["small"](side.place / f"{names[0]}.onnx")
    entries = [f"  - {{name: {name}, source: {name}.onnx, precision: fp32}}\n" for name in names]
    manifest.write_text("version: 1\nmodels:\n" + "".join(entries), encoding="utf-8")
    side.cost([*run(side, manifest), names[0]])
    record = json.loads((models / names[0] / "report.json").read_text(encoding="utf-8"))
    for name in names[1:]:
        shutil.copyfile(side.place / f"{names[0]}.onnx", side.place / f"{name}.onnx")
        shutil.copytree(models / names[0], models / name, copy_function=os.link)
        (models / name / "report.json").unlink()
        record["name"], record["engine"]["path"] = name, str(models / name / "1" / "model.plan")
        (models / name / "report.json").write_text(json.dumps(record), encoding="utf-8")
    time.sleep(0.1)  # digests of files that changed within a tick of the clock are not remembered
    side.cost(run(side, manifest))
    summary = json.loads((models / "report.json").read_text(encoding="utf-8"))["summary"]
    if summary["up-to-date"] != count:
        raise SystemExit(f"not warm: {summary}")
    return lambda: side.cost(run(side, manifest))


def demo(side: Side) -> Callable[[], Cost]:
    """The quickstart's models, as ``make demo`` builds them, into an empty cache."""

    def work() -> Cost:
        side.forget()
        return side.cost(run(side, MANIFEST))

    return work


def small(side: Side) -> Callable[[], Cost]:
    """A network that builds instantly: this measures what the tool adds."""
    side.forget()
    NETWORKS["small"](side.place / "small.onnx")
    manifest = side.place / "models.yaml"
    manifest.write_text("version: 1\nmodels:\n  - {name: small, source: small.onnx}\n", encoding="utf-8")
    return lambda: side.cost(run(side, manifest, "--force", "--quiet"))


@contextlib.contextmanager
def fetching(folder: Path, count: int = 200) -> Iterator[Work]:
    """Small files from a server on this machine, into an empty cache."""
    folder.mkdir()
    for index in range(count):
        write(folder / f"{index}.bin", 20_000)
    with serving(folder, "--delay", "0.002") as server:
        sources = [f"{server.url}/{index}.bin" for index in range(count)]

        def ready(side: Side) -> Callable[[], Cost]:
            def work() -> Cost:
                side.forget()
                return side.cost(side.command("fetch", *sources, "--output", str(side.place / "out"), "--quiet"))

            return work

        yield ready


WORKS: dict[str, tuple[Work, int]] = {  # with how often a round repeats it
    "help": (helping, 4), "import": (importing, 4), "warm": (warm, 2), "demo": (demo, 1), "small": (small, 1),
}  # fmt: skip
NAMES = (*WORKS, "fetch")


def compare(work: Work, before: Side, after: Side, rounds: int) -> dict[str, float]:
    """Measure both in turns, alternating which is first."""
    works = [work(before), work(after)]
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for each in works:
        each()  # warms up
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            costs[which].append(works[which]())
    walls = [min(cost.wall for cost in side) for side in costs]
    cpus = [statistics.median(cost.cpu for cost in side) for side in costs]
    return {
        "before_s": round(walls[0], 3), "after_s": round(walls[1], 3), "wall": round(walls[1] / walls[0], 3),
        "before_cpu_s": round(cpus[0], 3), "after_cpu_s": round(cpus[1], 3), "cpu": round(cpus[1] / cpus[0], 3),
    }  # fmt: skip


@contextlib.contextmanager
def checked_out(folder: Path, revision: str) -> Iterator[Side]:
    """Check a revision out while the block runs, with a virtual environment from its locks."""
    checkout, venv = folder / "checkout", folder / "venv"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(checkout), revision], check=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        python = str(venv / "bin" / "python")
        uv = shutil.which("uv")
        by_uv = ["pip", "install", "--compile-bytecode", "--python", python]
        installer = [uv, *by_uv] if uv else [python, "-m", "pip", "install"]
        for what in (["--require-hashes", "-r", ".ci/locks/local.txt"], ["--editable", "."]):
            subprocess.run([*installer, "--quiet", "--no-deps", *what], check=True, cwd=checkout)
        subprocess.run([python, "-m", "compileall", "-q", "orchestrator", "entrypoint"], check=True, cwd=checkout)
        yield Side(venv, folder / "made")
    finally:
        subprocess.run([*git, "remove", "--force", str(checkout)], check=True)


def main() -> int:
    """Print a line for each comparison, and fail if something takes more than ``--limit`` times as long as before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True, metavar="REV", help="revision to compare with")
    parser.add_argument("--after", default="HEAD", metavar="REV", help="the other one (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each side (default 10)")
    parser.add_argument("--limit", type=float, default=1.05, help="highest ratio of times (default 1.05)")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NAMES, []], help=", ".join(NAMES))
    arguments = parser.parse_args()
    slower = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prepare-models-compare-")))
        before, after = (
            stack.enter_context(checked_out(folder / name, revision))
            for name, revision in (("before", arguments.before), ("after", arguments.after))
        )
        works = {**WORKS, "fetch": (stack.enter_context(fetching(folder / "files")), 1)}
        for name in arguments.names or NAMES:
            work, times = works[name]
            for side in (before, after):
                side.forget()
            found = compare(work, before, after, arguments.rounds * times)
            print(json.dumps({name: found}), flush=True)
            if min(found["wall"], found["cpu"]) > arguments.limit:
                slower.append(name)
    print(f"slower than {arguments.limit} times before: {', '.join(slower) or 'nothing'}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
