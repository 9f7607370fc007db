"""MkDocs hook: a link that leaves docs/ becomes the path in the repository, because the site has no such page."""

import re
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

_LINK = re.compile(r"(!?)\[([^\]]+)\]\(((?:\.\./)[^)]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """`[text](../experiments/x.md)` -> text (`experiments/x.md`); links inside docs/ stay."""
    folder = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent

    def rewritten(found: re.Match[str]) -> str:
        target = normpath(str(folder / found[3]))
        return found[0] if target.startswith("docs/") else f"{found[2]} (`{target}`)"

    return _LINK.sub(rewritten, markdown)
