"""The manifest as values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import read_line
from prepare_models_entrypoint.contract.job import ModelJob, ModelSettings
from prepare_models_entrypoint.contract.kinds import ByName, File, Kind, ListOf, Schema, SourceText, Text
from prepare_models_entrypoint.contract.settings import REQUIRED, Nested, Record, closed, keys, rows, setting
from prepare_models_entrypoint.contract.values import Value

from ..errors import CodedError, KeyUnavailableError
from ..running.connection import ConnectionSpec
from ..support import paths

if TYPE_CHECKING:
    from prepare_models_entrypoint.contract.report import ModelReport


class Key(Value):
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
                key = read_line(self.file)
            except OSError as error:
                raise KeyUnavailableError(
                    f"{where}: {error.strerror}", hint="give the path of a readable file"
                ) from None
            except ValueError as error:
                raise KeyUnavailableError(
                    f"{where} {error}", hint="put the key, and nothing else, into that file"
                ) from None
        else:
            where, key = "key", self.literal or ""
        if not key:
            hint = f"export {self.env}=KEY, then run again" if self.env else "put the key there, then run again"
            raise KeyUnavailableError(f"{where} is not set", hint=hint)
        return key


class KeySource(Kind):
    """Where the key of an .etlt is: the key itself, ``{env: NAME}`` or ``{file: PATH}``."""

    expected = "the key, {env: NAME} or {file: PATH}"

    def schema(self) -> Schema:
        """Return the three forms."""
        env = {"description": "Name of the environment variable that holds the key.", **Text("a name").schema()}
        file = {
            "description": "Path of the file that holds the key, relative to the manifest.",
            **Text("a path").schema(),
        }
        return {"oneOf": [Text("the key").schema(), closed({"env": env}, ["env"]), closed({"file": file}, ["file"])]}


NAME = Text(
    "at most 128 of a-z, 0-9, '.', '_' and '-', a letter or digit first",
    "[a-z0-9][a-z0-9._-]{0,127}",  # it becomes part of file names, which are limited to 255 bytes
    ("string", "number"),
)
DEVICE = Text(
    "a device class such as sm_87/trt10.3 or portable/rtx1.7",
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?",
)
TARGETS = ByName(DEVICE, "names with their device classes, such as {orin: sm_87/trt10.3}")
_EULA_VARIABLE = "PREPARE_MODELS_ACCEPT_EULA"
_URL = Text("a URL that starts with https://", r"https?://[^\s]+")


class Ngc(Record):
    """How NVIDIA NGC is reached. The variables NGC_CLI_API_URL and NGC_CLI_AUTH_URL take precedence."""

    api_url: str | None = setting(_URL, "base URL of the API", "https://api.ngc.nvidia.com")
    auth_url: str | None = setting(_URL, "base URL of the token service", "https://authn.nvidia.com")
    key_file: str | None = setting(
        File("the path of a file"), "file that holds the key; without it `NGC_API_KEY` is used", "~/.keys/ngc"
    )


class Defaults(Record):
    """What ``defaults:`` may contain besides settings of models."""

    ngc: Ngc | None = setting(
        Nested(Ngc, "api_url, auth_url or key_file"),
        "how NVIDIA NGC is reached; the variables `NGC_CLI_API_URL` and `NGC_CLI_AUTH_URL` take precedence",
        {"key_file": "~/.keys/ngc"},
    )


class ModelSpec(ModelSettings):
    """One entry of ``models:``, defaults applied and local sources made absolute.

    calibration_sha256: digest of the calibration cache, which a lock knows and no manifest says.
    pins: what a lock knows of sources that are fetched, and of weights that come with the model.
    engines: sha256 by build key of the engines that a lock has, to which the run is held; they may come from elsewhere.
    sizes: bytes of the files that a lock has, by their sha256.
    target, device: the one target that the engine is for, and its device class; empty where the manifest has none.
    """

    engines: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    target: str = ""
    device: str = ""

    name: str = setting(
        NAME,
        "the model's directory and its name in Triton, unique in the manifest",
        "peoplesemsegnet",
        default=REQUIRED,
    )
    source: str = setting(SourceText(), "where the model is, see below", "peoplesemseg.onnx", default=REQUIRED)
    line: int
    key: Key | None = setting(
        KeySource(),
        "of an `.etlt`: `{env: NAME}`, `{file: PATH}`, or the key itself, which every reader of the manifest sees",
        {"env": "PEOPLESEMSEG_KEY"},
        {"file": "~/.keys/peoplesemseg"},
    )
    network: ConnectionSpec = setting(
        File("the path of a file"),
        "file of `Name: value` lines for `https://` sources of a private server",
        "~/.keys/headers",
        default=ConnectionSpec(),
        key="headers_file",
    )
    eula: str | None = setting(
        _URL,
        "page of terms to accept with `--accept-eula` or `PREPARE_MODELS_ACCEPT_EULA=1` before the model is fetched",
        "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/peoplesemsegnet",
    )

    targets: tuple[str, ...] = setting(
        ListOf(NAME, "a list of names under `targets:` of the manifest"),
        "the targets that the engine is built for; all of the manifest unless set",
        ["orin"],
        default=(),
    )

    @property
    def label(self) -> str:
        """Return what the model is called in a run, which is its place in the models directory, too."""
        return f"{self.target}/{self.name}" if self.target else self.name

    def unfit(self, record: ModelReport) -> str | None:
        """Return why inputs, outputs or verification of an engine are not what is asked for, or None."""
        found = [binding["name"] for binding in record["io"] if binding["mode"] == "output"]
        if self.outputs and sorted(self.outputs) != sorted(found):
            return f"the engine's outputs are {', '.join(found)}, expected {', '.join(self.outputs)}"
        try:
            self.ros.resolve(record["io"])
        except ContractError as error:
            return str(error)
        verification = record["verification"]
        if self.verify is not None and (verification is None or verification["settings"] != self.verify.to_dict()):
            return "the engine was not verified with these settings"
        return None

    def job(self, output_dir: Path, *, key_file: Path | None = None, timeout_s: float | None = None) -> ModelJob:
        """Return the entrypoint's job for this model.

        ``output_dir``: directory of the model, absolute if anything is written. ``key_file``: where the entrypoint
        finds the key. ``timeout_s``: seconds that the conversion may take.
        """
        return ModelJob(
            **{**self.shared(), "key_file": str(key_file) if key_file else None, "timeout_s": timeout_s},
            name=self.name,
            source=self.source,
            output_dir=str(output_dir),
            deploy_dir=str(output_dir),
            origin=paths.origin(),
        )


# The settings of a model in a manifest, and the keys of those that ``defaults:`` may also have.
MODEL_ROWS = sorted((row for row in rows(ModelSpec) if row.key), key=lambda row: row.default is not REQUIRED)
DEFAULT_KEYS = ("precision", "key", "builder", "converter", "allow_fallback", "headers_file", *keys(Defaults))


class Manifest(Value):
    """A validated manifest. ``targets``: device classes by their names."""

    path: Path
    models: tuple[ModelSpec, ...]
    targets: Mapping[str, str] = field(default_factory=dict)


def terms_accepted(*, flag: bool) -> bool:
    """Return whether ``--accept-eula`` was given, or its variable is set."""
    return flag or os.environ.get(_EULA_VARIABLE, "") in ("1", "true", "yes")


def require_terms(specs: Iterable[ModelSpec], *, accepted: bool) -> None:
    """Refuse models whose terms were not accepted.

    Raises:
        CodedError: terms were not accepted; it names each model with the page of its terms.
    """
    terms = sorted({f"{spec.name}: {spec.eula}" for spec in specs if spec.eula})
    if terms and not accepted:
        raise CodedError(
            "licence-not-accepted",
            "terms must be accepted: " + ", ".join(terms),
            hint=f"read them, then run again with --accept-eula or {_EULA_VARIABLE}=1",
        )
