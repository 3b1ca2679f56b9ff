"""A small causal transformer over tokens, with learned positions and tied embeddings."""

from __future__ import annotations

import torch


class Block(torch.nn.Module):
    """Attention and a perceptron, each behind a norm and added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width) for _ in range(2))
        self.inputs, self.outputs = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.wide, self.narrow = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        n, length, width = hidden.shape
        parts = self.inputs(self.norms[0](hidden)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        attended = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        hidden = hidden + self.outputs(attended.transpose(1, 2).reshape(n, length, width))
        return hidden + self.narrow(torch.nn.functional.gelu(self.wide(self.norms[1](hidden))))


class CausalTransformer(torch.nn.Module):
    """int64 [n, t] to logits [n, t, vocabulary] of the next token."""

    def __init__(self, vocabulary: int, width: int, layers: int, window: int) -> None:
        super().__init__()
        heads = next(n for n in range(max(1, width // 32), 0, -1) if width % n == 0)
        self.tokens = torch.nn.Embedding(vocabulary, width)
        self.places = torch.nn.Embedding(window, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, vocabulary, bias=False)
        # tokens loud enough to be told apart at once: with 0.02 a training spends its first half on their frequencies
        torch.nn.init.normal_(self.tokens.weight, std=0.1)
        torch.nn.init.normal_(self.places.weight, std=0.03)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))
