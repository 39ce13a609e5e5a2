"""What a lock records about fetched sources, beyond the digests of model and calibration cache."""

from __future__ import annotations

from typing import Dict, Iterable, Mapping

from .kinds import ByName, DigestText, Text
from .settings import Record, setting


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
