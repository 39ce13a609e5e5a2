"""The grammar of sources: what a manifest may name and the entrypoint can fetch. A text is parsed once, into a value.

A kind of source is a row of ``KINDS`` here and a module of ``prepare_models_entrypoint.sources`` that has
``remote(source, access)``.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from functools import lru_cache
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Tuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

NGC_EXAMPLE = "ngc://nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0/peoplesemsegnet_shuffleseg_etlt.etlt"
NO_FILE_HINT = (
    "check the path: in a manifest it starts at the manifest's directory, on a command line at the current one"
)
_HF_EXAMPLE = "hf://onnx-community/yolov10n@main/onnx/model.onnx"
_TELLING = ("path", "redirect")
_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*)://"
_NGC = r"ngc://(?P<org>[^/:?]+)(?:/(?P<team>[^/:?]+))?/(?P<model>[^/:?]+):(?P<version>[^/?]+)(?:/|\?file=)(?P<file>.+)"
_HF = r"(?a)hf://(?P<owner>[\w.-]+)/(?P<repository>[\w.-]+)(?:@(?P<revision>[^/@?#]+))?/(?P<file>[^?#]+[^?#/])"
_NGC_NAME = r"(?a)(?P<scheme>ngc://)?(?P<model>[\w.-]+(?:/[\w.-]+){1,2})(?::(?P<version>[\w.-]+))?/?"
_MEMBER = r"(?i)(?P<archive>.+\.(?:tar|tar\.gz|tgz|tar\.bz2|tar\.xz|zip))!/?(?P<member>.+)"
_PIN = r"(?P<source>.+)#sha256=(?P<sha256>[0-9a-fA-F]{64})"


class Kind(NamedTuple):
    """A kind of remote source.

    name: of its module in ``sources``. schemes: what its URLs begin with. expects: what such a source looks like, for
    messages.
    pattern: what such a source begins with, for the manifest's schema.
    is_valid: whether a text with such a scheme is valid. is_url: whether it may contain a user, a password and a query.
    """

    name: str
    schemes: Tuple[str, ...]
    expects: str
    pattern: str
    is_valid: Callable[[str], bool]
    is_url: bool = True


class NgcFile(NamedTuple):
    """The parts of ``ngc://org[/team]/model:version/file``; ``team`` may be empty."""

    org: str
    team: str
    model: str
    version: str
    file: str


class HubFile(NamedTuple):
    """The parts of ``hf://owner/repository[@revision]/file``. revision: branch, tag or commit; None for the default."""

    owner: str
    repository: str
    revision: Optional[str]
    file: str


def ngc_file(text: str) -> Optional[NgcFile]:
    """Return the parts of an NGC source, or None if it is not one."""
    match = re.fullmatch(_NGC, text)
    return NgcFile(**{name: value or "" for name, value in match.groupdict().items()}) if match else None


def hub_file(text: str) -> Optional[HubFile]:
    """Return the parts of a Hugging Face source, or None if it is not one."""
    match = re.fullmatch(_HF, text)
    return HubFile(**match.groupdict()) if match and ".." not in match["file"].split("/") else None


def at_revision(text: str, revision: Optional[str]) -> str:
    """Return the source of the same file at a revision; unchanged if its kind has none or ``revision`` is None."""
    file = hub_file(text)
    if file is None or revision is None:
        return text
    return f"hf://{file.owner}/{file.repository}@{revision}/{file.file}"


def ngc_advice(text: str) -> Optional[str]:
    """Return advice for a model name on NGC, with or without its version and ``ngc://``; None for other texts."""
    match = re.fullmatch(_NGC_NAME, text)
    if match is None or not (match["scheme"] or match["version"]):
        return None
    model, version = match["model"], match["version"]
    if not version:
        return f"add a version and a file; its versions: prepare-models ngc versions {model}"
    listing = (
        f"its files: prepare-models ngc files {model}:{version}, its versions: prepare-models ngc versions {model}"
    )
    return f"write ngc://{model}:{version}/FILE; {listing}"


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


_FILESYSTEMS = ("s3", "gs", "gcs", "az", "abfs", "sftp")
KINDS = (
    Kind(
        "http", ("https", "http"), "https:// with a host name and an optional port",
        "[Hh][Tt][Tt][Pp][Ss]?://", _is_web_url,
    ),
    Kind(
        "ngc", ("ngc",), f"ngc://org[/team]/model:version/file, such as {NGC_EXAMPLE}",
        r"ngc://[^/:?]+(/[^/:?]+)?/[^/:?]+:[^/?]+(/|\?file=).", lambda text: ngc_file(text) is not None, is_url=False,
    ),
    Kind(
        "huggingface", ("hf",), f"hf://owner/repository[@revision]/file, such as {_HF_EXAMPLE}",
        "hf://[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+(@[^/@?#]+)?/[^/?#]",
        lambda text: hub_file(text) is not None, is_url=False,
    ),
    Kind("filesystem", _FILESYSTEMS, "s3://bucket/file, or a URL of fsspec", f"({'|'.join(_FILESYSTEMS)})://", bool),
)  # fmt: skip
_BY_SCHEME = {scheme: kind for kind in KINDS for scheme in kind.schemes}
EXPECTED = "a path, file://, https://, ngc://, hf:// or s3:// (gs, az, sftp) URL, or ARCHIVE!FILE"


class Source(NamedTuple):
    """A source, as the user wrote it and parsed.

    text: as written. scheme: in lower case; None for a path. kind: of a remote file; None for a local file, a file in
    an archive, and a text that is not a source. path: of a local file. archive: the archive that contains the file,
    itself a source. inner: the file's path in the archive.
    """

    text: str
    scheme: Optional[str]
    kind: Optional[Kind] = None
    path: Optional[Path] = None
    archive: Optional["Source"] = None
    inner: str = ""

    @classmethod
    def of(cls, text: str) -> "Source":
        """Return the source of a text, going by its form; ``problem`` says whether it can be fetched."""
        return _parsed(text)

    @property
    def outer(self) -> "Source":
        """Return the file that is needed first: the archive of a file in one, else the source itself."""
        return self.archive if self.archive is not None else self

    @property
    def is_remote(self) -> bool:
        """Return whether the bytes come from another machine."""
        return self.outer.path is None

    @property
    def public(self) -> str:
        """Return the text for reports and logs: without user, password and the values of a URL's query.

        Query values that only name a file (NGC's ``path`` and ``redirect``) stay.
        """
        if self.archive is not None:
            return f"{self.archive.public}!{self.inner}"
        if self.scheme in (None, "file") or (self.kind is not None and not self.kind.is_url):
            return self.text
        try:
            parts = urlsplit(self.text)
        except ValueError:
            return f"{self.scheme}://..."
        pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
        query = "&".join(key + (f"={value}" if key in _TELLING else "=...") for key, _, value in pairs)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))

    @property
    def id(self) -> str:
        """Return what distinguishes two sources whose public forms are the same."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()[:16]

    @property
    def problem(self) -> Optional[str]:
        """Return what is expected instead if this source can't be fetched, or None."""
        if self.archive is not None:
            return self.archive.problem
        if self.kind is not None:
            advice = ngc_advice(self.text)
            expects = f"{self.kind.expects}; {advice}" if advice else self.kind.expects
            return None if self.kind.is_valid(self.text) else expects
        if not self.text or self.scheme not in (None, "file") or "\0" in str(self.path):
            return EXPECTED
        return "file:/// and an absolute path" if self.scheme and not self.text.startswith("file:///") else None

    def beside(self, location: str) -> Optional["Source"]:
        """Return the source of a file next to this one, such as the weights of a model; None if unknown.

        ``location``: relative path, as an ONNX model names its external data.
        """
        if self.archive is not None:
            inner = posixpath.join(posixpath.dirname(self.inner.replace("\\", "/")), location)
            return Source.of(f"{self.archive.text}!{inner}")
        if self.path is not None:
            return Source.of(str(self.path.parent / location))
        if self.kind is None or not self.kind.is_url:
            return Source.of(f"{self.text.rpartition('/')[0]}/{location}") if self.kind else None
        parts = urlsplit(self.text)
        if "path" in [pair.partition("=")[0] for pair in parts.query.split("&")]:
            return None  # the query names the file
        path = posixpath.join(posixpath.dirname(parts.path), quote(location))
        return Source.of(urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Source:
    match = re.fullmatch(_MEMBER, text) if "!" in text else None
    with_scheme = re.match(_SCHEME, text)
    scheme = with_scheme.group(1).lower() if with_scheme else None
    if match is not None:
        return Source(text, scheme, archive=_parsed(match["archive"]), inner=match["member"])
    if scheme is None:
        return Source(text, None, path=Path(text))
    if scheme == "file":
        return Source(text, scheme, path=Path(unquote(urlsplit(text).path)))
    return Source(text, scheme, kind=_BY_SCHEME.get(scheme))


def split_pin(source: str) -> Tuple[str, Optional[str]]:
    """Return a source without its ``#sha256=`` ending, and the digest in small letters (None without one)."""
    match = re.fullmatch(_PIN, source)
    return (match["source"], match["sha256"].lower()) if match else (source, None)


def no_file(path: Path) -> Optional[str]:
    """Return why there is no file at a path, or None."""
    return None if path.is_file() else f"{path} {'is a directory' if path.is_dir() else 'does not exist'}"
