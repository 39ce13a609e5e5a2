"""How the network is used."""

from __future__ import annotations

from typing import Optional

from .kinds import Integer, Number, Text
from .settings import Record, setting

_URL = Text("a URL")


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
