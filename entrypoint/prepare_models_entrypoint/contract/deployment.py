"""How engines will be deployed: it stands in their companions and decides nothing of their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Mapping, Optional, Tuple

from . import codec, consumers
from .codec import ContractError
from .names import check_printable
from .report import DeploymentInfo


@dataclass(frozen=True)
class Deployment:
    """Where and for whom.

    deploy_dir: the models directory as the consumers see it, such as a mount of their container; None: as it is.
    consumers: those whose rules count, such as isaac-ros@5.0; none: all, with their default releases.
    warmup: whether config.pbtxt has Triton run the engine once before it serves requests.
    """

    deploy_dir: Optional[str] = None
    consumers: Tuple[str, ...] = ()
    warmup: bool = False

    KEYS = ("deploy_dir", "consumers", "warmup")

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Deployment:
        """Read a deployment.

        Raises:
            ContractError: a path that is not absolute, or a consumer that nobody knows.
        """
        codec.check_keys(raw, cls.KEYS, "deployment")
        path = codec.optional(raw, "deploy_dir", str, "deployment")
        return cls(
            deploy_dir=None if path is None else check_path(path),
            consumers=tuple(map(consumers.check, codec.strings(raw, "consumers", "deployment"))),
            warmup=bool(codec.optional(raw, "warmup", bool, "deployment")),
        )

    def to_dict(self) -> DeploymentInfo:
        """Return the JSON form, which stands in reports, too."""
        return DeploymentInfo(deploy_dir=self.deploy_dir, consumers=list(self.consumers), warmup=self.warmup)

    def directory(self, name: str, otherwise: str) -> str:
        """Return a model's directory as the consumers see it. ``otherwise``: where nobody says more."""
        return otherwise if self.deploy_dir is None else str(PurePosixPath(self.deploy_dir) / name)


def check_path(path: str) -> str:
    """Return a path that may be a deploy directory.

    Raises:
        ContractError: it is not absolute, or has a character that no file could hold in one line.
    """
    if not PurePosixPath(path).is_absolute():
        raise ContractError(f"the deploy directory {path!r} is no absolute path")
    return check_printable(path, "the deploy directory")
