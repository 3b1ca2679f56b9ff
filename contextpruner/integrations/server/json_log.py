"""The server's log: a JSON object a line, with ids and numbers and never a text of a request.

Of an exception the type and the places in the code are written, not its message, which may quote a document.
"""

from __future__ import annotations

import json
import logging
import traceback
from types import TracebackType

LOG = logging.getLogger("contextpruner.serve")


def log(event: str, **fields: object) -> None:
    """One line about `event`."""
    LOG.info(event, extra={"fields": fields})


def log_error(event: str, error: BaseException, **fields: object) -> None:
    """One line about an exception that nobody expected."""
    LOG.error(event, extra={"fields": fields | _of_error(error, error.__traceback__)})


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The time in seconds, level and event, then the fields."""
        line: dict[str, object] = {"time": round(record.created, 3), "level": record.levelname.lower()}
        line["event"] = record.getMessage()
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            # a message beside a traceback is that of another library: it may hold the traceback already
            line["event"] = "error"
            line |= _of_error(record.exc_info[1], record.exc_info[2])
        return json.dumps(line)


def _of_error(error: BaseException, place: TracebackType | None) -> dict[str, object]:
    frames = traceback.extract_tb(place)
    return {"error": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno}" for frame in frames[-8:]]}
