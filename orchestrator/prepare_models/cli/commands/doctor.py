"""``prepare-models doctor``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, HostError, PrepareModelsError, UsageError
from ...executors import choice
from ...lock.pins import load
from ...machine import doctor, facts
from ...machine.doctor import FAIL, OK, WARN, Finding
from ...planning import disk_budget, foresight
from ...planning import plan as plans
from ...support.file_digests import open_digests
from .. import printing
from ..options import add, add_output, add_target_dir, manifest, share
from ..parser import DEFAULT_MANIFEST

EXAMPLE = (
    "example:\n  prepare-models doctor --models-dir ~/models\n\nexit status: 0 what auto picks works, 1 something fails"
)


def add_arguments(doctor: argparse.ArgumentParser) -> None:
    """Add what ``doctor`` takes."""
    text = "also report what run would refuse in its models (default: ./models.yaml, if there is one)"
    add(doctor, "manifest", text, manifest, nargs="?")
    add_target_dir(doctor)
    add(doctor, "--platform", "platform to check (default: this machine's)", "NAME")
    text = "examine the machine that has its file system mounted at DIR"
    add(doctor, "--root", text, Path, default=Path("/"), metavar="DIR")
    share(doctor, "--arch", "with --root: that machine's architecture")
    add_output(doctor)


def main(arguments: argparse.Namespace) -> int:
    """Print every finding with its fix. Changes nothing."""
    if not arguments.root.is_dir():
        raise UsageError(
            f"{arguments.root} is not a directory", hint="give the root of a machine's files, such as /mnt"
        )
    here = arguments.root == Path("/")
    automatic: str | HostError | None = None
    if here:
        try:
            automatic = choice.pick("auto").name
        except HostError as error:
            automatic = error
    findings = doctor.examine(
        facts.probe(arguments.root, arch=arguments.arch),
        models_dir=arguments.models_dir,
        platform=arguments.platform,
        automatic=automatic,
        power=facts.power_of(arguments.root),
    )
    findings += _of_manifest(arguments) if here else []
    rows = [((each.status, each.name, each.message), "" if each.status == OK else each.fix) for each in findings]
    document = {"findings": [dataclasses.asdict(finding) for finding in findings]}
    printing.result(arguments, document, printing.verdicts(rows))
    return EXIT_MODEL_FAILED if any(finding.status == FAIL for finding in findings) else EXIT_OK


def _of_manifest(arguments: argparse.Namespace) -> list[Finding]:
    """Return what ``run`` would refuse or warn about, if there is a manifest."""
    file = arguments.manifest or Path(DEFAULT_MANIFEST)
    if arguments.manifest is None and not file.exists():
        return []
    try:
        specs = load(file)[0].models
        planned, runtimes = plans.planned(specs, choice.pick("auto"), arguments.models_dir)
    except HostError:  # the findings already say that nothing here builds engines
        return []
    except PrepareModelsError as error:
        return [Finding(each.about, FAIL, f"{each.message} [{each.code}]", each.hint) for each in error.shown()]
    found = [*foresight.of_run(planned, runtimes[""]), *foresight.of_models(planned)]
    found += filter(None, (disk.problem() for disk in disk_budget.of_run(planned, open_digests())))
    status = {"error": FAIL, "warning": WARN}
    findings = [Finding(each.about, status[each.kind], f"{each.message} [{each.code}]", each.hint) for each in found]
    return findings or [Finding("manifest", OK, f"{file}: nothing that run would refuse from the start")]
