"""What was asked and measured so far, a line for each case and kind of picture: a run that is stopped goes on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lvlm.retention.costs import Costs


@dataclass(frozen=True)
class Entry:
    """Of a case: for each picture of a kind which questions were right; why there is nothing, where there is not."""

    case: str
    pictures: str
    right: list[list[bool]]
    costs: Costs | None = None
    refused: str = ""


@dataclass(frozen=True)
class Journal:
    """The lines of `path`, which are those of one `subject`: another model's are not mixed in."""

    path: Path
    subject: str

    def entries(self) -> dict[tuple[str, str], Entry]:
        """By case and kind of picture."""
        found = {}
        for line in self.path.read_text("utf-8").splitlines() if self.path.is_file() else []:
            said = json.loads(line)
            if said.pop("subject") == self.subject:
                costs = said.pop("costs")
                right = [[mark == "1" for mark in own] for own in said.pop("right")]
                entry = Entry(**said, right=right, costs=Costs(**costs) if costs else None)
                found[entry.case, entry.pictures] = entry
        return found

    def add(self, entry: Entry) -> None:
        """Append a line."""
        said = dataclasses.asdict(entry) | {"subject": self.subject}
        said["right"] = ["".join("01"[one] for one in own) for own in entry.right]
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
