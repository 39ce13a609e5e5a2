"""Ask registries which bytes the base images are today, and write the digests down: ``python .ci/base_digests.py``.

The digests go into orchestrator/prepare_models/machine/base_digests.json and docker/docker-bake.hcl. If a
registry doesn't give a digest, it stays as it was, and the exit status is 1. ``--check`` writes nothing and prints what
differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TIMEOUT_S = 30.0
_LARGEST = 4 << 20  # of a manifest; registries have the same limit
_HUB = "registry-1.docker.io"
_KINDS = (
    "oci.image.index.v1", "docker.distribution.manifest.list.v2", "oci.image.manifest.v1",
    "docker.distribution.manifest.v2",
)  # fmt: skip
_ACCEPT = ", ".join(f"application/vnd.{kind}+json" for kind in _KINDS)


class RegistryError(Exception):
    """A registry doesn't give the digest of an image; the message says why."""


def digest_of(image: str) -> str:
    """Return what a tag refers to now: ``sha256:`` and the digest of its manifest, which lists several platforms.

    Raises:
        RegistryError: the registry can't be reached, refuses, or contradicts itself.
    """
    host, repository, tag = address(image)
    scheme = "http" if host.startswith("127.0.0.1:") else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{tag}"
    try:
        body, headers = _get(url, {"Accept": _ACCEPT})
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise RegistryError(f"{host} answers {error.code}") from None
        token = _token(error.headers.get("WWW-Authenticate") or "", repository)
        body, headers = _authorized(url, token, host)
    except OSError as error:
        raise RegistryError(f"{host} can't be reached: {error}") from None
    found = f"sha256:{hashlib.sha256(body).hexdigest()}"
    claimed = headers.get("Docker-Content-Digest")
    if claimed is not None and claimed != found:
        raise RegistryError(f"{host} claims {claimed}, but its bytes are {found}")
    return found


def address(image: str) -> tuple[str, str, str]:
    """Return registry, repository and tag of an image, by Docker's rules."""
    name, _, tag = image.rpartition(":")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first):
        return first, rest, tag
    return _HUB, name if slash else f"library/{name}", tag


def _get(url: str, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise RegistryError(f"it leads to {url[:80]!r}")
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  # the scheme was looked at
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        body: bytes = answer.read(_LARGEST + 1)
        if len(body) > _LARGEST:
            raise RegistryError(f"{url} is larger than a manifest may be")
        return body, answer.headers


def _authorized(url: str, token: str, host: str) -> tuple[bytes, Mapping[str, str]]:
    try:
        return _get(url, {"Accept": _ACCEPT, "Authorization": f"Bearer {token}"})
    except OSError as error:
        raise RegistryError(f"{host} refuses who has no account: {error}") from None


def _token(challenge: str, repository: str) -> str:
    """Return the token that a registry gives to anyone."""
    words = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.lower().startswith("bearer ") or "realm" not in words:
        raise RegistryError(f"it asks for an account: {challenge[:80]!r}")
    asked = {"scope": words.get("scope", f"repository:{repository}:pull")}
    if "service" in words:
        asked["service"] = words["service"]
    try:
        answer = json.loads(_get(f"{words['realm']}?{urllib.parse.urlencode(asked)}", {})[0])
        return str(answer.get("token") or answer["access_token"])
    except (OSError, ValueError, LookupError, AttributeError) as error:
        raise RegistryError(f"it gives no token: {error}") from None


def renewed(known: Mapping[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """Return digests by image as registries have them now, and why others are missing."""
    found, problems = dict(known), []
    for image in known:
        try:
            found[image] = digest_of(image)
        except RegistryError as error:
            problems.append(f"{image}: {error}")
    return found, problems


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Renew the digests, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, tell what differs")
    check = parser.parse_args(arguments).check
    machine = root / "orchestrator" / "prepare_models" / "machine"
    file, bake = machine / "base_digests.json", root / "docker" / "docker-bake.hcl"
    before = json.loads(file.read_text(encoding="utf-8"))
    images = [row["base_image"] for row in json.loads((machine / "platforms.json").read_text(encoding="utf-8"))]
    known = {image: before.get(image) for image in dict.fromkeys(images)}
    found, problems = renewed(known)
    changed = [f"{image}: {known[image]} -> {found[image]}" for image in found if found[image] != known[image]]
    sys.stdout.write("".join(f"{line}\n" for line in [*changed, *problems]))
    if not check:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        bake.write_text(_pinned(bake.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 1 if problems or (check and changed) else 0


def _pinned(text: str, digests: Mapping[str, str | None]) -> str:
    for image, digest in digests.items():
        pinned = f"{image}@{digest}" if digest else image
        text = re.sub(rf'"{re.escape(image)}(@sha256:[0-9a-f]{{64}})?"', f'"{pinned}"', text)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
