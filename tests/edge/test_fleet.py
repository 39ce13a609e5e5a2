"""Five devices, each with another kind of night: right, or with a precise statement, and right after the next night.

``benchmarks/fleet.py`` does it with 50.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests import networks
from tests.command import Workplace
from tests.edge import devices


def test_every_device_ends_right_or_says_why_not(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "site")
    content = devices.bundle(place, networks.conv(tmp_path / "people.onnx", channels=4096))
    calm = False
    with (
        devices.fleet(tmp_path / "fleet", devices.FAULTS, len(content)) as fleet,
        devices.server(content, fleet, lambda: calm) as server,
    ):
        devices.night(fleet, server.url, calm=False, at_once=2)
        looked = place.call("fleet", "status", str(tmp_path / "fleet"), "--json")
        first = {device["device"]: device for device in json.loads(looked.stdout)["devices"]}
        by_fault = {device.fault: first.get(device.name, {}) for device in fleet}
        assert looked.status == 1
        assert by_fault[devices.CALM]["state"] == by_fault[devices.CUT]["state"] == "good"
        assert "site.bundle doesn't exist" in by_fault[devices.DEAF]["why"]
        assert "[disk-full] the bundle unpacks to" in by_fault[devices.FULL]["why"]  # which is said beforehand
        assert by_fault[devices.KILLED]["state"] in ("running", "good")
        calm = True
        devices.more_room(fleet)
        devices.night(fleet, server.url, calm=True, at_once=2)
        looked = place.call("fleet", "status", str(tmp_path / "fleet"), "--json")
        assert looked.status == 0
        assert json.loads(looked.stdout)["summary"]["good"] == len(fleet)
        assert [device.nights[1][:2] for device in fleet] == [(0, 0)] * len(fleet)
