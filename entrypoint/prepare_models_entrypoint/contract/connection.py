"""How the network is to be used."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional

from . import codec


class Connection(NamedTuple):
    """How sources are reached.

    hf_endpoint: base URL of Hugging Face's hub; None for its own.
    ngc_api, ngc_auth: base URLs of NGC's API and token service; None for NVIDIA's own.
    secrets_file: path of a JSON file with ``ngc_api_key``, ``hf_token`` and ``headers`` (pairs of name and value);
    a job itself never holds secrets.
    stall_s: seconds without a byte after which a connection is given up; None for the default.
    attempts: failures in a row, without a new byte, after which a fetch is given up; None for the default.
    """

    ngc_api: Optional[str] = None
    ngc_auth: Optional[str] = None
    secrets_file: Optional[str] = None
    stall_s: Optional[float] = None
    attempts: Optional[int] = None
    hf_endpoint: Optional[str] = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> Connection:
        """Read the settings."""
        codec.check_keys(raw, cls._fields, "network")
        return cls(
            ngc_api=codec.optional(raw, "ngc_api", str, "network"),
            ngc_auth=codec.optional(raw, "ngc_auth", str, "network"),
            secrets_file=codec.optional(raw, "secrets_file", str, "network"),
            stall_s=codec.optional(raw, "stall_s", float, "network"),
            attempts=codec.optional(raw, "attempts", int, "network"),
            hf_endpoint=codec.optional(raw, "hf_endpoint", str, "network"),
        )

    def to_dict(self) -> Dict[str, object]:
        """Return the JSON form; what an older entrypoint does not know is left out where it is not needed."""
        raw = self._asdict()
        if self.hf_endpoint is None:
            del raw["hf_endpoint"]
        return raw
