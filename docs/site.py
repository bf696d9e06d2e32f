"""What `make docs` adds to the pages of this folder: README and its neighbours, and links that lead to them.

The pages are written for whoever reads them in the repository. MkDocs knows only the files of this folder.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# Files outside of docs/, and what they are called in the site.
ADDED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE",
    "examples/control_plane/control_plane.py": "examples/control_plane/control_plane.py",
    "examples/control_plane/demo.py": "examples/control_plane/demo.py",
    "examples/occupancy.ipynb": "examples/occupancy.ipynb",
    "examples/weekdays_on_dask.py": "examples/weekdays_on_dask.py",
    ".env.example": "env.example",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]* src=[\"']?https?:"
    r"|<link\b(?![^>]* rel=[\"']?(?:canonical|next|prev))[^>]* href=[\"']?https?:"
)


def on_files(files: Files, config: Any) -> Files:
    for source, name in ADDED.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are in the repository, turned into links of the site."""
    source = next((path for path, name in ADDED.items() if name == page.file.src_uri), f"docs/{page.file.src_uri}")

    def turned(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        name = ADDED.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(turned, markdown)


def on_post_build(config: Any) -> None:
    """Refuse a page that loads anything from another host: the site is read offline, too."""
    for page in Path(config.site_dir).rglob("*.html"):
        if found := LOADED.search(page.read_text()):
            raise PluginError(f"{page} loads something from elsewhere: {found[0]}")
