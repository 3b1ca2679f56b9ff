"""The scoring core of prunekit: tensors in, tensors out. Each primitive is one file of its own name."""

from prunekernels import budget, segments, select
from prunekernels.el2n import el2n
from prunekernels.farthest_point import farthest_point
from prunekernels.token_stats import TokenStats, token_stats

__all__ = ["TokenStats", "budget", "el2n", "farthest_point", "segments", "select", "token_stats"]
