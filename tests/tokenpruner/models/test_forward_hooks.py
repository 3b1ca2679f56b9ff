"""A hook that comes or goes while another thread's call is under way leaves that call alone."""

from __future__ import annotations

import torch
from torch import nn

from tokenpruner.models.forward_hooks import after_forward, before_forward


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
        return x * by


def test_hooks_see_and_change_keyword_arguments() -> None:
    module, seen = Scaled(), []
    with_more = before_forward(module, lambda module, args, kwargs: (args, kwargs | {"by": kwargs["by"] + 1}))
    noted = after_forward(module, lambda module, args, kwargs, output: seen.append((kwargs["by"], float(output))))
    assert module(torch.tensor(1.0), by=2.0) == 3
    with_more.remove()
    noted.remove()
    assert module(torch.tensor(1.0), by=2.0) == 2
    assert seen == [(3.0, 3.0)]


def test_a_call_that_the_hook_comes_too_late_for_goes_on_untouched() -> None:
    module, seen = Scaled(), []
    before = before_forward(module, lambda module, args, kwargs: seen.append("before"))
    after = after_forward(module, lambda module, args, kwargs, output: seen.append("after"))
    # as another thread finds them between torch's two notes of a hook: there, and not yet with keyword arguments
    module._forward_pre_hooks_with_kwargs.pop(before.id)
    module._forward_hooks_with_kwargs.pop(after.id)
    assert module(torch.tensor(1.0), by=4.0) == 4
    assert not seen
