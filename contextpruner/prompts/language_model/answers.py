"""How likely answers are behind prompts: ln p(answer | prompt), summed over the answer's tokens, in nats.

Prompts that begin alike are read once as far as they do; what is left of each is read from there, and its answers from
its own end. The first token of every answer costs nothing more than its prompt. Without a cache every prompt is read
anew for every answer: the same numbers but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from contextpruner.models.batches import Row
from contextpruner.models.causal_lm import CausalLM
from contextpruner.prompts.language_model.prefix_cache import Read, nothing, read_on
from prunekernels.token_stats import token_stats

Ids = Sequence[int]
# answers that are read at a time have about so many tokens before them, of which each has a copy of the keys
MOST_TOKENS = 8192
# how far a cached and a whole pass may be apart, in nats over some tokens, by bytes of a number
NEAR = {4: 1e-3, 2: 0.5}


class AnswerReader(NamedTuple):
    """A model, how many prompts it reads at a time, and whether it reads what they share once."""

    lm: CausalLM
    batch_size: int = 8
    prefix_cache: bool = True

    def log_likelihoods(self, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]]) -> list[np.ndarray]:
        """ln p of each of the `answers` of each prompt, float64 [answers] a prompt; none of them is empty."""
        if self.prefix_cache:
            return self._from_cache(prompts, answers)
        pairs = [(prompt, answer) for prompt, own in zip(prompts, answers, strict=True) for answer in own]
        rows = [(Row((*prompt, *answer), 0), len(answer)) for prompt, answer in pairs]
        means = self.lm.mean_nll(rows, self.batch_size)
        totals = -np.array(means) * [len(answer) for _, answer in pairs]
        return np.split(totals, np.cumsum([len(own) for own in answers])[:-1])

    @torch.inference_mode()
    def _from_cache(self, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]]) -> list[np.ndarray]:
        shared = common_prefix(prompts)
        start = nothing(self.lm)
        if shared:
            start = read_on(self.lm, start, [0], [prompts[0][:shared]])[1]
        found = [np.zeros(len(own)) for own in answers]
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        for at in range(0, len(order), self.batch_size):
            rows = order[at : at + self.batch_size]
            tails = [prompts[row][shared:] for row in rows]
            own = self._behind(start, tails, [answers[row] for row in rows])
            for row, values in zip(rows, own, strict=True):
                found[row] = values
        return found

    def _behind(self, start: Read, tails: Sequence[Ids], answers: Sequence[Sequence[Ids]]) -> list[np.ndarray]:
        """ln p of the answers of prompts that end with `tails`, all of them behind the one row of `start`."""
        origin = [0] * len(tails)
        if all(len(own) == 1 for own in answers):
            only = [own[0] for own in answers]
            whole = [[*tail, *answer[:-1]] for tail, answer in zip(tails, only, strict=True)]
            hidden, _ = read_on(self.lm, start, origin, whole)
            parts = [one[len(tail) - 1 : len(own)] for one, tail, own in zip(hidden, tails, whole, strict=True)]
            return [part.sum(keepdims=True) for part in self._log_p(parts, only)]
        hidden, read = read_on(self.lm, start, origin, tails)
        ends = [one[len(tail) - 1 : len(tail)] for one, tail in zip(hidden, tails, strict=True)]
        wide = [end.expand(len(own), -1) for end, own in zip(ends, answers, strict=True)]
        found = self._log_p(wide, [[answer[0] for answer in own] for own in answers])
        more = [(row, at) for row, own in enumerate(answers) for at, answer in enumerate(own) if len(answer) > 1]
        more.sort(key=lambda pair: -len(answers[pair[0]][pair[1]]))
        most = max(self.batch_size, MOST_TOKENS // read.mask.shape[1])
        for begin in range(0, len(more), most):
            chosen = more[begin : begin + most]
            rest = [answers[row][at] for row, at in chosen]
            hidden, _ = read_on(self.lm, read, [row for row, _ in chosen], [answer[:-1] for answer in rest])
            parts = [one[: len(answer) - 1] for one, answer in zip(hidden, rest, strict=True)]
            said = self._log_p(parts, [answer[1:] for answer in rest])
            for (row, at), values in zip(chosen, said, strict=True):
                found[row][at] += values.sum()
        return found

    def _log_p(self, states: Sequence[torch.Tensor], labels: Sequence[Ids]) -> list[np.ndarray]:
        """ln p of the tokens `labels[i]`, float64 [T], out of the states [T, D] before them."""
        head = self.lm.head
        flat = torch.tensor([token for own in labels for token in own], device=head.weight.device)
        nll = token_stats(torch.cat([*states]), head.weight, flat, head.bias).nll.double().cpu()
        return [-part.numpy() for part in nll.split([len(own) for own in labels])]


def common_prefix(prompts: Sequence[Ids]) -> int:
    """How many tokens all prompts begin with alike, so that at least one of each is left."""
    most = min(len(prompt) for prompt in prompts) - 1
    first = prompts[0]
    for at in range(most):
        if any(prompt[at] != first[at] for prompt in prompts):
            return at
    return most


def check_prefix_cache(reader: AnswerReader, name: str) -> None:
    """Refuse a model that reads on from a cache otherwise than from the start; `name` is the model's, for the error."""
    size = reader.lm.model.config.get_text_config().vocab_size
    ids = (torch.arange(24) * 7919 % size).tolist()
    prompts, answers = [ids[:8], [*ids[:6], *ids[9:14]]], [[ids[15:18], ids[16:17]]] * 2
    wanted = reader._replace(prefix_cache=False).log_likelihoods(prompts, answers)
    near = NEAR[reader.lm.head.weight.element_size()]
    try:
        got = reader.log_likelihoods(prompts, answers)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: it reads on from no cache ({error!s:.100}): want prefix_cache: false") from error
    if not np.allclose(np.concatenate(wanted), np.concatenate(got), rtol=0, atol=near):
        raise ValueError(f"{name}: it reads on from a cache otherwise than from the start: want prefix_cache: false")
