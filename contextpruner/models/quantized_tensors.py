"""Weights in 8 or 4 bits, as safetensors: each with its scales beside it, under its name and "_scale".

    int8     numbers int8 [rows, columns]         scale fp16 [rows, 1]               w = number * scale
    4 bits   numbers uint8 [rows, columns / 2]    scale fp16 [rows, columns / 32]    w = (half - 8) * scale of its block

A byte of 4 bits holds column 2i in its low half and 2i + 1 in its high one. Every scale is the one of smallest squared
error among those that put the largest number of its row or block on a step: numbers that have stood on such a grid
before come back as they were, up to fp16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

SCALE = "_scale"
BLOCK = 32
# the steps that the largest number of a row or block may stand on
STEPS = {8: (127,), 4: (*range(1, 9), *range(-8, 0))}
Bits = Literal[4, 8]


def quantized(tensors: Mapping[str, torch.Tensor], bits: Mapping[str, Bits]) -> dict[str, torch.Tensor]:
    """`tensors` of which those in `bits` are in so many, with their scales; the others are as they were.

    Raises ValueError where one of them is not finite, no [rows, columns], or has in 4 bits a broken last block.
    """
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name not in bits:
            found[name] = tensor
            continue
        if tensor.ndim != 2 or not tensor.isfinite().all():
            raise ValueError(f"{name}: want finite [rows, columns], got {[*tensor.shape]}")
        if bits[name] == 4 and tensor.shape[1] % BLOCK:
            raise ValueError(f"{name}: want columns in blocks of {BLOCK}, got {tensor.shape[1]}")
        numbers, scale = _rounded(tensor.float(), bits[name])
        found[name], found[name + SCALE] = _packed(numbers) if bits[name] == 4 else numbers.to(torch.int8), scale
    return found


def dequantized(tensors: Mapping[str, torch.Tensor], place: str) -> dict[str, torch.Tensor]:
    """All of `tensors` in float32, without scales; raises ValueError, with `place`, where numbers and scales differ."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        scale = tensors.get(name + SCALE)
        if scale is not None:
            found[name] = _restored(tensor, scale.float(), f"{place}: {name}")
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in tensors):
            found[name] = tensor.float()
    return found


def _rounded(weights: torch.Tensor, bits: Bits) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers as float32 [rows, columns] and the scales fp16."""
    lowest, highest = (-127, 127) if bits == 8 else (-8, 7)
    blocks = weights.reshape(len(weights), -1, BLOCK if bits == 4 else weights.shape[1])
    # in 4 bits with its sign: below zero there is one step more
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    largest = largest.abs() if bits == 8 else largest
    best = torch.full_like(largest, torch.inf)
    numbers, scales = torch.zeros_like(blocks), torch.zeros_like(largest)
    for step in STEPS[bits]:
        scale = (largest / step).half().float()
        tried = (blocks / scale.where(scale != 0, 1)).round().clamp(lowest, highest)
        error = (tried * scale - blocks).square().sum(2, keepdim=True)
        numbers, scales = numbers.where(error >= best, tried), scales.where(error >= best, scale)
        best = best.minimum(error)
    return numbers.reshape(weights.shape), scales[..., 0].half()


def _packed(numbers: torch.Tensor) -> torch.Tensor:
    halves = (numbers + 8).to(torch.uint8)
    return halves[:, ::2] | halves[:, 1::2] << 4


def _restored(numbers: torch.Tensor, scale: torch.Tensor, place: str) -> torch.Tensor:
    if numbers.dtype == torch.int8 and numbers.ndim == 2 and scale.shape == (len(numbers), 1):
        return numbers * scale
    if (
        numbers.dtype == torch.uint8
        and numbers.ndim == 2
        and scale.shape == (len(numbers), numbers.shape[1] * 2 // BLOCK)
    ):
        halves = torch.stack([numbers & 15, numbers >> 4], 2).reshape(*scale.shape, BLOCK)
        return ((halves.float() - 8) * scale[..., None]).reshape(len(numbers), -1)
    raise ValueError(
        f"{place}: want int8 with a scale for each row, or pairs in uint8 with one for each {BLOCK} columns, "
        f"got {numbers.dtype} {[*numbers.shape]} with scales {[*scale.shape]}"
    )
