"""Labelers that ask a model: each against transformers' own forward and plain loops over its formula."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BloomConfig,
    BloomModel,
    GraniteConfig,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
)

from contextpruner import Document, SplitDocument, split
from contextpruner.labelers import late_interaction
from contextpruner.labelers.cross_encoder import CrossEncoder
from contextpruner.labelers.late_interaction import LateInteraction
from contextpruner.labelers.llmlingua2 import Llmlingua2
from contextpruner.labelers.token_nll import TokenNll
from contextpruner.models.batches import run_batches
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.labelers.scale_of_cosines import on_one_scale

QUESTION = "Who designed the dome?"
TEXT = "The dome was designed by Brunelleschi.  It is 2½ tall. Who is baked from flour?"


def cut(*documents: str | Document) -> list[SplitDocument]:
    given = [Document(item) if isinstance(item, str) else item for item in documents]
    return [SplitDocument(item, tuple(split(item.text))) for item in given]


def own_tokens(document: SplitDocument, offsets: list[tuple[int, int]], shift: int = 0) -> list[list[int]]:
    """For each unit the tokens that cover a visible character of it, or begin in it where they cover none."""
    text, found = document.document.text, []
    for unit in document.units:
        found.append([])
        for place, (start, end) in enumerate(offsets):
            inside = range(max(start - shift, 0), end - shift)
            seen = [index for index in inside if not text[index].isspace()] or [start - shift]
            if any(unit.start <= index < unit.end for index in seen):
                found[-1].append(place)
    return found


@pytest.mark.parametrize("base", ["bert", "xlm-roberta"])
@torch.no_grad()
def test_llmlingua2_is_the_mean_over_words_of_their_tokens_means(tmp_path: Path, base: str) -> None:
    folder = tiny.llmlingua2(tmp_path, base)
    document = cut(Document(TEXT, title="ignored"))[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    coded = tokenizer(TEXT, return_offsets_mapping=True)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    keep = model(torch.tensor([coded["input_ids"]])).logits[0].softmax(-1)[1:-1, 1].numpy()
    words = coded.word_ids()[1:-1]
    wanted, over_tokens = [], []
    for mine in own_tokens(document, coded["offset_mapping"][1:-1]):
        over_tokens.append(keep[mine].mean())
        groups = {words[place]: [] for place in mine}
        for place in mine:
            groups[words[place]].append(keep[place])
        wanted.append(np.mean([np.mean(group) for group in groups.values()]))
    assert np.abs(np.array(wanted) - over_tokens).max() > 1e-3
    labels = Llmlingua2(str(folder)).score(QUESTION, [document])
    np.testing.assert_allclose(labels.probabilities[0], wanted, atol=1e-5)
    assert labels.scores[0] == labels.probabilities[0].max()
    other = Llmlingua2(str(folder)).score("Another question", [document])
    np.testing.assert_array_equal(other.probabilities[0], labels.probabilities[0])


@torch.no_grad()
def test_llmlingua2_reads_a_long_text_in_windows_of_whole_units(tmp_path: Path) -> None:
    folder = tiny.llmlingua2(tmp_path)
    document = cut("The dome is tall. " * 30)[0]
    labels = Llmlingua2(str(folder), batch_size=2).score("?", [document]).probabilities[0]
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # 128 positions, of which 126 for text
    size = len(tokenizer("The dome is tall.", add_special_tokens=False)["input_ids"])
    per_window = 126 // size
    for first in (0, per_window):
        coded = tokenizer("The dome is tall. " * per_window)
        keep = model(torch.tensor([coded["input_ids"]])).logits[0].softmax(-1)[1:-1, 1].numpy()
        words = np.array(coded.word_ids()[1:-1])
        wanted = np.mean([keep[words == word].mean() for word in range(5)])
        assert labels[first] == pytest.approx(wanted, abs=1e-5)
    assert len(labels) == 30


@pytest.mark.parametrize("labels", [1, 2])
@torch.no_grad()
def test_cross_encoder_reads_question_and_unit_as_a_pair(tmp_path: Path, labels: int) -> None:
    folder = tiny.cross_encoder(tmp_path, labels)
    document, plain = cut(Document(TEXT, title="Florence"), TEXT)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted = []
    for text in [*(f"Florence\n{text.strip()}" for text in document.texts), *(text.strip() for text in plain.texts)]:
        logits = model(**tokenizer(QUESTION, text, return_tensors="pt")).logits[0].double()
        wanted.append(float(logits[0].sigmoid() if labels == 1 else logits.softmax(0)[1]))
    got = CrossEncoder(str(folder)).score(QUESTION, [document, plain])
    np.testing.assert_allclose(np.concatenate(got.probabilities), wanted, atol=1e-5)
    bare = CrossEncoder(str(folder), use_title=False).score(QUESTION, [document]).probabilities[0]
    np.testing.assert_allclose(bare, wanted[3:], atol=1e-5)


@torch.no_grad()
def test_cross_encoder_cuts_a_unit_that_does_not_fit(tmp_path: Path) -> None:
    folder = tiny.cross_encoder(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    # "!" ends the unit: a model that reads it says another number
    text = "x " * 100 + "!"
    coded = tokenizer("who?", text, truncation="only_second", max_length=40, return_tensors="pt")
    assert abs(float(model(**tokenizer("who?", text, return_tensors="pt")).logits - model(**coded).logits)) > 1e-3
    got = CrossEncoder(str(folder), max_length=40).score("who?", cut(text)).probabilities[0][0]
    assert got == pytest.approx(float(model(**coded).logits.sigmoid()), abs=1e-5)


@pytest.mark.parametrize("projected", [False, True])
@torch.no_grad()
def test_late_interaction_is_the_mean_of_the_largest_cosines_on_one_scale(
    tiny_encoder: Path, tmp_path: Path, projected: bool
) -> None:
    folder = tiny_encoder
    projection = np.eye(16)
    if projected:
        folder = tmp_path / "colbert"
        tiny.cross_encoder(folder)
        tensors = load_file(folder / "model.safetensors")
        tensors = {name: value for name, value in tensors.items() if not name.startswith("classifier")}
        tensors["linear.weight"] = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
        projection = tensors["linear.weight"].numpy().astype(np.float64)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    document = cut(Document("The dome is it.  Who is tall?", title="A b"))[0]

    def vectors(text: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
        coded = tokenizer(text, return_offsets_mapping=True)
        hidden = model(torch.tensor([coded["input_ids"]])).last_hidden_state[0, 1:-1].double().numpy() @ projection.T
        return hidden / np.linalg.norm(hidden, axis=1, keepdims=True), coded["offset_mapping"][1:-1]

    asked, places = vectors(QUESTION)
    # "Who" and "the" say little, as does the mark at the end
    weights = np.array([1.0 if 4 <= start < 12 or 17 <= start < 21 else 0.5 for start, _ in places])
    weights /= weights.sum()
    own, offsets = vectors("A b\n" + document.document.text)
    title = sum(end <= 3 for _, end in offsets)
    cosines = asked @ own.T
    wanted = [
        cosines[:, [title + place for place in mine]].max(1) @ weights
        for mine in own_tokens(document, offsets[title:], 4)
    ]
    got = LateInteraction(str(folder)).score(QUESTION, [document]).probabilities[0]
    np.testing.assert_allclose(got, on_one_scale(wanted), atol=1e-5)
    # one vector for every unit: the mean of its own, of length 1
    pooled = LateInteraction(str(folder), pool_factor=1000).score(QUESTION, [document]).probabilities[0]
    means = [own[[title + place for place in mine]].mean(0) for mine in own_tokens(document, offsets[title:], 4)]
    wanted = [asked @ (mean / np.linalg.norm(mean)) @ weights for mean in means]
    np.testing.assert_allclose(pooled, on_one_scale(wanted), atol=1e-5)


@pytest.mark.parametrize("pool_factor", [1, 2])
def test_late_interaction_of_many_documents_holds_no_vectors(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, pool_factor: int
) -> None:
    held: list[list[np.ndarray]] = []

    def kept(*given: object) -> list[np.ndarray]:
        held.append(run_batches(*given))  # type: ignore[arg-type]
        return held[-1]

    monkeypatch.setattr(late_interaction, "run_batches", kept)
    documents = cut("The dome is it. " * 40, "Who?", "It is tall. " * 30)
    LateInteraction(str(tiny_encoder), pool_factor=pool_factor).score("who?", documents)
    question, *others = held
    if pool_factor > 1:
        # vectors of length 16, but of one document at a time
        assert len(others) == 3
        assert {values.shape[1] for rows in others for values in rows} == {16}
    else:
        # one cosine for each of the question's four letters and signs
        assert len(others) == 1
        assert {values.shape[1] for values in others[0]} == {len(question[0]) - 2} == {4}


@pytest.mark.parametrize("positions", [40, None])
def test_a_row_has_no_more_tokens_than_the_model_has_positions(tmp_path: Path, positions: int | None) -> None:
    size = tiny.sentencepiece(tmp_path)
    model: PreTrainedModel
    if positions:
        # its positions begin behind the padding id, 1
        model = MPNetModel(MPNetConfig(**tiny.SIZES, vocab_size=size, max_position_embeddings=positions))
    else:
        model = BloomModel(BloomConfig(hidden_size=16, n_layer=1, n_head=2, vocab_size=size))
    tiny.randomize(model).save_pretrained(tmp_path)
    labeler = LateInteraction(str(tmp_path), max_length=64)
    assert labeler._loaded.window == (38 if positions else 64)
    assert labeler.score(QUESTION, cut("The dome is tall. " * 30)).probabilities[0].shape == (30,)


def nll(model: torch.nn.Module, before: list[int], scored: list[int]) -> float:
    logits = model(torch.tensor([before + scored])).logits[0].double().log_softmax(-1)
    return -float(np.mean([logits[len(before) + i - 1, token] for i, token in enumerate(scored)]))


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("of", ["question", "unit"])
@torch.no_grad()
def test_token_nll_is_the_gain_in_nats(tmp_path: Path, of: str, bos: bool) -> None:
    folder = tiny.causal_lm(tmp_path, bos)
    first = [1] if bos else []
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    document = cut(Document("The dome. It is tall.", title="A"))[0]
    asked, line = ids("Question:") + ids(" who?"), ids("\n")
    wanted = []
    for text in ("A\nThe dome.", "A\nIt is tall."):
        unit = ids("Document:") + ids(f" {text}")
        if of == "question":
            scored, before, after = ids(" who?"), ids("Question:"), unit + line + ids("Question:")
        else:
            scored, before, after = ids(f" {text}"), ids("Document:"), asked + line + ids("Document:")
        alone, behind = nll(model, first + before, scored), nll(model, first + after, scored)
        wanted.append(math.exp(alone) / (math.exp(alone) + math.exp(behind)))
    got = TokenNll(str(folder), of=of).score("who?", [document]).probabilities[0]  # type: ignore[arg-type]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_token_nll_refuses_a_model_that_scales_its_logits(tmp_path: Path) -> None:
    config = GraniteConfig(**tiny.SIZES, vocab_size=tiny.byte_level(tmp_path), logits_scaling=3.0)
    tiny.randomize(AutoModelForCausalLM.from_config(config)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="logits are its head times the last hidden state"):
        TokenNll(str(tmp_path)).prepare()


def test_a_head_of_other_size_or_missing_is_refused(tmp_path: Path) -> None:
    three = tiny.cross_encoder(tmp_path / "three", 3)
    with pytest.raises(ValueError, match="want a classifier with 1 or 2 labels, got 3"):
        CrossEncoder(str(three)).prepare()
    with pytest.raises(ValueError, match="got none for classifier"):
        CrossEncoder(str(_without(tiny.cross_encoder(tmp_path / "none"), "classifier"))).prepare()
    with pytest.raises(ValueError, match="got none for classifier"):
        Llmlingua2(str(_without(tiny.llmlingua2(tmp_path / "headless"), "classifier"))).prepare()


def _without(folder: Path, prefix: str) -> Path:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: CrossEncoder(batch_size=0), "cross_encoder wants a batch_size of at least 1, got 0"),
        (lambda: CrossEncoder(max_length=3), "max_length of at least 32, got 3"),
        (lambda: LateInteraction(pool_factor=0), "pool_factor of at least 1, got 0"),
        (lambda: LateInteraction(max_length=3), "max_length of at least 32, got 3"),
        (lambda: Llmlingua2(batch_size=-1), "llmlingua2 wants a batch_size of at least 1, got -1"),
        (lambda: TokenNll(max_length=3), "max_length of at least 64, got 3"),
        (lambda: TokenNll(batch_size=0), "token_nll wants a batch_size of at least 1, got 0"),
    ],
)
def test_bad_fields_are_refused(made: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made()  # type: ignore[operator]
