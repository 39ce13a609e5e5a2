"""Devices that provision from one bundle over HTTP: a night with cut lines, full disks, killed runs, and one without.

Each device is a process with a root of its own. It needs root, for the disks. ``--check`` fails unless every device is
good after the second night.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import limits

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.command import COMMAND, Workplace  # after the path to it is set
from tests.edge import devices  # after the path to it is set

MODEL = Path(__file__).parents[1] / "examples/quickstart/model.onnx"
COUNT, AT_ONCE = 50, 4


def faults(count: int) -> list[str]:
    """Return the faults of devices: every second one has none."""
    others = [devices.CUT, devices.CUT, devices.DEAF, devices.FULL, devices.KILLED]
    return [devices.CALM if number % 2 else others[number // 2 % len(others)] for number in range(count)]


def measure(folder: Path, _: int) -> limits.Result:
    """Return what became of each device, by its fault, after each night."""
    content = devices.bundle(Workplace(folder / "site"), MODEL)
    result: limits.Result = {"devices": COUNT, "at_once": AT_ONCE, "bundle_bytes": len(content)}
    calm = False
    with (
        devices.fleet(folder / "fleet", faults(COUNT), len(content)) as fleet,
        devices.server(content, fleet, lambda: calm) as server,
    ):
        for number in (1, 2):
            calm = number == 2
            if calm:
                devices.more_room(fleet)
            seconds = devices.night(fleet, server.url, calm=calm, at_once=AT_ONCE)
            looked = subprocess.run(
                [COMMAND, "fleet", "status", str(folder / "fleet"), "--json"], capture_output=True, check=False
            )
            found = json.loads(looked.stdout)
            states = {device["device"]: (device["state"], code(device)) for device in found["devices"]}
            ended = Counter(f"{each.fault}: {' '.join(states.get(each.name, ('no status', '')))}" for each in fleet)
            result[f"night {number}"] = {
                "seconds": round(seconds, 1), "by_fault": dict(sorted(ended.items())), "exit_status": looked.returncode,
                "summary": {state: count for state, count in found["summary"].items() if count},
            }  # fmt: skip
            subprocess.run([COMMAND, "fleet", "status", str(folder / "fleet")], stdout=sys.stderr, check=False)
    return result


def code(device: dict[str, object]) -> str:
    """Return the code of the error that a device's row has."""
    why = str(device["why"])
    return why[why.index("[") : why.index("]") + 1] if "[" in why else ""


def violations(result: limits.Result) -> list[str]:
    """Return what is not as it should be: after the second night, every device is good."""
    return [] if result["night 2"]["summary"] == {"good": COUNT} else [f"after the second night: {result['night 2']}"]


if __name__ == "__main__":
    sys.exit(limits.main(__doc__, measure, violations))
