"""NGC: ``ngc://org[/team]/model:version/path/to/file`` as a guest, that is for models which need no account."""

from __future__ import annotations

import os
from urllib.parse import quote

from ..contract.source import NGC_EXAMPLE, ngc_parts
from ..errors import FetchError

_DEFAULT_API = "https://api.ngc.nvidia.com"


def url_of(source: str) -> str:
    """Return the download URL of an ``ngc://`` source, whose parts are literal: quoting is done here.

    NGC_CLI_API_URL, the variable of NVIDIA's own client, names another server.
    """
    parts = ngc_parts(source)
    if parts is None:
        raise FetchError(
            "source-not-found",
            f"{source} is no NGC source",
            hint=f"write ngc://org/team/model:version/file, such as {NGC_EXAMPLE}",
        )
    part = {name: quote(value, safe="") for name, value in parts.items()}
    team = f"/team/{part['team']}" if part["team"] else ""
    api = os.environ.get("NGC_CLI_API_URL", _DEFAULT_API).rstrip("/")
    return (
        f"{api}/v2/models/org/{part['org']}{team}/{part['model']}/{part['version']}/files"
        f"?redirect=true&path={part['file']}"
    )
