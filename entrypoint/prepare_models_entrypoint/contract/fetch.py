"""The job of an entrypoint that only fetches, its result, and what any job needs for fetching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterable, List, Mapping, Optional, Tuple, TypedDict

from .kinds import ByName, DigestText, Flag, Integer, ListOf, Number, Text
from .settings import REQUIRED, Document, Nested, Record, setting

if TYPE_CHECKING:
    from .report import ErrorInfo

_URL = Text("a URL")


class Wanted(Record):
    """A source, and the sha256 that it must have; None accepts any."""

    source: str = setting(Text("a source"), "", default=REQUIRED)
    sha256: Optional[str] = setting(Text("a digest"), "")


class Connection(Record):
    """How sources are reached.

    hf_endpoint: base URL of the Hugging Face hub; None for the public one.
    ngc_api, ngc_auth: base URLs of NGC's API and token service; None for NVIDIA's own.
    secrets_file: path of a JSON file with ``ngc_api_key``, ``hf_token`` and ``headers`` (pairs of name and value);
    a job itself never holds secrets.
    stall_s: seconds without a byte before a connection is abandoned; None for the default.
    attempts: consecutive failures without a new byte before a fetch is abandoned; None for the default.
    """

    ngc_api: Optional[str] = setting(_URL, "")
    ngc_auth: Optional[str] = setting(_URL, "")
    secrets_file: Optional[str] = setting(Text("a path"), "")
    stall_s: Optional[float] = setting(Number(), "")
    attempts: Optional[int] = setting(Integer("a number", 1), "")
    hf_endpoint: Optional[str] = setting(_URL, "", later=True)


class Pins(Record):
    """By the ``id`` of a source.

    sha256: of files with external data, which come with a model. revision: commit of a repository to fetch from.
    """

    sha256: Mapping[str, str] = setting(ByName(DigestText(), "digests"), "", default=dict)
    revision: Mapping[str, str] = setting(ByName(Text("a revision", "[^/]+"), "revisions"), "", default=dict)

    @classmethod
    def together(cls, several: Iterable[Pins]) -> Pins:
        """Return several pins as one."""
        sha256: Dict[str, str] = {}
        revision: Dict[str, str] = {}
        for each in several:
            sha256.update(each.sha256)
            revision.update(each.revision)
        return cls(sha256=sha256, revision=revision)


NO_PINS = Pins()


class FetchJob(Document):
    """Sources to fetch to this machine.

    output_dir: directory that receives each file under its base name; None only fills the download store.
    connections: how many files are fetched at the same time.
    revalidate: whether to ask the server if files fetched by an earlier run are still current.
    offline: whether to take only what is already in the store.
    pins: what a lock records about the sources and the files that come with them.
    """

    WHAT = "fetch job"

    sources: Tuple[Wanted, ...] = setting(ListOf(Nested(Wanted), "sources"), "", default=REQUIRED)
    cache_dir: str = setting(Text("a path"), "", default=REQUIRED)
    output_dir: Optional[str] = setting(Text("a path"), "")
    connections: int = setting(Integer("a number", 1), "", default=16)
    revalidate: bool = setting(Flag(), "", default=True)
    network: Connection = setting(Nested(Connection), "", default=Connection())
    offline: bool = setting(Flag(), "", default=False)
    pins: Pins = setting(Nested(Pins), "", default=NO_PINS, later=True)


class ExternalFile(TypedDict):
    """A file with weights: its source, and its name in the model."""

    source_id: str
    location: str


class FetchResult(TypedDict):
    """What became of one source: ``status`` fetched, present (nothing had to be fetched) or failed.

    ``sha256`` was computed from the bytes; ``promised``: who announced it: manifest, server, or nobody (None).
    ``licence``: page with the terms of an NGC model. ``source_id`` distinguishes sources that look the same.
    ``revision``: commit of a repository. ``external_data``: the files with a model's weights, in its order, by
    ``source_id``, each with its ``location`` in the model; each also has a result of its own.
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
