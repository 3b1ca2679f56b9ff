"""Language: texts in known ones, several wanted, details; length in each unit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch
from datapruner.scorers.language import Language
from datapruner.scorers.length import Length

TEXTS = {
    "en": "The committee met twice in the autumn, and its report was published the following year.",
    "de": "Der Ausschuss trat im Herbst zweimal zusammen, und sein Bericht erschien im folgenden Jahr.",
    "fr": "Le comité s'est réuni deux fois à l'automne, et son rapport a été publié l'année suivante.",
    "ja": "委員会は秋に二度開かれ、その報告書は翌年に発表された。",
    "ru": "Комитет собирался дважды осенью, и его доклад был опубликован в следующем году.",
}


def batch_of(texts: list[str]) -> Batch:
    return Batch(np.arange(len(texts)), [f"u{i}" for i in range(len(texts))], texts)


def test_finds_the_wanted_language() -> None:
    batch = batch_of([*TEXTS.values()])
    scorer = Language()
    scores = scorer.checked(batch)
    assert scores[0] > 0.9
    assert scores[1:].max() < 0.05
    details = scorer.details(batch)
    assert details["language"].tolist() == [*TEXTS]
    assert details["confidence"][0] == pytest.approx(scores[0])
    both = Language("en+de").checked(batch)
    assert both[:2].min() > 0.9
    assert both[2:].max() < 0.05


def test_text_without_letters_is_no_languages() -> None:
    scores = Language("en+de+fr").checked(batch_of(["", "12 34 56", "\n"]))
    assert scores.max() < 0.5


def test_reads_the_first_characters_alone() -> None:
    text = TEXTS["en"] + " " + TEXTS["ru"] * 50
    assert Language(characters=80).checked(batch_of([text]))[0] > 0.9
    assert Language(characters=4000).checked(batch_of([text]))[0] < 0.1


def test_refuses_unknown_languages() -> None:
    with pytest.raises(ValueError, match="codes joined by '\\+' of .*, got 'xx'"):
        Language("en+xx").check()
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Language(characters=0).check()
    assert Language().identity()["py3langid"]


def test_length_in_each_unit(tiny_model: Callable[[str], Path]) -> None:
    batch = batch_of(["", "héllo  wörld\n", "a b c"])
    assert Length().checked(batch).tolist() == [0, 13, 5]
    assert Length("words").checked(batch).tolist() == [0, 2, 3]
    # bytes / 4, rounded up
    assert Length("tokens").checked(batch).tolist() == [0, 4, 2]
    # of the tiny tokenizer every byte is a token
    by_bytes = Length("tokens", str(tiny_model("llama")))
    by_bytes.check()
    assert by_bytes.checked(batch).tolist() == [0, 15, 5]
    assert by_bytes.identity() != Length("tokens").identity()
    assert by_bytes.identity()["tokens"].startswith("tokenizer: blake2b ")
    assert Length().identity() == {}


def test_length_refuses(tiny_model: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="characters, words or tokens, got 'bytes'"):
        Length("bytes").check()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a tokenizer for unit tokens only, got one for words"):
        Length("words", "somewhere").check()
