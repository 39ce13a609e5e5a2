"""What a lock knows of sources that are fetched, beyond the digests of model and calibration cache."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple

from . import codec


class Pins(NamedTuple):
    """By the ``id`` of a source.

    sha256: of files with external data, which come with a model. revision: commit of a repository to ask for.
    """

    sha256: Mapping[str, str] = {}
    revision: Mapping[str, str] = {}

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> Pins:
        """Read pins.

        Raises:
            ContractError: an unknown field, or a value that is not a digest or a text.
        """
        codec.check_keys(raw, cls._fields, "pins")
        return cls(codec.texts(raw, "sha256", "pins", "[0-9a-f]{64}"), codec.texts(raw, "revision", "pins", "[^/]+"))

    def to_dict(self) -> Dict[str, object]:
        """Return the JSON form."""
        return {"sha256": dict(self.sha256), "revision": dict(self.revision)}

    def and_those(self, other: Pins) -> Pins:
        """Return these and others."""
        return Pins({**self.sha256, **other.sha256}, {**self.revision, **other.revision})


NO_PINS = Pins()
