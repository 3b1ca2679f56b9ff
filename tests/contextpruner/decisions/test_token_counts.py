"""Counting tokens: a rough count, any library's tokenizer, and budgets that hold under each of them."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast

from contextpruner import ContextPruner, Document, Policy, SplitDocument, estimate_tokens, split
from contextpruner.decisions.policy import choose
from contextpruner.decisions.rules import is_kept
from contextpruner.decisions.token_counter import count_checked, counter_from, counter_of
from contextpruner.units.join import join_kept

TEXT = "".join(f"The dome number {n * 37 % 101} is tall. It is {n * 53 % 97} old. Bread is baked. " for n in range(9))


def bpe(special: bool = True) -> tokenizers.Tokenizer:
    """A byte-pair tokenizer that knows no words: it merges across spaces and full stops."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=80, max_token_length=6, special_tokens=["[UNK]", "[CLS]"], show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    if special:
        made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    return made


class LikeTiktoken:
    """Refuses the names of special tokens in a text unless it is told that they are only text."""

    def encode(self, text: str, *, allowed_special: object = (), disallowed_special: object = "all") -> list[int]:
        if disallowed_special == "all" and "<|end|>" in text:
            raise ValueError("special token")
        return [ord(letter) for letter in text]


def test_a_rough_count_by_hand() -> None:
    # six letters at most, three digits, three other letters, any other sign
    assert estimate_tokens("Hello, worldwide 12345 Straße!") == 1 + 1 + 2 + 2 + 3 + 1
    assert estimate_tokens(" \n") == estimate_tokens("") == 0


def test_tokenizers_of_every_library_count_the_text_alone() -> None:
    made = bpe()
    assert "[CLS]" in made.encode("The dome").tokens
    alone = len(bpe(special=False).encode(TEXT))
    assert counter_of(made)(TEXT) == alone
    # longer than the model reads: counted whole, and without a warning
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, cls_token="[CLS]", model_max_length=8)
    assert counter_of(wrapped)(TEXT) == alone > 8
    assert counter_of(LikeTiktoken())("a <|end|>") == 9
    words: Callable[[str], int] = lambda text: len(text.split())  # noqa: E731
    assert counter_of(words) is words


def test_a_tokenizer_that_cuts_or_fills_up_is_refused() -> None:
    cutting, filling = bpe(), bpe()
    cutting.enable_truncation(4)
    filling.enable_padding(length=99)
    for made, name in ((cutting, "truncation"), (filling, "padding")):
        with pytest.raises(ValueError, match=rf"got one with {name}: call no_{name}\(\)"):
            ContextPruner("lead", count_tokens=made)
    with pytest.raises(ValueError, match="want a tokenizer or a function that counts tokens, got int"):
        counter_of(3)  # type: ignore[arg-type]


def test_from_a_file_or_its_folder(tmp_path: Path) -> None:
    made = bpe()
    made.enable_truncation(4)
    made.save(str(tmp_path / "tokenizer.json"))
    wanted = len(bpe(special=False).encode(TEXT))
    assert counter_from(str(tmp_path))(TEXT) == counter_from(str(tmp_path / "tokenizer.json"))(TEXT) == wanted
    with pytest.raises(ValueError, match=r"want a tokenizer.json or a folder with one, got .*none"):
        counter_from(str(tmp_path / "none"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json: want a tokenizer.json: "):
        counter_from(str(tmp_path))


def test_counts_are_integers_of_any_kind() -> None:
    assert count_checked(lambda text: np.int64(3), "a") == 3  # type: ignore[arg-type,return-value]
    for bad in (1.0, True, -1, None, np.float32(2)):
        with pytest.raises(ValueError, match="want count_tokens to return an integer of at least 0"):
            count_checked(lambda text, bad=bad: bad, "a")  # type: ignore[misc]
        with pytest.raises(ValueError, match="want count_tokens to return an integer of at least 0"):
            ContextPruner("lead", count_tokens=lambda text, bad=bad: bad).prune("q", ["A. B."], max_tokens=3)  # type: ignore[misc]


@pytest.mark.parametrize("max_tokens", [0, 1, 2, 3, 7, 20, 50, 1000])
def test_a_budget_holds_for_what_is_read_where_tokens_cross_the_edges_of_units(max_tokens: int) -> None:
    made = bpe(special=False)
    documents = [TEXT[:200], TEXT[63:300], "", TEXT]
    result = ContextPruner("random", count_tokens=made).prune("q", documents, max_tokens=max_tokens)
    read = [len(made.encode(document.text)) for document in result.documents]
    assert sum(read) == result.n_tokens_after <= max_tokens
    pieces = [len(made.encode(TEXT[unit.start : unit.end])) for unit in split(TEXT)]
    assert sum(pieces) > len(made.encode(TEXT))
    # no unit that is dropped would still have fitted, with what it leans on
    loose = Policy(max_tokens=max_tokens, closure=())
    result = ContextPruner("random", count_tokens=made).prune("q", documents, loose)
    for document in result.documents:
        before = len(made.encode(document.text))
        for place, span in enumerate(document.spans):
            if not span.kept:
                kept = [other.kept or at == place for at, other in enumerate(document.spans)]
                after = len(made.encode(join_kept(map(document.shown, document.spans), kept)))
                assert result.n_tokens_after - before + after > max_tokens


def chosen_in(n_units: int, count: Callable[[str], int]) -> tuple[float, int, int, int]:
    """Seconds, characters counted, tokens kept and the budget of half of all, in one document."""
    draw = random.Random(0)
    text = "".join("Word" + " word" * draw.randrange(12) + ". " for _ in range(n_units))
    document = SplitDocument(Document(text), tuple(split(text)))
    probabilities = [np.random.default_rng(0).random(len(document.units), dtype=np.float32)]
    budget, counted = count(text) // 2, 0

    def counting(given: str) -> int:
        nonlocal counted
        counted += len(given)
        return count(given)

    started = time.perf_counter()
    (reasons,) = choose(Policy(max_tokens=budget), [document], probabilities, counting)
    seconds = time.perf_counter() - started
    kept = join_kept(document.texts, map(is_kept, reasons))
    return seconds, counted // len(text), count(kept), budget


@pytest.mark.parametrize(
    "count",
    [
        lambda text: -(-len(text) // 7),
        lambda text: len(text.split()) + max(0, text.count(".") - 1),
        # what no rule fits, but near the number of words
        lambda text: len(text.split()) + len(text) * 7919 % 97,
    ],
    ids=["merging", "growing", "wild"],
)
def test_the_counting_grows_with_the_text_and_not_with_its_square(count: Callable[[str], int]) -> None:
    for n_units in (2000, 8000):
        seconds, rounds, kept, budget = chosen_in(n_units, count)
        assert rounds <= 40
        assert seconds < 10
        assert 0.99 * budget < kept <= budget


def test_what_does_not_fit_after_all_leaves_the_room_to_others() -> None:
    documents = [SplitDocument(Document(text), tuple(split(text))) for text in ("One. Two two. ", "Three.")]
    probabilities = [np.array([0.9, 0.8], np.float32), np.array([0.1], np.float32)]
    # each further sentence of a document costs five more than it counts by itself
    count: Callable[[str], int] = lambda text: len(text.split()) + 5 * max(0, text.count(".") - 1)  # noqa: E731
    chosen = choose(Policy(max_tokens=4), documents, probabilities, count)
    assert chosen == [["budget", "over_budget"], ["budget"]]
