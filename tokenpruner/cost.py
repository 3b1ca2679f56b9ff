"""What the decoder costs, from its config and real lengths.

FLOPs of n new tokens behind p cached ones, a multiply and an add counted as two, per layer:

    2 n (2 d a + 2 d k)        projections: queries and output (width a), keys and values (width k)
    4 n (n + p) a              scores and weighted values, the causal half not taken off
    2 n 3 d m                  gated MLP of width m

with hidden size d, a = heads x head size and k = key-value heads x head size. Embeddings, norms, the head over
the vocabulary and the vision tower are left out. KV bytes of n tokens: 2 x layers x k x n x bytes a number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoder:
    """The sizes that count; `from_config` reads them from a transformers text config."""

    n_layers: int
    hidden: int
    attention: int
    key_value: int
    mlp: int

    @classmethod
    def from_config(cls, config: object) -> Decoder:
        """Read a text config; what it lacks is taken as in a plain transformer."""
        hidden, heads = _read(config, "hidden_size", 1), _read(config, "num_attention_heads", 1)
        head = _read(config, "head_dim", hidden // heads)
        key_value = _read(config, "num_key_value_heads", heads) * head
        mlp = _read(config, "intermediate_size", 4 * hidden)
        return cls(_read(config, "num_hidden_layers", 1), hidden, heads * head, key_value, mlp)

    def flops(self, n_tokens: int, n_past: int = 0) -> int:
        """FLOPs of `n_tokens` new tokens of one row behind `n_past` cached ones."""
        return self.n_layers * self.layer_flops(n_tokens, n_past)

    def layer_flops(self, n_tokens: int, n_past: int = 0) -> int:
        """The same of one layer."""
        projections = 4 * n_tokens * self.hidden * (self.attention + self.key_value)
        attention = 4 * n_tokens * (n_tokens + n_past) * self.attention
        return projections + attention + 6 * n_tokens * self.hidden * self.mlp

    def skipping_flops(self, n_tokens: int, n_computed: int, n_past: int = 0) -> int:
        """Those of a layer that computes some of `n_tokens` and makes keys and values of all, as `skipping` does it."""
        if n_computed == n_tokens:
            return self.layer_flops(n_tokens, n_past)
        reading = 2 * n_tokens * self.hidden * (self.attention + 2 * self.key_value)
        ahead = self.layer_flops(n_computed, n_past)
        return reading + ahead + 4 * n_computed * (n_tokens - n_computed) * self.attention

    def kv_bytes(self, n_tokens: int, bytes_each: int) -> int:
        """Bytes of the keys and values of `n_tokens`."""
        return self.n_layers * self.layer_kv_bytes(n_tokens, bytes_each)

    def layer_kv_bytes(self, n_tokens: int, bytes_each: int) -> int:
        """The same of one layer."""
        return 2 * self.key_value * n_tokens * bytes_each


def size(config: object, name: str) -> int | None:
    """A number of a config, None where it has none; one that differs by layer is that of the config as a whole."""
    try:
        value = getattr(config, name, None)
    except RuntimeError:
        # transformers will not say it of a model whose layers differ
        value = vars(config).get(name)
    return int(value) if isinstance(value, int) else None


def _read(config: object, name: str, default: int) -> int:
    value = size(config, name)
    return default if value is None else value
