"""Pruning around what a harness does with a model: every generate() is pruned, none may fail unseen.

A harness may catch what generate() raises and score an empty answer, so that a method that does not fit a model
would look like a bad one. Here the first such error is raised once the harness is through.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from tokenpruner.api import prune
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.models.overrides import method_wrapped
from tokenpruner.report.records import Report


@dataclass
class Totals:
    """What all calls together came to; milliseconds are wall-clock."""

    n_calls: int = 0
    n_images: int = 0
    visual_before: int = 0
    visual_after: int = 0
    selection_ms: float = 0.0
    total_ms: float = 0.0

    def take(self, report: Report) -> None:
        """Add a call's numbers, and free them: a benchmark has many calls."""
        self.n_calls += report.n_calls
        self.n_images += report.n_images
        self.visual_before += report.visual_before
        self.visual_after += report.visual_after
        self.selection_ms += report.selection_ms
        self.total_ms += report.total_ms
        report.clear()


@contextmanager
def pruned_generate(model: nn.Module, method: TokenMethod) -> Iterator[Totals]:
    """Prune every generate() of `model` inside; yields the totals, which fill up.

    Raises RuntimeError at the end where a generate() failed and the harness went on; warns where calls were made
    and no image was seen.
    """
    # the first one alone: each holds what its frames did
    n_failed, first_error = 0, None
    totals = Totals()
    with prune(model, method) as report:

        def noted(generate: Callable[..., object]) -> Callable[..., object]:
            @functools.wraps(generate)
            def wrapped(*args: object, **kwargs: object) -> object:
                nonlocal n_failed, first_error
                try:
                    return generate(*args, **kwargs)
                except Exception as error:
                    n_failed, first_error = n_failed + 1, first_error or error
                    raise
                finally:
                    totals.take(report)

            return wrapped

        with method_wrapped(model, "generate", noted):
            yield totals
    if n_failed:
        raise RuntimeError(f"generate() failed {n_failed} times, first with: {first_error}") from first_error
    if totals.n_calls and not totals.n_images:
        warnings.warn(f"{report.method}: no image was seen in {totals.n_calls} calls, nothing was pruned", stacklevel=3)
