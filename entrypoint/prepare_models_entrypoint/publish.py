"""Giving an engine and its companions their final names.

The report is written last and is the record that counts: an engine without one is not considered good. Files of an
earlier engine are removed before the new plan is renamed, so that files under final names never contradict each other.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Dict, Optional, TypedDict

from .contract import companions
from .contract.companions import PROVENANCE, REPORT, SIGNED
from .contract.deployment import Deployment
from .contract.files import partial_file, remove_partials, share_file, sync_all, sync_directory, unfinished
from .contract.provenance import statement
from .contract.report import ModelReport, read

PLAN = Path(companions.PLAN)


def make_room(output_dir: Path) -> Path:
    """Create the model's directories, remove what an interrupted run left, and return the plan's final path."""
    plan = output_dir / PLAN
    plan.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(plan.parent)
    remove_partials(output_dir)
    return plan


def clear_room(output_dir: Path) -> None:
    """Remove the model's directories if nothing was published in them: Triton considers every directory a model."""
    for directory in ((output_dir / PLAN).parent, output_dir):
        with contextlib.suppress(OSError):
            directory.rmdir()


def publish(partial: Path, output_dir: Path, deploy_dir: str, report: ModelReport) -> None:
    """Rename the finished plan and write its companions."""
    texts = _companions(report, deploy_dir)
    for stale in (REPORT, SIGNED, *texts):
        with contextlib.suppress(FileNotFoundError):
            (output_dir / stale).unlink()
    texts[REPORT] = json.dumps(report, indent=2) + "\n"
    contents = {name: text.encode("utf-8") for name, text in texts.items() if text is not None}
    with unfinished(output_dir, contents) as partials:
        sync_all([partial, *partials.values()], directories=[output_dir])
        record = partials.pop(REPORT)
        for name, made in {PLAN.as_posix(): partial, **partials}.items():
            os.replace(str(made), str(output_dir / name))
        sync_all(directories=[output_dir, (output_dir / PLAN).parent])
        os.replace(str(record), str(output_dir / REPORT))
    sync_directory(output_dir)


def _companions(report: ModelReport, deploy_dir: str) -> Dict[str, Optional[str]]:
    """Return texts by file name; None for a file that this engine should not have."""
    texts: Dict[str, Optional[str]] = {PROVENANCE: statement(report, PLAN.as_posix())}
    texts.update(of_consumers(report, deploy_dir))
    return texts


def of_consumers(report: ModelReport, deploy_dir: str) -> Dict[str, Optional[str]]:
    """Return the files that consumers read: those of every consumer, for the releases in the report.

    Args:
        report: report of the model.
        deploy_dir: the model's actual directory, used unless the report names another.
    """
    from .consumers.registry import choose  # large, and not needed if nothing is published

    deployment = Deployment.of(report["deployment"])
    seen = deployment.directory(report["name"], deploy_dir)
    releases = {consumer.name: release for consumer, release in [*choose(()), *choose(deployment.consumers)]}
    texts: Dict[str, Optional[str]] = {}
    for consumer, _ in choose(()):
        texts.update(consumer.files(report, seen, releases[consumer.name]))
    return texts


class RestoreRequest(TypedDict):
    """An engine that was built earlier.

    files: paths of the stored plan and companions, by their final names. report: its record, which is checked here.
    deploy_dir: ``output_dir`` as the consumers will see it.
    """

    files: Dict[str, str]
    report: object
    output_dir: str
    deploy_dir: str


def restore(request: RestoreRequest) -> None:
    """Publish an engine that was built earlier.

    Raises:
        ContractError: the report is not valid.
        OSError: files can't be linked or written.
    """
    output_dir, files = Path(request["output_dir"]), dict(request["files"])
    plan = make_room(output_dir)
    try:
        with partial_file(plan) as (_, partial):
            share_file(files.pop(PLAN.name), partial, link=True)
            for name, file in files.items():
                share_file(file, output_dir / name, link=True)
            publish(partial, output_dir, request["deploy_dir"], read(request["report"]))
    finally:
        clear_room(output_dir)
