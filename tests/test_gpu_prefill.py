"""The plain decoder that the prefills are timed on is Llama's, with and without the tokens that are dropped."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.gpu.prefill import ALL, BEFORE, LAST, TINY, Cut, Decoder, Prefill


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(TINY)


@pytest.fixture(scope="module")
def llama(decoder: Decoder) -> LlamaForCausalLM:
    """transformers' own model with the same weights."""
    g = TINY
    config = LlamaConfig(
        vocab_size=g.words, hidden_size=g.width, intermediate_size=g.inner, num_hidden_layers=g.layers,
        num_attention_heads=g.heads, num_key_value_heads=g.key_heads, head_dim=g.dims, rope_theta=g.base,
        rms_norm_eps=1e-6, tie_word_embeddings=False,
    )  # fmt: skip
    weights = {"lm_head.weight": decoder.head}
    for place, (qkv, out, up, down) in enumerate(decoder.layers):
        q, k, v = qkv.split([g.heads * g.dims, g.key_heads * g.dims, g.key_heads * g.dims])
        gate, value = up.chunk(2)
        parts = {"self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v, "self_attn.o_proj": out}
        parts |= {"mlp.gate_proj": gate, "mlp.up_proj": value, "mlp.down_proj": down}
        weights |= {f"model.layers.{place}.{name}.weight": weight for name, weight in parts.items()}
    model = LlamaForCausalLM(config).eval()
    missing = model.load_state_dict(weights, strict=False).missing_keys
    # norms are ones in both, and the embeddings are given
    assert all("norm" in name or "embed" in name for name in missing)
    return model


@pytest.fixture
def hidden() -> torch.Tensor:
    return torch.randn(1, 30, TINY.width, generator=torch.Generator().manual_seed(3))


def test_the_prefill_is_llamas(decoder: Decoder, llama: LlamaForCausalLM, hidden: torch.Tensor) -> None:
    # what goes on after tokens were dropped before layer 0 keeps its positions
    kept = torch.tensor([0, 2, 3, 11, 17, 28, 29])
    for places in (torch.arange(30), kept):
        with torch.no_grad():
            ours = decoder.prefill(hidden[:, places], places)
            theirs = llama(inputs_embeds=hidden[:, places], position_ids=places[None]).logits[:, -1]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_cut_that_keeps_all_changes_nothing(decoder: Decoder, hidden: torch.Tensor) -> None:
    places = torch.arange(30)
    seen: list[tuple[int, ...]] = []

    def keep(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        seen.append((*q.shape, k.shape[1]))
        return places

    full = decoder.prefill(hidden, places)
    torch.testing.assert_close(decoder.prefill(hidden, places, Cut(2, keep)), full)
    assert seen == [(1, TINY.heads, 30, TINY.dims, TINY.key_heads)]
    fewer = decoder.prefill(hidden, places, Cut(2, lambda q, k: places[::3]))
    assert fewer.shape == full.shape
    assert not torch.allclose(fewer, full)


@pytest.mark.parametrize("where", [BEFORE, LAST, ALL])
def test_a_row_says_what_choosing_costs(where: str) -> None:
    row = Prefill(TINY, 40, where).run()
    assert (row.visual_tokens, row.kept, row.pruned) == (40, 4, where)
    assert row.speed_up == row.full_ms.p50 / row.pruned_ms.p50
    assert row.selection_share == row.selection_ms.p50 / row.pruned_ms.p50
