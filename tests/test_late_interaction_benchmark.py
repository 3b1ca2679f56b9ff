"""The benchmark of late interaction: its columns by hand, and token vectors against a plain forward."""

from pathlib import Path

import pytest
import torch

from benchmarks import late_interaction
from benchmarks.late_interaction import Contender, Corpus, contenders, measured
from benchmarks.token_vectors import Encoded, encode
from tests.contextpruner.tiny_encoder import save_tiny_encoder


def _corpus() -> Corpus:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 9, (40,), generator=generator)
    vectors = torch.nn.functional.normalize(torch.randn(int(lengths.sum()), 16, generator=generator), dim=1)
    documents = Encoded(vectors, torch.rand(len(vectors), generator=generator), lengths)
    parts = vectors.split(lengths.tolist())
    return Corpus(documents, [parts[place] for place in (3, 17, 30)], [3, 17, 30])


def test_every_contender_is_measured_against_exact_scores() -> None:
    pytest.importorskip("scipy")
    rows = {row.method: row for row in measured(_corpus(), n_codes=32)}
    assert len(rows) == 13
    for name in ("exact MaxSim", "exact, padded batches of 128"):
        assert (rows[name].of_exact_top_10, rows[name].right_one_first, rows[name].bytes_per_token) == (1, 1, 64)
    # a document's own tokens find it by its residuals
    assert rows["PLAID, 4 bits"].right_one_first == 1
    assert rows["PLAID, 4 bits"].build_s is not None
    assert rows["bits of signs, Hamming"].bytes_per_token == 2
    assert rows["PLAID, 4 bits, 8 cells, 1,024 documents"].of_exact_top_10 > rows["32 codes, Hamming"].of_exact_top_10


def test_columns_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = _corpus()
    answers = {"exact": [[3, 5], [17, 1], [2, 4]], "other": [[5, 9], [17, 1], [30, 2]]}

    def told(name: str) -> Contender:
        # the first question is asked once more, to warm up
        given = iter([answers[name][0], *answers[name]])
        return Contender(name, lambda question: torch.tensor(next(given)), 2 * len(corpus.documents.vectors))

    monkeypatch.setattr(late_interaction, "contenders", lambda *ignored: map(told, answers))
    exact, other = measured(corpus)
    assert (exact.of_exact_top_10, exact.right_one_first, exact.right_one_in_10) == pytest.approx((1, 2 / 3, 2 / 3))
    assert (other.of_exact_top_10, other.right_one_first, other.right_one_in_10) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (exact.bytes_per_token, exact.times_as_fast) == (2, 1)


def test_pruned_contenders_hold_fewer_tokens() -> None:
    pytest.importorskip("scipy")
    held = {each.name: each.n_bytes for each in contenders(_corpus(), n_codes=32)}
    n_tokens = len(_corpus().documents.vectors)
    codebook = 32 * 16 * 4
    assert held["32 codes"] == n_tokens + codebook
    assert held["32 codes, 60 % by attention"] == held["32 codes, 60 % at random"] < 0.7 * n_tokens + codebook


def test_token_vectors_are_those_of_each_text_alone(tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    encoder = save_tiny_encoder(tmp_path)
    texts = ["the dome is it", "a", "who is tall? " * 9]
    found = encode(str(encoder), texts, 20, batch_size=2)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModel.from_pretrained(encoder, attn_implementation="eager").eval()
    vectors, attention = found.vectors.split(found.lengths.tolist()), found.attention.split(found.lengths.tolist())
    for text, own, received in zip(texts, vectors, attention, strict=True):
        coded = tokenizer(text, truncation=True, max_length=22, return_tensors="pt")
        with torch.no_grad():
            said = model(**coded, output_attentions=True)
        wanted = torch.nn.functional.normalize(said.last_hidden_state[0, 1:-1], dim=1)
        torch.testing.assert_close(own, wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(received, said.attentions[-1][0].mean(0).sum(0)[1:-1], atol=1e-5, rtol=0)
    assert found.lengths.tolist() == [11, 1, 20]
