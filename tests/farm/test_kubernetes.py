"""The manifests for Kubernetes are valid, and what they run is what this version of the tool takes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from prepare_models.cli.parser import parse
from prepare_models.manifest.load import of_text
from tests.farm.processes import BIN

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"


def documents() -> Iterator[dict[str, Any]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


def test_every_document_fits_the_schemas_of_the_newest_kubernetes() -> None:
    found = list(documents())
    for document in found:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    kinds = [document["kind"] for document in found]
    assert sorted(kinds) == ["ConfigMap", "DaemonSet", "Deployment", "Deployment", "Job", "NetworkPolicy", "Service"]


def test_what_containers_run_is_a_command_line_of_this_version() -> None:
    ran = set()
    for document in documents():
        for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            if container["command"] == ["prepare-models"]:
                ran.add(parse(container["args"]).command)
            else:
                program, command = container["command"]
                done = subprocess.run([BIN / program, command, *container["args"], "--version"], check=False)
                assert done.returncode == 0
                ran.add(command)
    assert ran == {"run", "worker", "scheduler"}


def test_the_manifest_of_the_job_is_one() -> None:
    (text,) = (each["data"]["models.yaml"] for each in documents() if each["kind"] == "ConfigMap")
    assert of_text(text, Path("models.yaml")).targets == {"l4": "sm_89/trt10.9", "rtx": "portable/rtx1.7"}
