"""A hook of MkDocs: pages from outside ``docs``, the navigation of generated pages, and links into the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_CODE = "https://github.com/prepare-models/prepare-models/blob/main/"
_RAW = "https://raw.githubusercontent.com/prepare-models/prepare-models/main/"
_OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill sections that end in a slash with the pages of that folder."""
    config.nav = _filled(config.nav)
    return config


def _filled(nav: Any) -> Any:
    if isinstance(nav, dict):
        return {title: _filled(below) for title, below in nav.items()}
    if isinstance(nav, str) and nav.endswith("/"):
        return [f"{nav}{file.name}" for file in sorted((ROOT / "docs" / nav).glob("*.md"))]
    if isinstance(nav, list):
        filled = [(entry, _filled(entry)) for entry in nav]
        return [one for entry, new in filled for one in (new if isinstance(entry, str) and entry != new else [new])]
    return nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages above ``docs``."""
    for name, page in _OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Make links to pages of the repository lead to the site's pages, and other links to the repository."""
    outside = {new: old for old, new in _OUTSIDE.items()}.get(page.file.src_uri)
    folder = Path() if outside else Path("docs", page.file.src_uri).parent
    up = "../" * page.file.src_uri.count("/")
    return _LINK.sub(lambda link: f"]({_target(link['target'], folder, up)}{link['anchor'] or ''})", markdown)


def _target(target: str, folder: Path, up: str) -> str:
    path = target.removeprefix(_CODE).removeprefix(_RAW)
    if "://" in path:
        return target
    if path == target:
        path = _normal(folder / target)
    if path in _OUTSIDE:
        return up + _OUTSIDE[path]
    return up + path.removeprefix("docs/") if path.startswith("docs/") else _CODE + path


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
