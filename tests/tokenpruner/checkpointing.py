"""Gradient checkpointing by the name that the installed transformers has for it."""

from __future__ import annotations

from torch import nn


def checkpoint(model: nn.Module, use_reentrant: bool) -> None:
    """Turn gradient checkpointing of `model` on."""
    settings = {"use_reentrant": use_reentrant}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=settings)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)


def no_checkpoint(model: nn.Module) -> None:
    """Turn it off."""
    if hasattr(model, "activation_checkpointing_disable"):
        model.activation_checkpointing_disable()
    else:
        model.gradient_checkpointing_disable()
