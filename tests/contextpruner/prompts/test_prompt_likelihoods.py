"""A prompt under a tiny random Llama: numbers against its logits written out, with the cache and without."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch

from contextpruner.prompts.language_model.answers import AnswerReader, check_prefix_cache, common_prefix
from contextpruner.prompts.language_model.task import LanguageModelTask, PromptModel, load_prompt_model
from contextpruner.prompts.pieces import cut_prompt, token_ends
from contextpruner.prompts.prompt import Prompt, Shot
from tests.contextpruner import tiny_checkpoints

PROMPT = Prompt("Say it.", "Q: {question}\nA:", (Shot("the dome", "it"), Shot("whö?", "the mist")), "\n")
ROWS = [Shot("the", "it"), Shot("is the dome tall?", "the mist"), Shot("who", "I"), Shot("穹顶", "I")]
LABELS = ("it", "the mist", "I", "is")


@pytest.fixture(scope="module", params=[False, True], ids=["no first token", "a first token"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.causal_lm(tmp_path_factory.mktemp("lm"), bos=request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> PromptModel:
    return load_prompt_model(str(folder), device="cpu", window=200)


def task(model: PromptModel, prompt: Prompt = PROMPT, rows: list[Shot] = ROWS, **more: object) -> LanguageModelTask:
    pieces = cut_prompt(prompt, lambda text: token_ends(model.lm.tokenizer, text))
    return LanguageModelTask(model, prompt, pieces, rows, **{"labels": LABELS, **more})  # type: ignore[arg-type]


@torch.inference_mode()
def total(model: PromptModel, prompt: str, answer: str) -> float:
    """Ln p of the answer's tokens, from the logits of one row that is read from its start."""
    ids = [model.lm.tokenizer.encode(text, add_special_tokens=False) for text in (prompt, answer)]
    logits = model.lm.model(input_ids=torch.tensor([[*model.lm.first, *ids[0], *ids[1]]])).logits[0]
    tail = logits[-len(ids[1]) - 1 : -1].double().log_softmax(-1)
    return float(tail[range(len(ids[1])), ids[1]].sum())


def masks(n: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [np.ones(n, dtype=bool), *(draw.random((2, n)) < 0.5), np.zeros(n, dtype=bool)]


def test_labels_against_logits_of_texts_that_are_written_out(model: PromptModel) -> None:
    one = task(model)
    for kept in masks(len(one.pieces)):
        context = "".join(text for text, stays in zip(one.pieces.texts, kept, strict=True) if stays)
        found = one.score(kept, range(4))
        for number, row in enumerate(ROWS):
            own = np.array([total(model, f"{context}Q: {row.question}\nA:", f" {label}") for label in LABELS])
            right = own[LABELS.index(row.answer)]
            assert found.likelihood[number] == pytest.approx(right - np.log(np.exp(own).sum()), abs=2e-5)
            assert found.correct[number] == float(own.argmax() == LABELS.index(row.answer))
    assert len({*found.correct}) == 2


def test_free_answers_are_a_mean_over_tokens(model: PromptModel) -> None:
    prompt = Prompt("", "{question} = ", PROMPT.shots, "; ")
    one = task(model, prompt, labels=())
    assert one.pieces.join(np.ones(len(one.pieces), dtype=bool)) == "the dome = it; whö? = the mist; "
    found = one.score(np.ones(len(one.pieces), dtype=bool), range(4))
    for number, row in enumerate(ROWS):
        # the form ends with a space, so that none stands before the answer
        own = total(model, f"the dome = it; whö? = the mist; {row.question} = ", row.answer)
        n_tokens = len(model.lm.tokenizer.encode(row.answer, add_special_tokens=False))
        assert found.likelihood[number] == pytest.approx(own / n_tokens, abs=2e-5)


def varied(model: PromptModel, **fields: object) -> PromptModel:
    return replace(model, reader=model.reader._replace(**fields))  # type: ignore[arg-type]


def test_batches_and_the_cache_change_nothing_but_rounding(model: PromptModel) -> None:
    for labels in (LABELS, ()):
        reference = task(varied(model, batch_size=1, prefix_cache=False), labels=labels)
        others = [
            task(varied(model, batch_size=batch_size, prefix_cache=prefix_cache), labels=labels)
            for batch_size, prefix_cache in ((1, True), (3, True), (3, False))
        ]
        full, some, *_, nothing = masks(len(reference.pieces))
        for kept, rows in ((full, range(4)), (some, range(4)), (some, (3, 1)), (full, (2,)), (nothing, (1, 2, 3))):
            want = reference.score(kept, rows)
            for other in others:
                got = other.score(kept, rows)
                assert got.likelihood == pytest.approx(want.likelihood, abs=2e-5)
                assert got.correct.tolist() == want.correct.tolist()


def test_what_prompts_share_is_read_once(model: PromptModel) -> None:
    read: list[tuple[int, ...]] = []
    hook = model.lm.model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        one = task(model)
        one.score(np.ones(len(one.pieces), dtype=bool), range(4))
    finally:
        hook.remove()
    sizes = [len(one._prompt(one.pieces.join(np.ones(len(one.pieces), dtype=bool)), row)) for row in range(4)]
    prompts = [one._prompt(PROMPT.context, row) for row in range(4)]
    shared = common_prefix(prompts)
    assert shared >= len(one.pieces) - 2
    # the prefix, the rest of the rows, and what labels have behind their first token
    longest = max(len(model.encode(f" {label}")) for label in LABELS) - 1
    more = sum(len(model.encode(f" {label}")) > 1 for label in LABELS)
    assert read == [(1, shared), (4, max(sizes) - shared), (4 * more, longest)]


def test_the_shared_prefix_leaves_a_token_of_each() -> None:
    assert common_prefix([(1, 2, 3), (1, 2, 4)]) == 2
    assert common_prefix([(1, 2), (1, 2, 3)]) == 1
    assert common_prefix([(1, 2, 3)]) == 2
    assert common_prefix([(1,), (2,)]) == 0


def test_a_model_that_reads_a_cache_otherwise_is_refused(model: PromptModel, monkeypatch: pytest.MonkeyPatch) -> None:
    base = model.lm.model.base_model
    forward = base.forward

    @wraps(forward)
    def without_positions(**given: object) -> object:
        # as if every call were a start: its positions begin at 0
        ids = given["input_ids"]
        assert isinstance(ids, torch.Tensor)
        return forward(**{**given, "position_ids": torch.arange(ids.shape[1])[None]})

    check_prefix_cache(model.reader, "it")
    monkeypatch.setattr(base, "forward", without_positions)
    with pytest.raises(ValueError, match="it: it reads on from a cache otherwise than from the start: want prefix_"):
        check_prefix_cache(AnswerReader(model.lm), "it")


def test_vectors_of_pieces(model: PromptModel) -> None:
    one = task(model)
    embedded, states = one.embeddings(), one.states()
    assert embedded.shape == states.shape == (len(one.pieces), 16)
    first, *_, last = [place for place, text in enumerate(one.pieces.texts) if text == one.pieces.texts[0]] * 2
    assert (embedded[first] == embedded[last]).all()
    with torch.inference_mode():
        ids = [*model.lm.first, *model.encode(PROMPT.context)]
        hidden = model.lm.model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, len(model.lm.first) :]
    # of "ö", two tokens that are one piece, the mean of both; from the end, as all before have their own token
    place = one.pieces.texts.index("ö")
    before = len(model.encode("".join(one.pieces.texts[:place])))
    assert states[place] == pytest.approx(hidden[before : before + 2].mean(0).numpy(), abs=1e-5)
    assert states[-1] == pytest.approx(hidden[-1].numpy(), abs=1e-5)


def test_what_a_task_is_known_by(model: PromptModel) -> None:
    names = {
        task(model).name,
        task(model, rows=ROWS[:3]).name,
        task(model, labels=LABELS[:3]).name,
        task(model, replace(PROMPT, question="Q: {question}\nA: ")).name,
        task(replace(model, identity="other")).name,
    }
    assert len(names) == 5
    assert task(model).name == task(model).name


def test_what_cannot_be_scored_is_refused(model: PromptModel, folder: Path) -> None:
    with pytest.raises(ValueError, match="row 2: want an answer among the 2 labels, got 'I'"):
        task(model, labels=LABELS[:2])
    with pytest.raises(ValueError, match="accuracy where there are labels"):
        task(model, labels=(), objective="accuracy")
    with pytest.raises(ValueError, match="no label or two different ones"):
        task(model, labels=("it", "it", "the mist", "is"))
    with pytest.raises(ValueError, match="row 1: want at most 200 tokens in all, got"):
        task(model, rows=[ROWS[0], Shot("x" * 200, "it")])
    with pytest.raises(ValueError, match="got int8"):
        load_prompt_model(str(folder), precision="int8")
    if not model.lm.first:
        with pytest.raises(ValueError, match="row 0: want a question in its form that has tokens"):
            task(model, Prompt("Say.", "{question}"), rows=[Shot("", "it")])
