"""What a lock records about fetched sources, beyond the digests of model and calibration cache."""

from __future__ import annotations

from typing import Mapping

from .kinds import ByName, DigestText, Text
from .settings import Record, setting


class Pins(Record):
    """By the ``id`` of a source.

    sha256: of files with external data, which come with a model. revision: commit of a repository to fetch from.
    """

    sha256: Mapping[str, str] = setting(ByName(DigestText(), "digests"), "", default=dict)
    revision: Mapping[str, str] = setting(ByName(Text("a revision", "[^/]+"), "revisions"), "", default=dict)

    def and_those(self, other: Pins) -> Pins:
        """Return these pins and ``other``."""
        return Pins(sha256={**self.sha256, **other.sha256}, revision={**self.revision, **other.revision})


NO_PINS = Pins()
