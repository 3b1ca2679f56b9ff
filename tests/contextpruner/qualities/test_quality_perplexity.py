"""Perplexity of passages: a plain forward by hand, windows, batches, passages without tokens."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from contextpruner.qualities.perplexity import AHEAD, Perplexity
from tests.contextpruner import tiny_checkpoints as tiny

# a padded row may round otherwise: float32 over two layers
ROUNDING = 1e-5
PASSAGES = [
    "The dome was designed by Brunelleschi.",
    "x",
    "",
    "Bread é 面 <eos>",
    "word " * 30,
    "The dome was designed.",
]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "bos"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.causal_lm(tmp_path_factory.mktemp("lm"), bos=request.param)


def ids_of(folder: Path, passage: str) -> list[int]:
    """The tokens of a passage, behind the one that begins texts if there is one."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return first + tokenizer(passage, add_special_tokens=False)["input_ids"]


def token_losses(folder: Path, passage: str) -> list[float]:
    """The loss of each token of a passage but the first, from one plain forward of the whole text."""
    model = AutoModelForCausalLM.from_pretrained(folder).double()
    ids = ids_of(folder, passage)
    if len(ids) < 2:
        return []
    with torch.inference_mode():
        said = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [-float(said[place - 1, ids[place]]) for place in range(1, len(ids))]


def test_it_is_the_mean_loss_of_a_plain_forward(folder: Path) -> None:
    measure = Perplexity(str(folder))
    vocabulary = AutoModelForCausalLM.from_pretrained(folder).config.vocab_size
    for passage, score in zip(PASSAGES, measure.scores(PASSAGES), strict=True):
        if "[SEP]" in passage:
            # plain text to us, a token of its own to the tokenizer
            continue
        losses = token_losses(folder, passage)
        wanted = -sum(losses) / len(losses) if losses else -math.log(vocabulary)
        assert score == pytest.approx(wanted, abs=ROUNDING)
        assert score <= 0


def test_what_stands_in_a_batch_changes_nothing(folder: Path) -> None:
    many = list(Perplexity(str(folder), batch_size=3).scores(PASSAGES * 3))
    assert many[: len(PASSAGES)] == many[len(PASSAGES) : 2 * len(PASSAGES)]
    alone = Perplexity(str(folder), batch_size=1)
    for passage, score in zip(PASSAGES, many, strict=False):
        assert alone.score(passage) == pytest.approx(score, abs=ROUNDING)
    assert many == list(Perplexity(str(folder), batch_size=3).scores(iter(PASSAGES * 3)))


@pytest.mark.parametrize("length", [15, 16, 17, 24, 25, 33, 60])
def test_a_long_passage_counts_every_token_once_behind_half_a_window(folder: Path, length: int) -> None:
    passage = "".join("abcdefghij"[place * place % 10] for place in range(length))
    model = AutoModelForCausalLM.from_pretrained(folder).double()
    ids = ids_of(folder, passage)
    losses = []
    for place in range(1, len(ids)):
        # the first window is whole; those behind it advance by 8, the last one less
        end = 16 if place < 16 else min(16 + 8 * ((place - 16) // 8 + 1), len(ids))
        start = max(end - 16, 0)
        assert place - start >= min(place, 8)
        with torch.inference_mode():
            said = model(torch.tensor([ids[start:place]])).logits[0, -1].log_softmax(-1)
        losses.append(-float(said[ids[place]]))
    got = Perplexity(str(folder), max_length=16).score(passage)
    assert got == pytest.approx(-sum(losses) / len(losses), abs=ROUNDING)


def test_many_passages_are_read_a_chunk_at_a_time(folder: Path) -> None:
    read = 0

    def passages() -> object:
        nonlocal read
        for number in range(AHEAD + 5):
            read += 1
            yield f"{number}"

    scores = Perplexity(str(folder)).scores(passages())  # type: ignore[arg-type]
    next(scores)
    assert read == AHEAD
    assert len(list(scores)) == AHEAD + 4


def test_bad_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="perplexity wants a batch_size of at least 1, got 0"):
        Perplexity(batch_size=0)
    with pytest.raises(ValueError, match="perplexity wants a max_length of at least 8, got 7"):
        Perplexity(max_length=7)
