"""``hf://owner/repository[@revision]/file``: files of the Hugging Face hub, over plain HTTPS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Mapping, Optional
from urllib.parse import quote

from ..contract.digest import is_sha256
from ..contract.source import HubFile, hub_file
from ..errors import FetchError
from .access import refuse_odd
from .body import Promise, Remote
from .http import HttpSource, location, origin, refusal

if TYPE_CHECKING:
    import requests

    from .access import Access

_SIZE = r"[0-9]{1,18}"
_COMMIT = r"[0-9a-f]{40}"
_MOST_REDIRECTS = 5  # from repositories that moved


class HubSource(HttpSource):
    """A file of a repository. Its commit is requested first, and the bytes are those of that commit.

    revision: the commit, once the hub reported it.
    """

    def __init__(self, source: str, file: HubFile, access: Access) -> None:
        super().__init__(_url(access.hf_endpoint, file, file.revision or "main"), access)
        self.label, self.key = source, source
        self._file = file
        self._promised: Optional[Promise] = None

    def promise(self) -> Promise:
        """Return size and digest of a file in LFS; for a small file the hub gives neither."""
        if self._promised is None:
            self._promised = self._asked()
        return self._promised

    def mark(self, validator: Optional[str]) -> Optional[str]:
        """Return the digest, else the ETag."""
        return self.promise().sha256 or validator

    def is_current(self, mark: Optional[str]) -> bool:
        """Return whether the hub still reports this mark."""
        sha256 = self.promise().sha256
        return mark == sha256 if sha256 is not None else super().is_current(mark)

    def _credentials(self) -> Mapping[str, str]:
        token = self._access.secrets.hf_token
        if token:
            refuse_odd(token, "source-refused", "the Hugging Face token")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _asked(self) -> Promise:
        url = self._url
        for _ in range(_MOST_REDIRECTS):
            with self._access.web.get(url, headers=self._credentials(), head=True) as answer:
                headers = answer.headers
                commit, size = headers.get("X-Repo-Commit", ""), headers.get("X-Linked-Size", "")
                if re.fullmatch(_COMMIT, commit):
                    self.revision = commit
                    self._url = _url(self._access.hf_endpoint, self._file, commit)
                digest = headers.get("X-Linked-Etag", "").strip('"')
                if is_sha256(digest):
                    return Promise(int(size) if re.fullmatch(_SIZE, size) else None, digest)
                target = location(answer, url)
                if answer.status_code >= 400:
                    raise self._refusal(answer)
                if target is None or origin(target) != origin(url):
                    return Promise()
                url = target
        raise FetchError("source-unreachable", f"{self.label}: too many redirects", hint="check the name")

    def _refusal(self, answer: requests.Response) -> FetchError:
        """Return what a refusal of the hub means, according to its header."""
        repository = f"{self._file.owner}/{self._file.repository}"
        page = f"{self._access.hf_endpoint}/{repository}"
        code = answer.headers.get("X-Error-Code")
        token = "a token that may read it: HF_TOKEN, or a file named by HF_TOKEN_PATH"  # noqa: S105  # no secret
        if code == "GatedRepo":
            hint = f"accept the terms on {page}, and give {token}"
            what = f"{self.label}: {repository} asks you to accept its terms"
            return FetchError("licence-not-accepted", what, hint=hint)
        if code == "EntryNotFound":
            what = f"{repository} has no file {self._file.file} at {self._file.revision or 'main'}"
            return FetchError("source-not-found", what, hint=f"its files: {page}/tree/main")
        if code == "RevisionNotFound":
            what = f"{repository} has no revision {self._file.revision}"
            return FetchError("source-not-found", what, hint=f"its branches and commits: {page}/tree/main")
        if code == "RepoNotFound" or answer.status_code == 401:
            what = f"{repository} is not on the hub, or is private"
            return FetchError("source-refused", what, hint=f"check the name on {page}; a private one needs {token}")
        return refusal(answer, self.label)


def remote(source: str, access: Access) -> Remote:
    """Return the file that a source names.

    Raises:
        FetchError: it doesn't name a file.
    """
    file = hub_file(source)
    if file is None:
        raise FetchError("source-not-found", f"{source} is not a file of the hub", hint="see docs/fetch.md")
    return HubSource(source, file, access)


def _url(endpoint: str, file: HubFile, revision: str) -> str:
    return f"{endpoint}/{file.owner}/{file.repository}/resolve/{quote(revision, safe='')}/{quote(file.file)}"
