"""What was asked and measured so far, a line for each case and kind of picture: a run that is stopped goes on.

    {"session": {...}, "sources": ...}                      the machine that the next lines are from, and its code
    {"case": ..., "pictures": ..., "right": ["110", ...]}   which questions about each picture were right

One process writes. A line that was cut short is passed over.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lvlm.retention.costs import Costs

# in place of a kind of picture, where a case has been measured
MEASURED = "measured"


@dataclass(frozen=True)
class Entry:
    """Of a case: for each picture of a kind which questions were right; why there is nothing, where there is not.

    Its costs are an entry of their own, of the pictures `MEASURED`.
    """

    case: str
    pictures: str
    right: list[list[bool]]
    costs: Costs | None = None
    refused: str = ""


@dataclass(frozen=True)
class Session:
    """The machine of a run, as a record has it, and the digest of its code."""

    machine: Mapping[str, object]
    sources: str


@dataclass(frozen=True)
class Journal:
    """The lines of `path`, which are those of one `subject`: another model's are not mixed in."""

    path: Path
    subject: str

    def entries(self) -> dict[tuple[str, str], Entry]:
        """By case and kind of picture."""
        found = {}
        for said in self._lines():
            if "case" in said:
                costs = said.pop("costs")
                right = [[mark == "1" for mark in own] for own in said.pop("right")]
                entry = Entry(**said, right=right, costs=Costs(**costs) if costs else None)
                found[entry.case, entry.pictures] = entry
        return found

    def sessions(self) -> list[Session]:
        """The oldest first."""
        return [Session(said["session"], said["sources"]) for said in self._lines() if "session" in said]

    def begin(self, session: Session) -> None:
        """Say what the next lines are from; raises ValueError where those before are another device's."""
        devices = {one.machine["device"] for one in self.sessions()}
        if devices - {session.machine["device"]}:
            raise ValueError(
                f"{self.path} was made on {', '.join(map(str, devices))}, this is {session.machine['device']}: take "
                "another --journal, or --minutes 0 to tell what is there"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and not self.path.read_bytes().endswith(b"\n"):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\n")
        self._add({"session": dict(session.machine), "sources": session.sources})

    def add(self, entry: Entry) -> None:
        """Append a line."""
        said = dataclasses.asdict(entry)
        said["right"] = ["".join("01"[one] for one in own) for own in entry.right]
        self._add(said)

    def _add(self, said: Mapping[str, object]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**said, "subject": self.subject}) + "\n")

    def _lines(self) -> Iterator[dict]:
        for line in self.path.read_text("utf-8").splitlines() if self.path.is_file() else []:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if said.pop("subject") == self.subject:
                yield said
