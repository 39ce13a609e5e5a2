"""Questions about the NGC catalog: its models, versions and files."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ...contract.fetch import Connection
from ...errors import FetchError, StageError
from ..access import access_of
from .address import Address, parse, parse_model
from .answers import Document, objects_in
from .client import Client, understood
from .source import listed

Row = Dict[str, object]


def answer(question: Mapping[str, Any]) -> Dict[str, object]:
    """Answer a question.

    Args:
        question: ``ask`` (search, versions or files), ``about`` (words, or a model with or without its version),
            ``limit`` and ``network``.

    Returns:
        ``rows`` and ``error``, one of which is None.
    """
    try:
        access = access_of(Connection.from_dict(question.get("network") or {}))
        client, about = access.ngc, question["about"]
        if question["ask"] == "search":
            rows = _search(client, about, int(question.get("limit") or 25))
        else:
            rows = {"versions": _versions, "files": _files}[question["ask"]](client, _address(about, client.api))
    except StageError as error:
        return {"rows": None, "error": error.info("fetch")}
    return {"rows": rows, "error": None}


def _search(client: Client, about: str, limit: int) -> List[Row]:
    with understood(Address("nvidia", None, "")):
        return [_found(resource) for resource in client.search(about, limit)]


def _found(resource: Document) -> Row:
    attributes = {str(item.get("key")): item.get("value") for item in objects_in(resource, "attributes") or ()}
    owner = filter(None, (resource.get("orgName"), resource.get("teamName"), resource.get("name")))
    return {
        "model": str(resource.get("resourceId") or "/".join(map(str, owner))),
        "title": resource.get("displayName"),
        "latest": attributes.get("latestVersionIdStr"),
        "description": resource.get("description"),
    }


def _versions(client: Client, address: Address) -> List[Row]:
    return [
        {
            "version": raw.get("versionId"),
            "status": raw.get("status"),
            "files": raw.get("totalFileCount"),
            "bytes": raw.get("totalSizeInBytes"),
            "created": raw.get("createdDate"),
        }
        for raw in client.versions(address)
    ]


def _files(client: Client, address: Address) -> List[Row]:
    if address.version is None:
        raise FetchError(
            "source-not-found",
            f"{address.model}: which version?",
            hint=f"write {address.model}:VERSION; see prepare-models ngc versions {address.model}",
        )
    return [
        {
            "path": entry.path,
            "bytes": entry.size,
            "sha256": entry.sha256,
            "created": entry.created,
            "source": address.with_file(entry.path).source(client.api),
        }
        for entry in listed(address, client)
    ]


def _address(about: str, api: str) -> Address:
    address = parse(about, api=api) or parse_model(about)
    if address is None:
        raise FetchError(
            "source-not-found", f"{about} is not a model on NGC", hint="write org/team/model, or org/team/model:version"
        )
    return address
