"""How engines will be deployed. It affects only their companion files, not the engines' bytes."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Optional, Tuple

from . import consumers
from .codec import ContractError
from .kinds import Flag, ListOf, Text
from .names import check_printable
from .settings import Record, setting

if TYPE_CHECKING:
    from .report import DeploymentInfo


class DeployDir(Text):
    """An absolute path on another machine or in a container."""

    def decode(self, raw: object, what: str) -> str:
        return check_path(str(super().decode(raw, what)))


class Consumer(Text):
    """A consumer with or without a release."""

    def decode(self, raw: object, what: str) -> str:
        return consumers.check(str(super().decode(raw, what)))


DEPLOY_DIR = DeployDir("an absolute path")
CONSUMER = Consumer("a consumer, such as triton or isaac-ros@5.0")


class Deployment(Record):
    """Where and for which consumers; ``deploy_dir`` and ``consumers`` are top-level keys of a manifest.

    deploy_dir: the models directory as the consumers see it, such as a mount in their container; None: the same path.
    consumers: those whose rules count, such as isaac-ros@5.0; empty: all, with their default releases.
    """

    deploy_dir: Optional[str] = setting(DEPLOY_DIR, "", key="")
    consumers: Tuple[str, ...] = setting(ListOf(CONSUMER, "consumers"), "", default=(), key="")
    warmup: bool = setting(
        Flag(),
        "`true`: `config.pbtxt` has Triton run the engine once, with zeros, before it serves requests; "
        "for engines whose shapes are known",
        True,
        default=False,
    )

    @classmethod
    def of(cls, told: DeploymentInfo) -> Deployment:
        """Return the deployment in a report, without what concerns a single consumer."""
        return cls.from_dict({key: value for key, value in told.items() if key in cls.__dataclass_fields__})

    def info(self) -> DeploymentInfo:
        """Return the form that reports have."""
        return {"deploy_dir": self.deploy_dir, "consumers": list(self.consumers), "warmup": self.warmup}

    def directory(self, name: str, otherwise: str) -> str:
        """Return a model's directory as the consumers see it. ``otherwise``: the default."""
        return otherwise if self.deploy_dir is None else str(PurePosixPath(self.deploy_dir) / name)


def check_path(path: str) -> str:
    """Return ``path`` if it may be a deploy directory.

    Raises:
        ContractError: it is not absolute, or has a character that can't be written in one line of a file.
    """
    if not PurePosixPath(path).is_absolute():
        raise ContractError(f"the deploy directory {path!r} is not an absolute path")
    return check_printable(path, "the deploy directory")
