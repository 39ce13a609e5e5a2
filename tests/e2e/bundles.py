"""A connected site with a bundle, and the closed side that uses it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest

from prepare_models_entrypoint.onnx_graph.calibration_cache import write
from tests import networks
from tests.command import COMMAND, Result, Workplace
from tests.simulators.ngc import LEGACY_KEY, NgcSimulator

WEIGHTS = f"{'big' * 45}.weights"  # longer than one byte of a length can say
# A network namespace without any interface.
CLOSED = ("unshare", "--net", *(() if os.geteuid() == 0 else ("--map-root-user",)))
# Writes down every use of the network that a Python process tries.
WITNESS = """\
import os, sys
def note(*words):
    with open(os.environ["WITNESS"], "a") as file:
        print(*words, file=file)
def hear(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        note(event, arguments)
sys.addaudithook(hear)
note("process")
"""


@dataclass(frozen=True)
class Site:
    """A workplace on the connected side, with a bundle, and the closed side's command line."""

    place: Workplace
    bundle: Path

    def closed(self, folder: Path, *arguments: str, bundle: Path | None = None) -> Result:
        """Run a bundle in a network namespace of its own, with another cache and nothing else of the connected side."""
        folder.mkdir(exist_ok=True)
        witness = folder / "witness"
        witness.mkdir(exist_ok=True)
        (witness / "sitecustomize.py").write_text(WITNESS)
        kept = {name: text for name, text in os.environ.items() if not name.startswith("NGC_")}
        environment = {
            **kept, "PREPARE_MODELS_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(witness),
            "WITNESS": str(folder / "heard"),
        }  # fmt: skip
        done = subprocess.run(
            [*CLOSED, COMMAND, "run", "--bundle", str(bundle or self.bundle), "--executor", "local",
             "--json", "--models-dir", str(folder / "models"), *arguments],
            capture_output=True, text=True, cwd=folder, check=False, env=environment,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)


def models(folder: Path) -> list[dict[str, Any]]:
    """A remote model, one with weights beside it, and one in an archive, whose calibration cache is remote."""
    networks.conv(folder / "big.onnx", channels=64, seed=3)
    loaded = onnx.load(str(folder / "big.onnx"))
    (folder / "nets").mkdir()
    onnx.save_model(
        loaded, str(folder / "nets" / "big.onnx"), save_as_external_data=True, location=WEIGHTS, size_threshold=0
    )
    networks.conv(folder / "inner.onnx", seed=4)
    subprocess.run(["tar", "czf", "nets/pack.tar.gz", "inner.onnx"], check=True, cwd=folder)
    return [
        {"name": "remote", "source": "ngc://nvidia/tao/net:v1/net.onnx", "eula": "https://example.com/terms"},
        {"name": "weights", "source": "nets/big.onnx", "precision": "fp16"},
        {
            "name": "packed",
            "source": "nets/pack.tar.gz!inner.onnx",
            "precision": "int8",
            "calibration_cache": "ngc://nvidia/tao/net:v1/cache.txt",
        },
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("connected")
    (folder / "ngc.key").write_text(LEGACY_KEY)  # the closed side has none
    with NgcSimulator() as sim, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NGC_CLI_API_URL", sim.url)
        patch.setenv("NGC_CLI_AUTH_URL", sim.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        net = networks.conv(folder / "net.onnx").read_bytes()
        cache = write({"input": 0.02, "hidden": 0.03, "output": 0.03})
        sim.publish("nvidia/tao/net", "v1", {"net.onnx": net, "cache.txt": cache})
        place = Workplace(folder)
        place.write(*models(folder), defaults={"ngc": {"key_file": "ngc.key"}})
        locked = place.call("lock", str(place.manifest), "--platform", "local", "--accept-eula")
        assert locked.status == 0, locked.stderr
        bundle = folder / "site.bundle"
        made = create(place, bundle, "--no-wheels")
        assert made.status == 0, made.stderr
        yield Site(place, bundle)


def create(place: Workplace, bundle: Path, *arguments: str, **variables: str) -> Result:
    return place.call(
        "bundle", "create", str(place.manifest), "-o", str(bundle), "--accept-eula", "--json", *arguments, **variables
    )
