"""``prepare-models ngc``: what there is on NGC."""

from __future__ import annotations

import argparse

from prepare_models_entrypoint.contract import sizes

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...running import child
from ...running.connection import ConnectionSpec
from ...support.page import Table
from .. import printing
from ..options import add, add_table, command, positive, share

_COLUMNS = {
    "search": (("MODEL", "model"), ("LATEST VERSION", "latest"), ("TITLE", "title")),
    "versions": (("VERSION", "version"), ("FILES", "files"), ("SIZE", "bytes"), ("CREATED", "created")),
    "files": (("FILE", "path"), ("SIZE", "bytes"), ("SHA256", "sha256"), ("CREATED", "created")),
}

EXAMPLE = "example:\n  prepare-models ngc search segmentation"


def add_arguments(ngc: argparse.ArgumentParser) -> None:
    """Add what ``ngc`` takes."""
    asks = ngc.add_subparsers(dest="ask", metavar="QUESTION", required=True)
    model, version = "nvidia/tao/peoplesemsegnet", "deployable_shuffleseg_unet_v1.0"
    files = "list the files of a version, with their digests"
    questions = {
        "search": ("find models", "QUERY", "words", "peoplesemsegnet"),
        "versions": ("list the versions of a model", "MODEL", "org/team/model", model),
        "files": (files, "MODEL:VERSION", "org/team/model:version", f"{model}:{version}"),
    }
    for name, (summary, metavar, text, example) in questions.items():
        ask = command(asks, name, summary, example)
        add(ask, "about", text, metavar)
        if name == "search":
            add(ask, "--limit", "most results (default 25)", positive, default=25)
        share(ask, "--ngc-key-file")
        add_table(ask)


def main(arguments: argparse.Namespace) -> int:
    """Print the answer to a question about the NGC catalog."""
    network = ConnectionSpec(ngc_key_file=arguments.ngc_key_file)
    question = {"ask": arguments.ask, "about": arguments.about, "limit": getattr(arguments, "limit", None)}
    with child.secret_file(network.secrets()) as secret:
        settings = network.with_secrets(child.path_of(secret)).to_dict()
        inherited = () if secret is None else (secret,)
        answer = child.ask("ngc", "/dev/stdin", request={**question, "network": settings}, inherited=inherited)
    error = answer["error"]
    if error is not None:
        printing.failure(error, arguments.about)
        printing.result(arguments, {"error": error, "exit_status": EXIT_MODEL_FAILED})
        return EXIT_MODEL_FAILED
    columns = _COLUMNS[arguments.ask]
    rows = [tuple(_cell(key, row.get(key)) for _, key in columns) for row in answer["rows"]]
    printing.result(arguments, answer["rows"], Table([head for head, _ in columns], rows))
    return EXIT_OK


def _cell(key: str, value: object) -> str:
    if value is None:
        return "-"
    if key == "bytes" and isinstance(value, int):
        return sizes.readable(value)
    return str(value)[:10] if key == "created" else str(value)
