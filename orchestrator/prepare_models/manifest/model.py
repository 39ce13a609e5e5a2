"""The manifest as values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prepare_models_entrypoint.contract.builder import BuilderConfig
from prepare_models_entrypoint.contract.conversion import CalibrationConfig, OnnxConfig, Plugin, TaoConfig
from prepare_models_entrypoint.contract.deployment import Deployment
from prepare_models_entrypoint.contract.files import read_small
from prepare_models_entrypoint.contract.job import ShapeRange
from prepare_models_entrypoint.contract.ros import RosConfig
from prepare_models_entrypoint.contract.verification import VerifyConfig

from ..errors import KeyUnavailableError
from ..running.connection import ConnectionSpec


@dataclass(frozen=True)
class Key:
    """Where the key of an .etlt is: in the manifest, in an environment variable or in a file. Never shown."""

    literal: str | None = field(default=None, repr=False)
    env: str | None = None
    file: Path | None = None

    def read(self) -> str:
        """Return the key.

        Raises:
            KeyUnavailableError: the variable or file is missing or empty.
        """
        if self.env is not None:
            where, key = f"environment variable {self.env}", os.environ.get(self.env, "")
        elif self.file is not None:
            where = f"key file {self.file}"
            try:
                key = read_small(self.file).decode("utf-8").strip()
            except OSError as error:
                raise KeyUnavailableError(
                    f"{where}: {error.strerror}", hint="give the path of a readable file"
                ) from None
            except ValueError:
                raise KeyUnavailableError(
                    f"{where} is no text", hint="give the path of the file with the key"
                ) from None
        else:
            where, key = "key", self.literal or ""
        if not key:
            raise KeyUnavailableError(f"{where} is not set", hint="set it, then run again")
        return key


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One entry of ``models:``, defaults applied and local sources made absolute.

    calibration_sha256: digest of the calibration cache, which a lock knows and no manifest says.
    """

    name: str
    source: str
    line: int
    sha256: str | None = None
    precision: str = "fp32"
    key: Key | None = None
    calibration_cache: str | None = None
    calibration_sha256: str | None = None
    inputs: Mapping[str, ShapeRange] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    builder: BuilderConfig = BuilderConfig()
    converter: str = "auto"
    profiles: tuple[Mapping[str, ShapeRange], ...] = ()
    keep_fp32: tuple[str, ...] = ()
    allow_fallback: bool = False
    plugins: tuple[Plugin, ...] = ()
    onnx: OnnxConfig = OnnxConfig()
    tao: TaoConfig = TaoConfig()
    calibration: CalibrationConfig | None = None
    verify: VerifyConfig | None = None
    network: ConnectionSpec = field(default_factory=ConnectionSpec)
    eula: str | None = None
    ros: RosConfig = RosConfig()
    deployment: Deployment = Deployment()


@dataclass(frozen=True)
class Manifest:
    """A validated manifest."""

    path: Path
    models: tuple[ModelSpec, ...]
