"""NGC: addresses, the API, credentials, and the files of a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ...errors import FetchError

if TYPE_CHECKING:
    from ..access import Access
    from ..body import Remote
    from .address import Address


def remote(source: str, access: Access) -> Remote:
    """Return the file that a source names.

    Raises:
        FetchError: it names no file, but for example a whole version.
    """
    found = remote_at(source, access)
    if found is None:
        raise FetchError("source-not-found", f"{source} is not an address of NGC", hint="see docs/fetch.md")
    return found


def remote_at(source: str, access: Access) -> Optional[Remote]:
    """Return the NGC file that a source names, or None for any other source.

    Raises:
        FetchError: it names a model or a whole version instead of a file.
    """
    from .address import parse

    address = parse(source, api=access.ngc_api)
    if address is None:
        return None
    if address.version is None:
        raise without_version(address)
    if address.file is None:
        raise FetchError(
            "source-not-found",
            f"{address} is a whole version, not a file",
            hint=f"add the file's name; see prepare-models ngc files {address.model}:{address.version}",
        )
    from .source import NgcSource

    return NgcSource(address, access)


def without_version(address: Address) -> FetchError:
    """Return the error for the page or the name of a model."""
    return FetchError(
        "source-not-found",
        f"{address} is a model, without a version and a file",
        hint=f"its versions: prepare-models ngc versions {address.model}",
    )
