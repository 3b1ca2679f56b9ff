"""Rows of one address: how many earlier rows have the same URL, written in any of the usual ways.

    score = number of earlier rows with the same address, 0 for the first

Higher is a later copy. Addresses are compared without scheme, "www.", user, default port, fragment, a slash at the end
and parameters that only follow the reader (utm_*, gclid, fbclid, ...); parameters are put in order, and the host
is in lower case. A row without an address (an empty one) is no copy. Otherwise as exact_duplicate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np

from datapruner.corpus.uids import hash64
from datapruner.scorers._copy_state import copy_details
from datapruner.scorers._equal import equal_state
from datapruner.scoring.scorer import NOTHING, Batch, Scorer, State

_FOLLOWS = re.compile(
    r"(utm_\w*|gclid|dclid|fbclid|msclkid|yclid|igshid|mc_[ce]id|sessionid|phpsessid|jsessionid)=.*", re.I
)


@dataclass(frozen=True)
class UrlDuplicate(Scorer):
    """Rule: the number of earlier rows with the same address in the field `url`."""

    url: str = "url"
    keep: Literal["drawn", "first"] = "drawn"

    needs: ClassVar[tuple[str, ...]] = ()
    scores_by_number: ClassVar[bool] = True
    direction: ClassVar[str] = "higher is a later copy, 0 the first"
    cost: ClassVar[str] = "a hash a row"
    default_selector: ClassVar[str] = "threshold:maximum=0"

    def check(self) -> None:
        if not self.url or self.keep not in ("drawn", "first"):
            raise ValueError(
                f"url_duplicate wants the name of a field and keep drawn or first, got {self.url!r} and {self.keep!r}"
            )

    def fields(self) -> tuple[str, ...]:
        return (self.url,)

    def fit(self, corpus: Iterable[Batch]) -> State:
        rows = ((batch.uids, _hashes(batch.fields[self.url], batch.uids)) for batch in corpus)
        return equal_state(rows, (), self.keep == "first")

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        if "counts" not in state:
            raise ValueError("url_duplicate wants the state that fit(corpus) returned")
        return state["counts"][batch.rows].astype(np.float32)

    def details(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        return copy_details(batch, state)


def address(url: str) -> str:
    """`url` without what does not matter; as it is where it is no URL."""
    try:
        parts = urlsplit(url.strip() if "://" in url else f"http://{url.strip()}")
        host, port = (parts.hostname or "").removeprefix("www."), parts.port
    except ValueError:
        return url.strip()
    if port not in (None, 80, 443):
        host += f":{port}"
    query = sorted(item for item in parts.query.split("&") if item and not _FOLLOWS.fullmatch(item))
    return f"{host}{parts.path.rstrip('/')}" + (f"?{'&'.join(query)}" if query else "")


def _hashes(urls: Sequence[str], uids: Sequence[str]) -> np.ndarray:
    found = [address(url) for url in urls]
    # one without an address equals only itself
    return hash64([name or f"\0{uid}" for name, uid in zip(found, uids, strict=True)])
