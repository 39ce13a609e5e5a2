"""A disk of 64 MB that is nearly full: whatever is done there ends with the error of the disk and leaves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from tests import networks
from tests.command import COMMAND, Result
from tests.simulators.web import Answer, Server

SIZE = 64 << 20
FILLED = """
mount -t tmpfs -o size=$SIZE none "$DISK" && cp "$SITE"/net.yaml "$SITE"/own.onnx "$DISK" || exit 99
left() { stat -f -c %a "$DISK"; }
head -c $(($(left) * 4096 - ROOM)) /dev/zero > "$DISK/rest"
left > "$LEFT"
"$@"
status=$?
left >> "$LEFT"
exit $status
"""
OWN_MOUNTS = [
    "unshare",
    "--mount",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    "sh",
    "-c",
    FILLED,
    "sh",
]


def wide(path: Path) -> Path:
    """Four products with matrices of 1 MB each."""
    weights = {f"w{i}": np.random.default_rng(i).standard_normal((512, 512), dtype=np.float32) / 23 for i in range(4)}
    values = ["input", "a", "b", "c", "output"]
    nodes = [helper.make_node("MatMul", [values[i], f"w{i}"], [values[i + 1]], name=f"m{i}") for i in range(4)]
    inputs, outputs = ([(name, TensorProto.FLOAT, (1, 512))] for name in ("input", "output"))
    return networks.save(path, nodes, inputs, outputs, weights)


class Site(NamedTuple):
    """What was made where there is room, and the place of the small disk."""

    folder: Path
    url: str
    sha256: str

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    def manifest(self, name: str, **model: object) -> str:
        file = self.folder / name
        file.write_text(yaml.safe_dump({"version": 1, "models": [{"name": file.stem, **model}]}), encoding="utf-8")
        return str(file)

    def call(self, *arguments: str, cache: Path | None = None, wrapper: Sequence[str] = (), **more: str) -> Result:
        variables = {"PREPARE_MODELS_CACHE_DIR": str(cache or self.folder / "cache"), **more}
        done = subprocess.run(
            [*wrapper, COMMAND, *arguments], capture_output=True, text=True, cwd=self.folder, check=False,
            env={**os.environ, **variables},
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def on_the_disk(self, *arguments: str, room: int, cache: Path | None = None) -> tuple[Result, int]:
        """Run a command where the disk has ``room`` bytes; return also how many it took for good."""
        places = {"DISK": str(self.disk), "SITE": str(self.folder), "LEFT": str(self.folder / "left")}
        result = self.call(
            *arguments, "--json", cache=cache, wrapper=OWN_MOUNTS, SIZE=str(SIZE), ROOM=str(room), **places
        )
        before, after = (int(blocks) * 4096 for blocks in (self.folder / "left").read_text().split())
        return result, before - after


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    content = wide(folder / "own.onnx").read_bytes()
    (folder / "disk").mkdir()
    (folder / "samples").mkdir()
    for number in range(2):
        np.save(folder / "samples" / f"{number}.npy", np.full((1, 512), number, dtype=np.float32))
    with Server(lambda _: Answer(content, ranged=True)) as server:
        made = Site(folder, f"{server.url}/net.onnx", hashlib.sha256(content).hexdigest())
        made.manifest("net.yaml", source=made.url, sha256=made.sha256)
        made.manifest("own.yaml", source="own.onnx")
        made.manifest("half.yaml", source="own.onnx", precision="fp16")
        made.manifest("int8.yaml", source="own.onnx", precision="int8", calibration={"images": "samples"})
        for arguments in (
            ["run", "own.yaml", "--models-dir", "models", "--executor", "local"], ["lock", "net.yaml"],
            ["bundle", "create", "net.yaml", "-o", "net.bundle", "--platform", "local", "--no-wheels"],
        ):  # fmt: skip
            done = made.call(*arguments)
            assert done.status == 0, done.stderr
        yield made


RUN = ("run", "--executor", "local", "--models-dir")
STEPS: Mapping[str, tuple[Sequence[str], int, str]] = {
    # arguments, with @ for the disk, room there, and where the cache is
    "fetch": (("fetch", "URL", "--output", "@/out"), 2 << 20, ""),
    "download": ((*RUN, "new", "net.yaml"), 2 << 20, "@/cache"),
    "rewrite": ((*RUN, "new", "half.yaml"), 1 << 20, "@/cache"),
    "calibrate": ((*RUN, "new", "int8.yaml"), 1 << 20, "@/cache"),
    "build": ((*RUN, "@/models", "own.yaml", "--force"), 2 << 20, ""),
    "restore": ((*RUN, "@/models", "own.yaml"), 2 << 20, ""),
    "verify": (("verify", "models", "--executor", "local"), 0, "@/cache"),
    "bundle": (
        ("bundle", "create", "net.yaml", "-o", "@/net.bundle", "--platform", "local", "--no-wheels"),
        2 << 20,
        "",
    ),
    "unpack": ((*RUN, "new", "--bundle", "net.bundle"), 2 << 20, "@/cache"),
    "lock": (("lock", "@/net.yaml"), 0, ""),
    "report": ((*RUN, "models", "own.yaml", "--report-html", "@/report.html"), 0, ""),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_has_no_room_says_so_and_takes_none(site: Site, step: str) -> None:
    arguments, room, cache = STEPS[step]
    given = [each.replace("@", str(site.disk)).replace("URL", f"{site.url}#sha256={site.sha256}") for each in arguments]
    place = Path(cache.replace("@", str(site.disk))) if cache else None
    result, taken = site.on_the_disk(*given, room=room, cache=place)
    assert result.status in (1, 3), result.stderr
    assert '"disk-full"' in result.stdout, result.stdout + result.stderr
    assert str(site.disk) in result.stdout
    assert taken <= 64 << 10, "a report and empty files may stay"


def test_the_budget_is_known_beforehand(site: Site) -> None:
    def plan(*arguments: str, room: int, cache: str) -> tuple[dict[str, Any], str]:
        result, taken = site.on_the_disk(
            "plan", *arguments, "--executor", "local", room=room, cache=site.folder / cache
        )
        assert (result.status, taken) == (0, 0), result.stderr
        disks = {disk["place"]: disk for disk in json.loads(result.stdout)["disks"]}
        return disks[str(site.disk)], result.stdout

    source = (site.folder / "own.onnx").stat().st_size
    download, _ = plan("net.yaml", room=2 << 20, cache="disk/cache")
    assert (download["certain"], download["needed"]) == (source, {"downloads": source})
    assert download["free"] == 2 << 20
    engines, _ = plan("own.yaml", "--models-dir", "disk/models", room=2 << 20, cache="none")
    assert engines["certain"] == 0
    engine = (site.folder / "models" / "own" / "1" / "model.plan").stat().st_size
    assert engine <= engines["needed"]["engines"] <= engine + (3 << 20)
    said = site.on_the_disk(*RUN[:-1], "net.yaml", room=2 << 20, cache=site.disk / "cache")[0].model("net")
    assert said["stages"] == [], "nothing was begun"
    assert "4.2 MB for downloads" in said["error"]["message"]
