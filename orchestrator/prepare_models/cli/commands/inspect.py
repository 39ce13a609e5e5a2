"""``prepare-models inspect``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from prepare_models_entrypoint.contract import extras

from ...errors import EXIT_MODEL_FAILED, EXIT_OK, ExtraMissingError, UsageError
from ...reports import inspection, text
from ...running import inspecting
from ...support.page import show
from .. import printing
from ..options import add, add_output

EXAMPLE = (
    "example:\n  prepare-models inspect models/peoplesemsegnet/1/model.plan\n"
    "  prepare-models inspect models --json\n\nexit status: 0 all files were read, 1 one could not be"
)


def add_arguments(inspect: argparse.ArgumentParser) -> None:
    """Add what ``inspect`` takes."""
    add(inspect, "files", ".onnx, .etlt, .plan, .engine or a models directory", Path, nargs="+")
    add(inspect, "--layers", "list the layers")
    add(inspect, "--weights", "list the weights of an ONNX model")
    add(inspect, "--view", "show the graph of an .onnx in Netron, too")
    add(inspect, "--key-file", "file that holds the key of an .etlt", Path)
    add_output(inspect)


def main(arguments: argparse.Namespace) -> int:
    """Print what model files are."""
    if arguments.view:
        _check_view(arguments.files)
    documents = inspecting.inspect(
        arguments.files, layers=arguments.layers, weights=arguments.weights, key_file=arguments.key_file
    )
    if arguments.json:
        text.write(json.dumps(documents[0] if len(documents) == 1 else {"files": documents}, indent=2))
    else:
        _print(documents, arguments)
    failed = any(each["error"] for document in documents for each in (document, *document.get("models", ())))
    if arguments.view and not failed:
        import netron

        _refuse_other_hosts()
        netron.start(str(arguments.files[0]), address=("127.0.0.1", 0))  # opens a browser
        netron.wait()  # until the user presses Ctrl-C
    return EXIT_MODEL_FAILED if failed else EXIT_OK


def _print(documents: list[inspection.Document], arguments: argparse.Namespace) -> None:
    parts = []
    for document in documents:
        error = document["error"]
        if error is None:
            parts.append(inspection.render(document, layers=arguments.layers, weights=arguments.weights))
        else:
            printing.failure(error, document["file"])
    if parts:
        show("\n\n".join(parts), wide=arguments.wide)


def _check_view(files: Sequence[Path]) -> None:
    """Refuse what can't be shown, before anything is done.

    Raises:
        UsageError: not exactly one ONNX file.
        ExtraMissingError: Netron is not installed.
    """
    if len(files) != 1 or files[0].suffix.lower() != ".onnx":
        raise UsageError("--view shows one .onnx file", hint="give the model that a plan was built from")
    try:
        import netron  # noqa: F401  # only asked for
    except ImportError as error:
        raise ExtraMissingError(extras.missing("--view", "view", error)) from None


def _refuse_other_hosts() -> None:
    """Make this process's servers answer only requests to their own address.

    Otherwise a web site whose name resolves to 127.0.0.1 (DNS rebinding) could read the model through the browser.
    """
    parse = BaseHTTPRequestHandler.parse_request

    def parse_request(self: BaseHTTPRequestHandler) -> bool:
        if not parse(self):
            return False
        port = self.connection.getsockname()[1]
        if self.headers.get_all("Host", []) in ([f"127.0.0.1:{port}"], [f"localhost:{port}"]):
            return True
        self.close_connection = True
        self.send_response(HTTPStatus.MISDIRECTED_REQUEST)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    BaseHTTPRequestHandler.parse_request = parse_request  # type: ignore[method-assign]  # Netron has no setting for it
