"""How far a pruned model agrees with the whole one, input by input and schedule by schedule; no labels are needed.

    agreement_s = min(1, p_s(a) / p(a))        a: the answer that the whole model gives, greedily
    share_s     = FLOPs of the decoder's layers for the prompt under s / those of the whole prompt

p is the likelihood of the answer's tokens, each behind the ones before it, p_s that of the model pruned by schedule s.
The prompt alone has a say in what is pruned, as in generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from tokenpruner.api import prune
from tokenpruner.base.inside_decoder import Cost
from tokenpruner.base.layer_flow import Flow
from tokenpruner.decoder.loss_labels import IGNORED
from tokenpruner.methods._flow_router import checked_flows
from tokenpruner.methods.flows import Flows
from tokenpruner.models import adapter as adapters
from tokenpruner.models.compiled import uncompiled
from tokenpruner.report.prefill_record import PrefillCosts

Inputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Agreement:
    """Of N inputs and S `schedules`: what a router reads of the inputs, `features` float32 [N, F], and what it learns.

    That is `agreement` float32 [N, S] in [0, 1]; `flops` float64 [N, S] are those under each schedule, `whole` float64
    [N] those of all tokens in all layers.
    """

    schedules: tuple[str, ...]
    features: torch.Tensor
    agreement: torch.Tensor
    flops: torch.Tensor
    whole: torch.Tensor

    def rows(self, index: torch.Tensor) -> Agreement:
        """That of some inputs."""
        own = (x[index] for x in (self.features, self.agreement, self.flops, self.whole))
        return Agreement(self.schedules, *own)


@dataclass(frozen=True)
class Answer:
    """What the whole model says behind B prompts: `tokens` int64 [B, A], `real` bool up to their end, and log p(a)."""

    tokens: torch.Tensor
    real: torch.Tensor
    score: torch.Tensor


@dataclass(frozen=True)
class Probe(Flows):
    """Gives every row the schedule of one `place`, and notes what a router would read."""

    place: int = 0
    seen: list[torch.Tensor] = field(default_factory=list, compare=False)

    def flows(self) -> tuple[Flow, ...]:
        """All of them."""
        return checked_flows(self.schedules)

    def route(self, features: torch.Tensor) -> torch.Tensor:
        """The one of `place`."""
        self.seen.append(features)
        return torch.full((len(features),), self.place)


@torch.no_grad()
def agreements(model: nn.Module, batches: Iterable[Inputs], method: Flows, n_new: int = 16) -> Agreement:
    """Run `model`, and `model` under each of the schedules of `method`, on `batches` of what its forward takes.

    Prompts have pictures and end together, padding on the left; answers are of up to `n_new` tokens. Raises ValueError
    for other prompts, and as `prune` does.
    """
    if len(method.schedules) < 2 or method.weights or all(flow.keeps_all for flow in checked_flows(method.schedules)):
        raise ValueError(f"want at least two schedules to choose from, and no weights, got {method}")
    if model.training:
        raise ValueError(f"want {type(model).__name__} in evaluation, got it in training: model.eval()")
    with uncompiled(model) as parts:
        costs = PrefillCosts.of(adapters.find(parts.model).backbone).layers
        found = [_of_batch(parts.model, inputs, method, costs, n_new) for inputs in batches]
    if not found:
        raise ValueError("want at least one batch, got none")
    return Agreement(method.schedules, *(torch.cat(own) for own in zip(*found, strict=True)))


def _of_batch(
    model: nn.Module, inputs: Inputs, method: Flows, costs: Sequence[Cost | None], n_new: int
) -> tuple[torch.Tensor, ...]:
    """Features, agreement, FLOPs and those of the whole prompts."""
    n_rows, length = inputs["input_ids"].shape
    if not bool(inputs["attention_mask"][:, -1].all()):
        raise ValueError("want prompts that end together, padded on the left, got padding behind one")
    answer = _answer(model, inputs, n_new)
    told, sizes = _with_answer(inputs, answer), [[] for _ in range(n_rows)]  # type: ignore[var-annotated]
    flows, scores = checked_flows(method.schedules), []
    for place, flow in enumerate(flows):
        if flow.keeps_all:
            scores.append(answer.score)
            continue
        probe = Probe(method.schedules, place=place, positions=method.positions, newlines=method.newlines)
        with prune(model, probe) as report:
            logits = model(**told, use_cache=False).logits
        scores.append(_score(logits[:, length - 1 : -1], answer.tokens, answer.real))
    for image in report.images:
        sizes[image.row].append(image.size)
    if not all(sizes):
        raise ValueError("want a picture in every prompt, got one without")
    n_tokens = inputs["attention_mask"].sum(1).tolist()
    others = [n - sum(own) for n, own in zip(n_tokens, sizes, strict=True)]
    flops = [[flow.flops(costs, *row) for flow in (*flows, Flow())] for row in zip(sizes, others, strict=True)]
    told_flops = torch.tensor(flops, dtype=torch.float64)
    agreement = (torch.stack(scores, 1) - answer.score[:, None]).clamp(max=0).exp()
    return probe.seen[0].float().cpu(), agreement.float().cpu(), told_flops[:, :-1], told_flops[:, -1]


def _answer(model: nn.Module, inputs: Inputs, n_new: int) -> Answer:
    """The greedy one."""
    said = model.generate(  # type: ignore[operator]
        **inputs,
        max_new_tokens=n_new,
        do_sample=False,
        num_beams=1,
        return_dict_in_generate=True,
        output_logits=True,
    )
    tokens = said.sequences[:, inputs["input_ids"].shape[1] :]
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    ends = [] if ends is None else [ends] if isinstance(ends, int) else [*ends]
    is_end = torch.isin(tokens, torch.tensor(ends, dtype=tokens.dtype, device=tokens.device))
    real = is_end.cumsum(1) - is_end.long() == 0
    return Answer(tokens, real, _score(torch.stack(said.logits, 1), tokens, real))


def _score(logits: torch.Tensor, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The log-likelihood [B] of `tokens` [B, A], where `real`, by the `logits` [B, A, V] that predict them."""
    each = logits.float().log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    return each.masked_fill(~real, 0).sum(1)


def _with_answer(inputs: Inputs, answer: Answer) -> dict[str, torch.Tensor]:
    """The prompts with their answers, which are labels: so they have no say."""
    if "position_ids" in inputs:
        raise ValueError("want prompts without position_ids, which say nothing of an answer")
    ids, real = inputs["input_ids"], answer.real
    found = {
        # what has an entry a token says 0 of text
        name: torch.nn.functional.pad(value, (0, real.shape[1])) if value.shape == ids.shape else value
        for name, value in inputs.items()
    }
    found["input_ids"] = torch.cat([ids, answer.tokens], 1)
    found["attention_mask"] = torch.cat([inputs["attention_mask"], real.to(inputs["attention_mask"])], 1)
    labels = answer.tokens.masked_fill(~real, IGNORED)
    return found | {"labels": torch.cat([torch.full_like(ids, IGNORED), labels], 1)}
