"""The command lines of relocate, verify, report and provenance: what becomes of engines, and how that is told."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_deploy_dir, add_executor, add_json, add_models_dir, command


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = command(
        commands,
        "verify",
        "compare engines that are there with their source models, number by number",
        "example:\n  prepare-models verify models.yaml\n  prepare-models verify ~/models peoplesemsegnet --json\n\n"
        "exit status: 0 no engine is refused, 1 one is or could not be compared, 2 usage or manifest error",
    )
    verify.add_argument("target", type=Path, metavar="MANIFEST|MODELS_DIR", help="models.yaml, or what run made of it")
    verify.add_argument("names", nargs="*", metavar="NAME", help="models to verify (default: all)")
    verify.add_argument(
        "--models-dir", type=Path, default=Path("models"), metavar="DIR", help="of a manifest (default: ./models)"
    )
    add_executor(verify)
    add_json(verify, "reports")


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = command(
        commands, "report", "render a report for people or CI, or compare two", "example:\n  prepare-models report "
        "render models/report.json --format html -o report.html\n  prepare-models report diff before.json after.json",
    )  # fmt: skip
    actions = report.add_subparsers(dest="action", metavar="ACTION", required=True)
    render = command(
        actions, "render", "write a report as HTML, Markdown or JUnit XML",
        "example:\n  prepare-models report render models/report.json --format markdown",
    )  # fmt: skip
    render.add_argument("report", type=Path, metavar="REPORT", help="report.json, or the directory that has it")
    render.add_argument("--format", choices=("html", "markdown", "junit"), required=True, help="form")
    render.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: standard output)")
    diff = command(
        actions, "diff", "tell what differs between two reports: engines, inputs and outputs, precision, times",
        "example:\n  prepare-models report diff orin.json thor.json --json\n\n"
        "exit status: 0 no difference but times and the environment, 1 results differ, 2 usage error",
    )  # fmt: skip
    diff.add_argument("a", type=Path, metavar="A", help="report.json, or the directory that has it")
    diff.add_argument("b", type=Path, metavar="B", help="the other one")
    add_json(diff, "changes")


def _add_provenance(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    provenance = command(
        commands, "provenance", "sign what stands about engines' origins, or check it",
        "example:\n  prepare-models provenance verify ~/models --key key.pub",
    )  # fmt: skip
    actions = provenance.add_subparsers(dest="action", metavar="ACTION", required=True)
    sign = command(
        actions, "sign", "sign the statement beside each engine with a key of yours",
        "example:\n  prepare-models provenance sign ~/models --key key.pem\n\n"
        "exit status: 0 signed, 1 a statement is not true of its engine, 2 usage error, 3 a module is missing",
    )  # fmt: skip
    sign.add_argument("--key", type=Path, metavar="FILE", required=True, help="private key, PEM")
    sign.add_argument("--password-file", type=Path, metavar="FILE", help="file that holds the key's password")
    verify = command(
        actions, "verify", "check engines against their statements, and these against a public key",
        "example:\n  prepare-models provenance verify ~/models/peoplesemsegnet --key key.pub\n\n"
        "exit status: 0 all are good, 1 one is not, 2 usage error, 3 a module is missing",
    )  # fmt: skip
    verify.add_argument("--key", type=Path, metavar="FILE", help="public key, PEM (default: no signature is checked)")
    for action in (sign, verify):
        action.add_argument("places", nargs="+", type=Path, metavar="DIR", help="models directory, or one model's")
        add_json(action, "findings")


def _add_relocate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    relocate = command(
        commands,
        "relocate",
        "write the files that consumers read for another place of a models directory; nothing is built",
        "example:\n  prepare-models relocate ~/models --deploy-dir /workspaces/isaac_ros-dev/models\n\n"
        "isaac_ros.yaml, isaac_ros.launch.py and deepstream.txt are written anew; config.pbtxt stays as it is.\n\n"
        "exit status: 0 all are written, 1 a model has no record, or its files can't be written",
    )
    add_models_dir(relocate)
    add_deploy_dir(relocate, "where it is")
    add_json(relocate, "outcome")


COMMANDS = {"relocate": _add_relocate, "verify": _add_verify, "report": _add_report, "provenance": _add_provenance}
