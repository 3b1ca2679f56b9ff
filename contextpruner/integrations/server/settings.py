"""What a server is started with: limits, keys and the rules of requests that name none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contextpruner.decisions.rules import RULES, Policy


@dataclass(frozen=True)
class ServerSettings:
    """Limits of a server; raises ValueError for one that is no positive number.

    `max_body_bytes` and `max_documents` are those of one request, `max_held_bytes` of all bodies that are read or
    worked on at once. A body that has not come after `body_seconds` is given up. `max_queue` requests wait at most,
    beside the `max_batch` that are labelled together; `shutdown_seconds` is how long a stopping server finishes what
    it accepted. With `api_keys` each request carries one of them. In `shadow` mode answers hold everything, and what
    would have been dropped is logged. `policy` holds where a request gives no rule of its own.
    """

    max_body_bytes: int = 8 << 20
    max_held_bytes: int = 256 << 20
    max_documents: int = 1000
    max_queue: int = 256
    max_batch: int = 32
    body_seconds: float = 30.0
    shutdown_seconds: float = 30.0
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    shadow: bool = False
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_held_bytes", "max_documents", "max_queue", "max_batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} wants an integer of at least 1, got {value!r}")
        for name in ("body_seconds", "shutdown_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} wants a number of seconds above 0, got {value!r}")
        if any(not key.strip() or not key.isascii() for key in self.api_keys):
            raise ValueError("api_keys wants ASCII texts that are not empty")

    def policy_for(self, given: Mapping[str, object]) -> Policy:
        """The server's policy with what a request gives; its rule takes the place of the server's rules."""
        names_rule = any(given.get(rule) is not None for rule in RULES)
        none: dict[str, object] = dict.fromkeys(RULES) if names_rule else {}
        # a threshold and a target recall exclude each other, so that the rules change places in one step
        return replace(self.policy, **(none | dict(given)))  # type: ignore[arg-type]
