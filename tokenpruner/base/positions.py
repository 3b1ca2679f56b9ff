"""Where the tokens that are left stand in the sequence: what a method says, and what becomes of it on a model.

    keep        at their positions, with gaps
    compact     numbered anew, without gaps; not where a position has three parts, time, height and width
    auto        "compact" where it can be had, "keep" elsewhere
    published   what the method's authors do

"auto" is what the published codes of methods before the decoder and serving engines do, and on LLaVA-1.5-7B it is
better: at 64 tokens 92.2 against 90.6 % of eight benchmarks (RESTORE, ICML 2026).
"""

from __future__ import annotations

from typing import Literal

Place = Literal["keep", "compact"]
Positions = Literal["auto", "keep", "compact", "published"]


def place(wanted: Positions, published: Place, model: str, has_mrope: bool, can_number_anew: bool = True) -> Place:
    """Where a method's tokens stand in a `model`, the one decision of it.

    `has_mrope` says that a position has three parts; `can_number_anew` that the method and the model's layers could do
    with other positions. Raises ValueError for "compact" where a position has three parts.
    """
    if wanted == "auto":
        return "compact" if can_number_anew and not has_mrope else "keep"
    chosen: Place = published if wanted == "published" else wanted
    if chosen == "compact" and has_mrope:
        raise ValueError(f'positions="compact" wants one position a token, {model} has three: take positions="keep"')
    return chosen
