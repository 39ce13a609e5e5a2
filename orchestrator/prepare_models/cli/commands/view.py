"""Showing an ONNX graph in Netron."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from prepare_models_entrypoint.contract import extras

from ...errors import ExtraMissingError, UsageError


def check(files: Sequence[Path]) -> None:
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


def serve(file: Path) -> None:
    """Serve the graph only on this machine and open a browser; return when the user presses Ctrl-C."""
    import netron

    _refuse_other_hosts()
    netron.start(str(file), address=("127.0.0.1", 0))
    netron.wait()


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
