"""What the orchestrator asks of the entrypoint when it only fetches, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple, Optional, Tuple, TypedDict

from . import codec
from .codec import CONTRACT_VERSION
from .connection import Connection
from .pins import NO_PINS, Pins

if TYPE_CHECKING:
    from .report import ErrorInfo


class FetchJob(NamedTuple):
    """Sources to bring to this machine.

    sources: each with the sha256 that it must have, or None.
    output_dir: directory that receives each file under its base name; None fills the download store alone.
    connections: files that are fetched at once.
    revalidate: whether the server is asked if what an earlier run fetched is current.
    offline: whether only what is in the store already may be taken.
    pins: what a lock knows of the sources and of the files that come with them.
    """

    sources: Tuple[Tuple[str, Optional[str]], ...]
    cache_dir: str
    output_dir: Optional[str] = None
    connections: int = 16
    revalidate: bool = True
    network: Connection = Connection()
    offline: bool = False
    pins: Pins = NO_PINS

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> FetchJob:
        """Read a job.

        Raises:
            ContractError: another contract version or an unknown field.
        """
        codec.check_version(raw, "fetch job")
        codec.check_keys(raw, ("contract", *cls._fields), "fetch job")
        return cls(
            sources=codec.each(raw, "sources", _source, "fetch job"),
            cache_dir=codec.require(raw, "cache_dir", str, "fetch job"),
            output_dir=codec.optional(raw, "output_dir", str, "fetch job"),
            connections=codec.require(raw, "connections", int, "fetch job"),
            revalidate=codec.require(raw, "revalidate", bool, "fetch job"),
            network=codec.maybe(raw, "network", Connection.from_dict, "fetch job") or Connection(),
            offline=codec.require(raw, "offline", bool, "fetch job"),
            pins=codec.maybe(raw, "pins", Pins.from_dict, "fetch job") or NO_PINS,
        )

    def to_dict(self) -> Dict[str, object]:
        """Return the JSON form."""
        return {
            "contract": CONTRACT_VERSION,
            "sources": [{"source": source, "sha256": sha256} for source, sha256 in self.sources],
            "cache_dir": self.cache_dir,
            "output_dir": self.output_dir,
            "connections": self.connections,
            "revalidate": self.revalidate,
            "network": self.network.to_dict(),
            "offline": self.offline,
            "pins": self.pins.to_dict(),
        }


class ExternalFile(TypedDict):
    """A file with weights: which source it has, and which name in the model."""

    source_id: str
    location: str


class FetchResult(TypedDict):
    """What became of one source: ``status`` fetched, present (nothing had to come) or failed.

    ``sha256`` was computed from the bytes; ``promised`` says who promised it: manifest, server, or nobody (None).
    ``licence``: page on which the terms of an NGC model stand. ``source_id`` tells sources apart that look the same.
    ``revision``: commit of a repository. ``external_data``: the files with a model's weights, in its order, by
    ``source_id``, each with the ``location`` that the model has for it; each has a result of its own, too.
    """

    source: str
    source_id: str
    status: str
    path: Optional[str]
    bytes: Optional[int]
    sha256: Optional[str]
    promised: Optional[str]
    licence: Optional[str]
    error: Optional[ErrorInfo]
    revision: Optional[str]
    external_data: List[ExternalFile]


def _source(raw: Mapping[str, object]) -> Tuple[str, Optional[str]]:
    codec.check_keys(raw, ("source", "sha256"), "fetch job.sources[]")
    source: str = codec.require(raw, "source", str, "fetch job.sources[]")
    return source, codec.optional(raw, "sha256", str, "fetch job.sources[]")
