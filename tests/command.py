"""Running ``prepare-models`` as a user does: the installed command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.imported import imported

COMMAND = str(Path(sys.executable).parent / "prepare-models")


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """Return standard output as the run's report."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    def model(self, name: str) -> dict[str, Any]:
        """Return the report of one model."""
        return next(model for model in self.report["models"] if model["name"] == name)


class Workplace:
    """A folder with a manifest, a models directory and a cache directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models_dir = folder / "models"
        self.cache_dir = folder / "cache"
        self.manifest = folder / "models.yaml"

    def write(self, *models: dict[str, Any], **top: Any) -> Path:
        """Write the manifest."""
        self.manifest.write_text(yaml.safe_dump({"version": 1, **top, "models": list(models)}), encoding="utf-8")
        return self.manifest

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment for commands that are started here."""
        return {**os.environ, "PREPARE_MODELS_CACHE_DIR": str(self.cache_dir), **variables}

    def command(self, *arguments: str) -> list[str]:
        """Return the argument vector of ``run`` on the manifest."""
        return [
            COMMAND,
            "run",
            str(self.manifest),
            "--models-dir",
            str(self.models_dir),
            "--executor",
            "local",
            *arguments,
        ]

    def run(self, *arguments: str, **variables: str) -> Result:
        """Run the manifest with ``--json``."""
        return self.call(*self.command("--json", *arguments)[1:], **variables)

    def build(self, **model: Any) -> dict[str, Any]:
        """Write a manifest of one model, run it and return the model's report."""
        self.write({"name": "model", **model})
        result = self.run()
        assert result.status in (0, 1), result.stderr
        return result.model("model")

    def check(self, **model: Any) -> dict[str, Any]:
        """Write a manifest of one model, check it and return the model's report."""
        self.write({"name": "model", **model})
        result = self.call("check", str(self.manifest), "--json", "--executor", "local")
        assert result.status in (0, 1), result.stderr
        return result.model("model")

    def call(self, *arguments: str, **variables: str) -> Result:
        """Run any command."""
        argv, environment = [COMMAND, *arguments], self.environment(**variables)
        if imported().can(environment):
            status, printed, told = imported().run(argv, self.folder, environment)
            return Result(status, printed.decode(), told.decode())
        done = subprocess.run(argv, capture_output=True, text=True, cwd=self.folder, check=False, env=environment)
        return Result(done.returncode, done.stdout, done.stderr)

    def files(self) -> set[str]:
        """Return the files under the models directory, by their relative paths."""
        return {str(path.relative_to(self.models_dir)) for path in self.models_dir.rglob("*") if path.is_file()}

    def directories(self) -> set[str]:
        """Return the directories under the models directory."""
        return {str(path.relative_to(self.models_dir)) for path in self.models_dir.rglob("*") if path.is_dir()}
