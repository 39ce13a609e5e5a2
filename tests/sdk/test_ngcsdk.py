"""NVIDIA's own SDK against the simulator: it must be one of NGC, and not of our client. Run by ``nox -s sdk``."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.simulators.ngc import LEGACY_KEY, PERSONAL_KEY, NgcSimulator
from tests.simulators.web import certificate

FILES = {"model.etlt": bytes(range(256)) * 4_000, "deep folder/cache.txt": b"cache"}
DOWNLOAD = """
    import sys
    from ngcsdk import Client
    Client().registry.model.download_version(sys.argv[1], destination=sys.argv[2])
"""


def download(sim: NgcSimulator, folder: Path, target: str, **more: str) -> dict[str, bytes]:
    """Have the SDK download a version in a process of its own: it reads its settings when it is imported."""
    out = folder / "out"
    out.mkdir()
    variables = {
        "NGC_CLI_API_URL": sim.url, "NGC_CLI_AUTH_URL": sim.url, "NGC_CLI_HOME": str(folder),
        "NGC_CLI_TRACE_DISABLE": "1",
        "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"), "SSL_CERT_FILE": str(folder / "ca.pem"), "HOME": str(folder),
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DOWNLOAD), target, str(out)],
        env={**os.environ, **variables, **more}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(next(out.iterdir()))): path.read_bytes() for path in found}


def test_a_guest_downloads_a_version(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)
    with NgcSimulator(context) as sim:
        sim.publish("nvidia/tao/net", "v1.0", FILES)
        assert download(sim, tmp_path, "nvidia/tao/net:v1.0") == FILES
        assert sim.leaks == []


@pytest.mark.parametrize("key", [LEGACY_KEY, PERSONAL_KEY])
def test_a_key_downloads_what_is_private(tmp_path: Path, key: str) -> None:
    context, _ = certificate(tmp_path)
    with NgcSimulator(context) as sim:
        sim.publish("acme/own", "1", FILES, guest=False)
        assert download(sim, tmp_path, "acme/own:1", NGC_CLI_API_KEY=key, NGC_CLI_ORG="acme") == FILES
        assert sim.leaks == []
