"""The README as a package index shows it: what it links to in the repository stands there under its address."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# where the target of a link or picture of Markdown begins, if that is a path
RELATIVE = re.compile(r"(?<=\]\()(?=[\w./-]+[)#])")


class CustomMetadataHook(MetadataHookInterface):
    """Gives the project its readme."""

    def update(self, metadata: dict) -> None:
        """Add the readme to the project table `metadata`."""
        text = Path(self.root, "README.md").read_text("utf-8")
        address = f"{metadata['urls']['Repository']}/blob/main/"
        metadata["readme"] = {"content-type": "text/markdown", "text": RELATIVE.sub(address, text)}
