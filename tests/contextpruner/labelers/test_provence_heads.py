"""What a published checkpoint may have that the small ones of test_provence have not: labels, types, odd texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, DebertaV2Config, DebertaV2ForSequenceClassification

from contextpruner import ContextPruner, Document, SplitDocument, split
from contextpruner.labelers._published_packing import published_question
from contextpruner.labelers.provence import Provence
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.labelers.published_forwards import FORWARDS, affine, encoder, keep

QUESTION = "Who designed the dome?"
TEXT = "The dome was designed by Brunelleschi.  It is 2½ tall."
WRITERS = {"provence": tiny.provence, "xprovence": tiny.xprovence, "open_provence": tiny.open_provence}


def cut(*documents: str | Document) -> list[SplitDocument]:
    given = [Document(item) if isinstance(item, str) else item for item in documents]
    return [SplitDocument(item, tuple(split(item.text))) for item in given]


def rewrite(folder: Path, config: dict[str, object], tensors: dict[str, torch.Tensor]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("name", WRITERS)
def test_the_rank_is_the_first_label_of_as_many_as_the_config_names(name: str, tmp_path: Path) -> None:
    one, two = WRITERS[name](tmp_path / "one"), WRITERS[name](tmp_path / "two")
    tensors, config = load_file(two / "model.safetensors"), json.loads((two / "config.json").read_text())
    key = "ranking_model.classifier" if name == "open_provence" else "classifier"
    for part in ("weight", "bias"):
        tensors[f"{key}.{part}"] = torch.cat([tensors[f"{key}.{part}"], 9 - tensors[f"{key}.{part}"]])
    labels = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    # a stale count beside the names is not believed
    inner = {**config.get("base_model_config", config), **labels, "num_labels": 1}
    rewrite(two, {**config, "base_model_config": inner} if name == "open_provence" else inner, tensors)
    got = Provence(str(two)).score(QUESTION, cut(TEXT))
    np.testing.assert_allclose(got.scores, Provence(str(one)).score(QUESTION, cut(TEXT)).scores, atol=1e-5)


def test_an_open_provence_may_count_its_labels_outside_of_the_base(tmp_path: Path) -> None:
    folder, plain = tiny.open_provence(tmp_path / "bare"), tiny.open_provence(tmp_path / "plain")
    config = json.loads((folder / "config.json").read_text())
    for field in ("id2label", "label2id"):
        del config["base_model_config"][field]
    rewrite(folder, config, load_file(folder / "model.safetensors"))
    got, wanted = (Provence(str(path)).score(QUESTION, cut(TEXT)) for path in (folder, plain))
    np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-6)


@torch.no_grad()
def test_provence_passes_no_token_types_to_a_deberta_that_has_some(tmp_path: Path) -> None:
    size = tiny.sentencepiece(tmp_path, ("[CLS]", "[SEP]"), "never")
    config = DebertaV2Config(**{**tiny.deberta_config(size).to_dict(), "type_vocab_size": 2})
    model = tiny.randomize(DebertaV2ForSequenceClassification(config))
    head = {f"token_classifier.{part}": value for part, value in tiny.linear(2, 1).items()}
    said = {**config.to_dict(), "model_type": "Provence"}
    tiny.write(tmp_path, said, {**model.state_dict(), **head})
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
    text = tokenizer("It is", add_special_tokens=False)["input_ids"]
    hidden = encoder(type(model.deberta), config, load_file(tmp_path / "model.safetensors"), "deberta.")(
        torch.tensor([[0, *ids, 2, *text, 2]])
    ).last_hidden_state[0]
    got = Provence(str(tmp_path), pooling="probability_mean").score(QUESTION, cut("It is"))
    wanted = keep(affine(hidden, head, "token_classifier"))[len(ids) + 2 : -1].mean()
    np.testing.assert_allclose(got.probabilities[0], [wanted], atol=1e-5)
    pooled = F.gelu(affine(hidden[0], load_file(tmp_path / "model.safetensors"), "pooler.dense"))
    rank = affine(pooled, load_file(tmp_path / "model.safetensors"), "classifier")[0]
    assert got.scores[0] == pytest.approx(float(rank), abs=1e-5)


def test_a_token_exactly_at_the_threshold_is_not_decided_for(tmp_path: Path) -> None:
    folder = str(tiny.xprovence(tmp_path))
    # a unit of one token: its mean is its probability, to the last bit
    exact = Provence(folder, pooling="probability_mean").score(QUESTION, cut("It")).probabilities[0]
    assert len(Provence(folder)._tokens(cut("It")[0]).ids) == 1
    for threshold, wanted in ((float(exact[0]), 0), (float(np.nextafter(exact[0], np.float32(0))), 1)):
        assert Provence(folder, threshold=threshold).score(QUESTION, cut("It")).probabilities[0].tolist() == [wanted]


def test_the_published_question() -> None:
    assert published_question("  Who's   THAT?\n", "provence") == "whos that"
    assert published_question("?!", "provence") == "?!"
    assert published_question(" Who's THAT?", "open_provence") == " Who's THAT?"


def test_a_title_takes_a_quarter_and_a_question_half_of_a_row(tmp_path: Path) -> None:
    labeler = Provence(str(tiny.open_provence(tmp_path)))
    room = 64 - 3
    document = cut(Document("It is tall. " * 9, title="The dome " * 90))[0]
    text = labeler._tokens(document)
    rows = labeler._rows(list(range(10, 200)), document, text)
    for packed in rows:
        assert len(packed.row.ids) <= 64
        assert packed.row.ids[1 : 2 + room // 2] == (*range(10, 10 + room // 2), 2)
        assert [*packed.row.ids[2 + room // 2 :][: room // 4]] == text.title[: room // 4]
    assert sorted({place for one in rows for place in range(one.window.start, one.window.end)}) == [
        *range(len(text.ids))
    ]


@torch.no_grad()
def test_a_title_moves_no_unit_to_its_neighbours_number(tmp_path: Path) -> None:
    folder = tiny.open_provence(tmp_path)
    text = "The lazy dog is over. What is good sushi. It is it."
    document = cut(Document(text, title="The long title of a dog"))[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = [QUESTION[:5], "The long title of a dog", *document.texts]
    asked, title, *units = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts)
    values, _ = FORWARDS["open_provence"](
        folder, [1, *asked, 2, *title, *(token for unit in units for token in unit), 2]
    )
    ends = np.cumsum([len(unit) for unit in units]) + len(asked) + 2 + len(title)
    wanted = [values[end - len(unit) : end].mean() for unit, end in zip(units, ends, strict=True)]
    assert np.diff(wanted).any()
    labeler = Provence(str(folder), packing="published", max_length=128)
    result = ContextPruner(labeler).prune(QUESTION[:5], [document.document], top_k=1)
    spans = result.documents[0].spans
    np.testing.assert_allclose([span.probability for span in spans], wanted, atol=1e-5)
    assert spans[int(np.argmax(wanted))].reason == "top_k"
