"""The README as a package index shows it: what it links to in the repository stands there under its address."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# the beginning of a link or picture of Markdown, if its target is a path
RELATIVE = re.compile(r"(?P<mark>!?)\[[^]]*\]\((?=[\w./-]+[)#])")


class CustomMetadataHook(MetadataHookInterface):
    """Gives the project its readme."""

    def update(self, metadata: dict) -> None:
        """Add the readme to the project table `metadata`."""
        text = Path(self.root, "README.md").read_text("utf-8")
        repository = metadata["urls"]["Repository"]
        metadata["readme"] = {
            "content-type": "text/markdown",
            # a picture is wanted as it is, and not the page that shows it
            "text": RELATIVE.sub(
                lambda found: f"{found[0]}{repository}/{'raw' if found['mark'] else 'blob'}/main/", text
            ),
        }
