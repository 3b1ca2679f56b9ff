"""What mkdocs is told beside mkdocs.yml: the pages at the repository's root, and links that leave docs/.

The README becomes the first page and, from its measured tables on, one of its own; CHANGELOG, CONTRIBUTING and SECURITY
are pages too. A link to another file of the repository becomes its address there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# files of the repository's root by the page of the site that shows them
PAGES = {
    "README.md": "index.md",
    **{f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")},
}
MEASURED = "## Measured"
# blocks of code, in which nothing is a link
CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
# the target of a link in Markdown, without a place on the page
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([\w./-]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text("utf-8")
        if name == "README.md":
            text, _, rest = text.partition(f"\n{MEASURED}\n")
            files.append(File.generated(config, "measured.md", content=f"# Measured\n{rest}"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the site; raises FileNotFoundError where one leads nowhere."""
    folder = "" if page.file.generated_by else "docs"

    def address(found: re.Match[str]) -> str:
        return _address(posixpath.normpath(posixpath.join(folder, found[1])), config)

    parts = CODE.split(markdown)
    # every second part is code
    parts[::2] = [LINK.sub(address, part) for part in parts[::2]]
    return "".join(parts)


def _address(path: str, config: MkDocsConfig) -> str:
    """Where the file `path` of the repository is shown."""
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"a page links to {path}, which is not there")
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/") and path.endswith((".md", ".png")):
        return path.removeprefix("docs/")
    return f"{config.repo_url}/blob/main/{path}"
