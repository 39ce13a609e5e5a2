"""What consumers find in a model's directory, read as they read it: Triton, Isaac ROS, and whoever trusts the record.

After ``VersionsToLoad`` and ``LocalFileSystem`` of triton-inference-server/core at 73aad7c: every entry is looked at
through its link, one that leads nowhere spoils the whole directory, and a directory is a version if a number begins it.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from pathlib import Path
from typing import NamedTuple

import yaml


class Served(NamedTuple):
    """The version that Triton serves, the digest of its engine, and the sizes that config.pbtxt has for its outputs."""

    version: int
    sha256: str
    dims: str


def served(folder: Path) -> Served:
    """Return what Triton serves of a model. A reader that comes between the files of a switch sees one version, too."""
    config = (folder / "config.pbtxt").read_text()
    assert re.search(r'^name: "(.*)"$', config, re.MULTILINE)[1] == folder.name  # type: ignore[index]
    modes = {entry.name: entry.stat().st_mode for entry in folder.iterdir()}
    directories = [name for name, mode in modes.items() if stat.S_ISDIR(mode)]
    numbers = [re.match(r"\s*[+-]?\d+", name) for name in directories if name[0] != "0" or name == "0"]
    versions = sorted(int(number[0]) for number in numbers if number)
    specific = re.search(r"specific \{ versions: \[(\d+)\] \}", config)
    version = int(specific[1]) if specific else versions[-1]
    assert version in versions
    (dims,) = re.findall(r"^output \{.*?dims: \[(.*?)\]", config, re.MULTILINE | re.DOTALL)
    return Served(version, _sha256(folder / str(version) / "model.plan"), dims)


def complete(folder: Path) -> Served:
    """Return what is served while nothing switches: every file is of the same version, for every consumer."""
    found = served(folder)
    record = json.loads((folder / "report.json").read_text())
    assert record["engine"]["sha256"] == found.sha256
    (output,) = [binding for binding in record["io"] if binding["mode"] == "output"]
    assert found.dims == ", ".join(map(str, output["shape"]))
    ros = yaml.safe_load((folder / "isaac_ros.yaml").read_text())["tensor_rt"]["ros__parameters"]
    assert Path(ros["engine_file_path"]) == folder / "1" / "model.plan"
    assert _sha256(Path(ros["engine_file_path"])) == found.sha256
    assert json.loads((folder / "provenance.json").read_text())["subject"][0]["digest"]["sha256"] == found.sha256
    return found


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
