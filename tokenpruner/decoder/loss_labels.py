"""The loss of a shortened sequence: labels are cut as the tokens were, and shifted after that.

    loss = mean over kept tokens t_i of  -log p(label of t_i | kept tokens before t_i)

A dropped token takes its label along, and the token behind it is predicted by the last kept one, as in decoding.
The models of transformers compute their loss in the module around the text backbone, by an attribute of that
module, which is where labels and logits meet. `num_items_in_batch`, by which a trainer divides, stays as it was
counted: it is right where dropped tokens have no label, as image tokens have not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from tokenpruner.decoder.packed_rows import counts_within
from tokenpruner.decoder.whole_outputs import Cut
from tokenpruner.models.image_tokens import ImageTokens
from tokenpruner.models.overrides import attribute_replaced

IGNORED = -100
Loss = Callable[..., object]


@dataclass(frozen=True)
class LabelCut(Cut):
    """A cut, and what it makes of labels."""

    def labels(self, labels: torch.Tensor) -> torch.Tensor:
        """The labels [B, P] of what is left, out of [B, L]; a row's first token is predicted by nothing."""
        self._check("labels", labels)
        return self._taken(labels, self.index, self.mask & (self.mask.cumsum(1) > 1))

    def shift_labels(self, shift_labels: torch.Tensor) -> torch.Tensor:
        """What each token that is left shall predict, [B, P], where column j holds the label of token j + 1."""
        self._check("shift_labels", shift_labels)
        # the next token that is left had its label in the column before it
        return self._taken(shift_labels, torch.cat([self.index[:, 1:] - 1, self.index[:, -1:]], 1), self.mask)

    def _taken(self, values: torch.Tensor, index: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        index, mask = index.to(values.device), mask.to(values.device)
        # padding may point before the first column
        return values.gather(1, index.clamp(min=0)).masked_fill(~mask, IGNORED)

    def _check(self, name: str, values: torch.Tensor) -> None:
        if values.shape != (len(self.index), self.length):
            raise ValueError(f"want {name} {[len(self.index), self.length]}, one a token, got {[*values.shape]}")


def answers(
    labels: object, images: Sequence[ImageTokens], real: torch.Tensor, samples: torch.Tensor | None = None
) -> torch.Tensor:
    """What the model shall learn to say, bool [B, L]: from a row's first label behind its last image on.

    That is not there yet when it chooses among the tokens. `real` bool [B, L] gives shape and device; in packed rows
    each of the `samples` int64 [B, L] has its own answer.
    """
    if not isinstance(labels, torch.Tensor) or labels.shape != real.shape:
        return torch.zeros_like(real)
    visual = torch.zeros_like(real)
    for image in images:
        visual[image.row, image.columns] = True
    # counted from the end: none of the sample's visual tokens stands here or further on
    backwards = None if samples is None else samples.flip(-1)
    is_behind = counts_within(visual.flip(-1), backwards).flip(-1) == 0
    told = (labels.to(real.device) != IGNORED) & is_behind
    return counts_within(told, samples) > 0


def has_replaceable_loss(model: nn.Module, backbone: nn.Module) -> bool:
    """True where a module around `backbone` computes its loss by its attribute, and not by itself."""
    return any(
        "loss_function" in getattr(getattr(inspect.unwrap(vars(kind)["forward"]), "__code__", None), "co_names", ())
        for module in _around(model, backbone)
        for kind in type(module).__mro__
        if "forward" in vars(kind)
    )


@contextmanager
def with_cut_labels(model: nn.Module, backbone: nn.Module, cut: Callable[[], LabelCut | None]) -> Iterator[None]:
    """While open, every loss of the modules around `backbone` gets its labels cut by what `cut()` then says."""
    with ExitStack() as stack:
        for module in _around(model, backbone):
            if hasattr(type(module), "loss_function"):
                # the property of a transformers model looks here first
                loss: Loss = getattr(module, "loss_function")  # noqa: B009
                stack.enter_context(attribute_replaced(module, "_loss_function", _cutting(loss, cut)))
        yield


def _around(model: nn.Module, backbone: nn.Module) -> list[nn.Module]:
    return [
        module
        for module in model.modules()
        if module is not backbone and any(part is backbone for part in module.modules())
    ]


def _cutting(loss: Loss, cut: Callable[[], LabelCut | None]) -> Loss:
    """`loss` for logits of a sequence that may have been cut."""

    @functools.wraps(loss, updated=())
    def wrapped(*args: object, **kwargs: object) -> object:
        done = cut()
        if done is None:
            return loss(*args, **kwargs)
        for name, change in (("labels", done.labels), ("shift_labels", done.shift_labels)):
            given = kwargs.get(name)
            if isinstance(given, torch.Tensor):
                kwargs[name] = change(given)
        # logits, then labels
        if len(args) > 1 and isinstance(args[1], torch.Tensor):
            args = (args[0], done.labels(args[1]), *args[2:])
        return loss(*args, **kwargs)

    return wrapped
