"""Vectors of both corpora on one scale: that of the rows to train on."""

from __future__ import annotations

import torch

from datapruner.evaluation.proxy import Rows


def scaled_vectors(train: Rows, test: Rows, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors `name` float32 [n, d], with mean 0 and deviation 1 over all numbers of `train`.

    One mean and one deviation for all of d: those of a column that hardly ever changes would blow up what is rare.
    """
    found = [torch.from_numpy(rows.vectors[name]).float() for rows in (train, test)]
    if found[0].shape[1:] != found[1].shape[1:]:
        raise ValueError(f"want {name!r} of one length in both corpora, got {[*map(len, (found[0][0], found[1][0]))]}")
    mean, deviation = found[0].mean(), found[0].std().clamp_min(1e-12)
    return (found[0] - mean) / deviation, (found[1] - mean) / deviation
