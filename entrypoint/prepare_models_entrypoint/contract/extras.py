"""What an extra of this tool is for, and the command that installs it from where the tool itself came from."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import NamedTuple, Optional, Union
from urllib.parse import unquote, urlsplit

_PACKAGES = Path(__file__).parents[2]
_IN_AN_IMAGE = Path("/opt/prepare-models/entrypoint")  # where Dockerfiles put this package
# Packages that fsspec imports for a kind of URL, and does not bring itself.
_OF_FILESYSTEMS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "sftp": "paramiko"}


class Missing(NamedTuple):
    """A sentence that says what can't be done without a package, and what to do about it."""

    message: str
    hint: str


def missing(what: str, extra: str, why: Union[ImportError, str], *beside: str) -> Missing:
    """Return what to say about something that needs an extra which is not installed.

    Args:
        what: what needs it, such as "a farm".
        extra: the name of the extra.
        why: the error of the import, or the names of the packages.
        beside: packages that are installed with it.
    """
    if isinstance(why, ImportError) and not isinstance(why, ModuleNotFoundError):
        return Missing(f"{what} needs a package that does not load: {why}", install(extra, *beside))
    names = why if isinstance(why, str) else (why.name or "").partition(".")[0]
    return Missing(f"{what} needs {names}, which is not installed", install(extra, *beside))


def missing_filesystem(url: str, scheme: Optional[str], error: ImportError) -> Missing:
    """Return what is missing for a URL of fsspec. ``url``: as it may be shown."""
    package = _OF_FILESYSTEMS.get(scheme or "")
    if error.name != "fsspec" and package is None:  # fsspec names the package
        return Missing(f"{url} needs more packages: {error}", f"install them: {sys.executable} -m pip install PACKAGE")
    beside = (package,) if package else ()
    return missing(url, "remote", " with ".join(("fsspec", *beside)), *beside)


def install(extra: str, *beside: str) -> str:
    """Return the command that installs an extra into this Python, from the clone if the tool came from one.

    A container no longer exists by then, so inside one the text says where to work instead.
    """
    if _PACKAGES == _IN_AN_IMAGE:
        wanted = " and ".join((f"prepare-models[{extra}]", *beside))
        return f"use --executor local, with {wanted} installed there: the images leave it out"
    clone = _clone()
    wanted = f"prepare-models[{extra}]" if clone is None else f"{clone}[{extra}]"
    return shlex.join([sys.executable, "-m", "pip", "install", wanted, *beside])


def _clone() -> Optional[Path]:
    """Return the clone that this runs in or was installed from; None if deleted, or if installed from an index."""
    places = [_PACKAGES.parent]
    for record in _PACKAGES.glob("prepare_models-*.dist-info/direct_url.json"):
        try:
            url = urlsplit(str(json.loads(record.read_text(encoding="utf-8"))["url"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue
        places += [Path(unquote(url.path))] if url.scheme == "file" else []
    clones = (each for each in places if (each / "pyproject.toml").is_file())
    return next((each for each in clones if (each / "orchestrator/prepare_models").is_dir()), None)
