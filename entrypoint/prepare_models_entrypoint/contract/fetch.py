"""What the orchestrator asks of the entrypoint when it only fetches, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Tuple, TypedDict

from . import codec
from .connection import Connection
from .groups import Nested
from .kinds import Flag, Integer, Kind, ListOf, Text
from .pins import NO_PINS, Pins
from .settings import REQUIRED, Document, setting

if TYPE_CHECKING:
    from .report import ErrorInfo


class _Source(Kind):
    """A source with its digest."""

    def decode(self, raw: object, what: str) -> Tuple[str, Optional[str]]:
        found: Mapping[str, object] = codec.typed(raw, dict, what)
        codec.check_keys(found, ("source", "sha256"), what)
        return codec.require(found, "source", str, what), codec.optional(found, "sha256", str, what)

    def encode(self, value: Tuple[str, Optional[str]]) -> Dict[str, Optional[str]]:
        return {"source": value[0], "sha256": value[1]}


class FetchJob(Document):
    """Sources to bring to this machine.

    sources: each with the sha256 that it must have, or None.
    output_dir: directory that receives each file under its base name; None fills the download store alone.
    connections: files that are fetched at once.
    revalidate: whether the server is asked if what an earlier run fetched is current.
    offline: whether only what is in the store already may be taken.
    pins: what a lock knows of the sources and of the files that come with them.
    """

    WHAT = "fetch job"

    sources: Tuple[Tuple[str, Optional[str]], ...] = setting(ListOf(_Source(), "sources"), "", default=REQUIRED)
    cache_dir: str = setting(Text("a path"), "", default=REQUIRED)
    output_dir: Optional[str] = setting(Text("a path"), "")
    connections: int = setting(Integer("a number", 1), "", default=16)
    revalidate: bool = setting(Flag(), "", default=True)
    network: Connection = setting(Nested(Connection), "", default=Connection())
    offline: bool = setting(Flag(), "", default=False)
    pins: Pins = setting(Nested(Pins), "", default=NO_PINS, later=True)


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
