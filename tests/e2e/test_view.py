"""``inspect --view``: the graph in Netron, on this machine alone."""

from __future__ import annotations

import http.client
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tests import networks
from tests.command import COMMAND, Workplace

BROWSER = """\
#!/bin/sh
echo "$1" > {told}
"""


def address(told: Path, process: subprocess.Popen[str]) -> str:
    """Return the URL that the browser was opened with."""
    while process.poll() is None:
        if told.exists() and told.read_text(encoding="utf-8").strip():
            return told.read_text(encoding="utf-8").strip()
        time.sleep(0.05)
    raise AssertionError(process.stderr and process.stderr.read())


def status_for(url: str, host: str | None) -> int:
    """Return the status of the model's bytes for a browser that asks under another name."""
    connection = http.client.HTTPConnection(url.removeprefix("http://").strip("/"))
    connection.putrequest("GET", "/data/net.onnx", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_netron_shows_the_graph_until_it_is_interrupted(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    told = place.folder / "url"
    browser = place.folder / "browser"
    browser.write_text(BROWSER.format(told=told), encoding="utf-8")
    browser.chmod(0o755)
    with subprocess.Popen(
        [COMMAND, "inspect", "net.onnx", "--view"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place.folder,
        env=place.environment(BROWSER=str(browser), NO_PROXY="127.0.0.1,localhost"),
    ) as process:  # fmt: skip
        try:
            url = address(told, process)
            assert url.startswith(("http://127.0.0.1:", "http://localhost:"))
            with urllib.request.urlopen(url) as answer:
                assert b"Netron" in answer.read()
            assert status_for(url, "rebound.example:80") == 421, "a web site that had its name resolve to this machine"
            assert status_for(url, None) == 421
            assert status_for(url, f"localhost:{url.rpartition(':')[2].strip('/')}") == 200
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, "Ctrl-C is how one leaves Netron"
    assert "{input [dtype=float32, shape=(1, 3, 32, 32)]}" in out
    assert "Traceback" not in err


def test_only_one_onnx_file_can_be_shown(place: Workplace) -> None:
    for files in (["a.plan"], ["a.onnx", "b.onnx"]):
        done = place.call("inspect", *files, "--view")
        assert (done.status, "--view shows one .onnx file" in done.stderr) == (2, True)
