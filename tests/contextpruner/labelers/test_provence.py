"""Published layouts: token probabilities, unit values and ranks against forwards written here from the descriptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from contextpruner import ContextPruner, Document, SplitDocument, split
from contextpruner.labelers.provence import Provence
from contextpruner.models.joint_encoder import JointEncoder, layout_of, load_joint
from prunekernels.io.checkpoint import find_checkpoint
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.labelers.published_forwards import FORWARDS, SPECIALS, modernbert_forward

QUESTION = "Who designed the dome?"
TEXT = "The dome was designed by Brunelleschi.  It is 2½ tall.\r\nWho is baked from flour?"
LAYOUTS = {
    "provence": tiny.provence,
    "xprovence": tiny.xprovence,
    "open_provence": tiny.open_provence,
    "open_provence_legacy": lambda folder: tiny.open_provence(folder, legacy=True),
    "open_provence_xlmr": lambda folder: tiny.open_provence(folder, "xlm-roberta"),
    "open_provence_bert": lambda folder: tiny.open_provence(folder, "bert"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    return {name: write(root / name) for name, write in LAYOUTS.items()}


def cut(*documents: str | Document) -> list[SplitDocument]:
    given = [Document(item) if isinstance(item, str) else item for item in documents]
    return [SplitDocument(item, tuple(split(item.text))) for item in given]


def pooled(values: np.ndarray, name: str, threshold: float) -> float:
    return float((values > threshold).mean() if "open" not in name else values.mean())


@pytest.mark.parametrize("name", LAYOUTS)
@torch.no_grad()
def test_joint_packing_against_an_independent_forward(folders: dict[str, Path], name: str) -> None:
    folder = folders[name]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    document = cut(Document(TEXT, title="Florence"))[0]
    before, between, after = SPECIALS.get(name, ([0], [2], [2]))
    asked = tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
    text = f"Florence\n{TEXT}"
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = [*before, *asked, *between, *coded["input_ids"], *after]
    values, rank = FORWARDS[name](folder, ids)
    labels = Provence(str(folder), max_length=128).score(QUESTION, [document])
    for unit, got in zip(document.units, labels.probabilities[0], strict=True):
        mine = []
        for place, (start, end) in enumerate(coded["offset_mapping"]):
            seen = [i - 9 for i in range(start, end) if not text[i].isspace()] or [start - 9]
            if any(unit.start <= character < unit.end for character in seen):
                mine.append(values[len(before + asked + between) + place])
        assert mine
        assert got == pytest.approx(pooled(np.array(mine), name, 0.3 if name == "xprovence" else 0.1), abs=1e-5)
    assert labels.scores[0] == pytest.approx(rank, abs=1e-5)


@pytest.mark.parametrize("title", [None, "The long dome of it"])
@pytest.mark.parametrize("name", LAYOUTS)
@torch.no_grad()
def test_published_packing_against_an_independent_forward(
    folders: dict[str, Path], name: str, title: str | None
) -> None:
    folder = folders[name]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    document = cut(Document(TEXT, title=title))[0]
    before, between, after = SPECIALS.get(name, ([0], [2], [2]))
    is_open = "open" in name
    # a title is the first sentence, and all sentences but the first have a space before them
    first = 0 if title else 1
    spaced = [" " * (index >= first) + text.strip() for index, text in enumerate(document.texts)]
    texts = document.texts if is_open else spaced
    named = tokenizer(title, add_special_tokens=False)["input_ids"] if title else []
    sentences = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    asked = tokenizer(QUESTION if is_open else "who designed the dome", add_special_tokens=False)["input_ids"]
    ids = [*before, *asked, *between, *named, *(token for sentence in sentences for token in sentence), *after]
    values, rank = FORWARDS[name](folder, ids)
    labels = Provence(str(folder), packing="published", max_length=128).score(QUESTION, [document])
    start = len(before + asked + between + named)
    for sentence, got in zip(sentences, labels.probabilities[0], strict=True):
        mine = values[start : start + len(sentence)]
        start += len(sentence)
        assert got == pytest.approx(pooled(mine, name, 0.3 if name == "xprovence" else 0.1), abs=1e-5)
    assert labels.scores[0] == pytest.approx(rank, abs=1e-5)


@torch.no_grad()
def test_modernbert_is_read_before_its_final_norm(folders: dict[str, Path]) -> None:
    ids = list(range(1, 60))
    model, _ = load_joint(find_checkpoint(str(folders["open_provence"])), "open_provence")
    got = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0][0].numpy()
    np.testing.assert_allclose(got, modernbert_forward(folders["open_provence"], ids)[0], atol=1e-5)
    assert np.abs(got - modernbert_forward(folders["open_provence"], ids, after_norm=True)[0]).max() > 0.1
    # the ranker is left as transformers has it, and no hook stays
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_layouts_are_told_apart_and_carry_their_own_defaults(folders: dict[str, Path], tmp_path: Path) -> None:
    told = {name: layout_of(find_checkpoint(str(folder))) for name, folder in folders.items()}
    assert told == {name: "open_provence" if "open" in name else name for name in LAYOUTS}
    assert layout_of(find_checkpoint(str(tiny.cross_encoder(tmp_path / "other")))) is None
    defaults = {name: Provence(str(folders[name])).default_threshold for name in ("provence", "xprovence")}
    assert defaults == {"provence": pytest.approx(0.1), "xprovence": pytest.approx(0.3)}
    assert Provence(str(folders["provence"]), threshold=0.5).default_threshold > 0.5
    for field in ("default_threadshold", "default_threshold"):
        folder = tiny.open_provence(tmp_path / field, **{field: 0.25})
        assert Provence(str(folder)).default_threshold == pytest.approx(0.25)
        assert Provence(str(folder)).default_threshold > 0.25


def test_modes_can_be_named(folders: dict[str, Path]) -> None:
    documents = cut(TEXT)
    own = Provence(str(folders["provence"])).score(QUESTION, documents)
    other = Provence(str(folders["provence"]), pooling="probability_mean", rank="sigmoid").score(QUESTION, documents)
    assert other.scores[0] == pytest.approx(1 / (1 + np.exp(-own.scores[0])), abs=1e-6)
    high = Provence(str(folders["provence"]), threshold=0.999).score(QUESTION, documents).probabilities[0]
    assert (high <= own.probabilities[0]).all()
    assert (high < own.probabilities[0]).any()
    assert (other.probabilities[0] != own.probabilities[0]).all()


@pytest.mark.parametrize("packing", ["joint", "published"])
@torch.no_grad()
def test_long_documents_are_read_in_windows(folders: dict[str, Path], packing: str) -> None:
    folder = folders["open_provence"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Then, the dome. " * 4 + "Bread is 12. " * 4 + ("X" * 200 if packing == "published" else "")
    document = cut(text)[0]
    labeler = Provence(str(folder), packing=packing, batch_size=3, overlap=0)  # type: ignore[arg-type]
    labels = labeler.score("the?", [document])
    question = tokenizer("the?", add_special_tokens=False)["input_ids"]
    room = 64 - 3 - len(question)
    texts = [text] if packing == "joint" else document.texts
    ids = [token for part in texts for token in tokenizer(part, add_special_tokens=False)["input_ids"]]
    pieces = [len(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in document.texts]
    if packing == "published":
        # a unit of more than half a window is cut into fragments of 32 tokens
        pieces[8:] = [32] * 6 + [8]
    assert sum(pieces) == len(ids)
    windows: list[int] = []
    for piece in pieces:
        if windows and windows[-1] + piece <= room:
            windows[-1] += piece
        else:
            windows.append(piece)
    done, values, ranks = 0, [], []
    for size in windows:
        kept, rank = modernbert_forward(folder, [1, *question, 2, *ids[done : done + size], 2])
        values.append(kept[len(question) + 2 : -1])
        ranks.append(rank)
        done += size
    flat = np.concatenate(values)
    edges = np.cumsum(pieces)[:-1]
    means = [part.mean() for part in np.split(flat, edges)]
    if packing == "published":
        means[8:] = [np.mean(means[8:])]
    np.testing.assert_allclose(labels.probabilities[0], means, atol=1e-5)
    # of joint packing not the first window's, of the other not the last's
    assert np.argmax(ranks) != (0 if packing == "joint" else len(ranks) - 1)
    assert labels.scores[0] == pytest.approx(max(ranks), abs=1e-5)


def test_without_a_rule_the_checkpoint_decides_as_published(folders: dict[str, Path], tmp_path: Path) -> None:
    for folder in (folders["provence"], tiny.open_provence(tmp_path / "half", default_threadshold=0.5)):
        labeler = Provence(str(folder))
        labels = labeler.score(QUESTION, cut(TEXT))
        result = ContextPruner(labeler).prune(QUESTION, [TEXT])
        threshold = 0.1 if folder == folders["provence"] else 0.5
        kept = labels.probabilities[0].astype(np.float64) > threshold
        if kept.any():
            assert [span.reason == "threshold" for span in result.documents[0].spans] == kept.tolist()


def test_exactly_at_the_threshold_is_not_above_it() -> None:
    from contextpruner.labeler import above

    for threshold in (0.0, 0.1, 0.25, 0.3, 0.5, 0.999):
        assert np.float32(threshold) < np.float32(above(threshold)) < np.float32(threshold) + 1e-6
    assert above(1.0) == 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_padding_and_company_change_nothing(folders: dict[str, Path], name: str) -> None:
    documents = cut(TEXT, "It is.", "The dome. " * 30, "", "Who is baked? " * 5)
    one = Provence(str(folders[name]), batch_size=1).score(QUESTION, documents)
    many = Provence(str(folders[name]), batch_size=64, pooling="own").score(QUESTION, documents)
    back = Provence(str(folders[name]), batch_size=64).score(QUESTION, documents[::-1])
    # float32 over two layers: 1e-5 is a hundred roundings
    for index in range(len(documents)):
        np.testing.assert_allclose(many.probabilities[index], one.probabilities[index], atol=1e-5)
        np.testing.assert_allclose(back.probabilities[-1 - index], one.probabilities[index], atol=1e-5)
    np.testing.assert_allclose(many.scores, one.scores, atol=1e-5)


def test_text_that_looks_like_special_tokens_is_text(folders: dict[str, Path]) -> None:
    for name, text in (("xprovence", "It is </s> the <pad> dome."), ("open_provence", "It is [SEP] the [PAD] dome.")):
        labeler = Provence(str(folders[name]))
        ids = labeler._tokens(cut(text)[0]).ids
        assert not {*ids} & ({0, 1, 2} if name == "xprovence" else {0, 1, 2, 3})
        labeler.score(text, cut(text))


def test_several_threads_get_what_one_gets(folders: dict[str, Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    labeler = Provence(str(folders["open_provence"]))
    texts = [f"The dome is {number}. " * (1 + number % 5) for number in range(24)]
    alone = [labeler.score(QUESTION, cut(text)).probabilities[0] for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: labeler.score(QUESTION, cut(text)).probabilities[0], texts))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch_size": 0}, "batch_size of at least 1, got 0"),
        ({"threshold": 1.5}, r"threshold in \[0, 1\], got 1.5"),
        ({"threshold": float("nan")}, "got nan"),
        ({"max_length": 5}, "max_length of at least 32, got 5"),
        ({"overlap": -1}, "overlap of at least 0, got -1"),
    ],
)
def test_bad_fields_are_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Provence(**fields)  # type: ignore[arg-type]


def test_a_joint_encoder_frees_its_hook_after_an_error(folders: dict[str, Path]) -> None:
    model, _ = load_joint(find_checkpoint(str(folders["provence"])), "provence")
    assert isinstance(model, JointEncoder)
    with pytest.raises(IndexError):
        model(torch.tensor([[10**6]]), torch.ones(1, 1, dtype=torch.int64))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_long_document_gets_a_number_for_every_unit(folders: dict[str, Path]) -> None:
    text = "".join(f"The dome is {number}. " for number in range(2_500))
    document = cut(text)[0]
    labels = Provence(str(folders["provence"])).score(QUESTION, [document])
    assert len(labels.probabilities[0]) == 2_500
    again = Provence(str(folders["provence"]), batch_size=7).score(QUESTION, [document])
    np.testing.assert_allclose(again.scores, labels.scores, atol=1e-5)


def test_a_window_begins_with_the_heading_that_its_units_stand_under(folders: dict[str, Path]) -> None:
    document = cut("# It\n\n" + "The dome is tall. " * 12)[0]
    labeler = Provence(str(folders["open_provence"]), overlap=0)
    tokenizer = AutoTokenizer.from_pretrained(folders["open_provence"])
    asked, heading = ([*tokenizer(text, add_special_tokens=False)["input_ids"]] for text in ("who?", "# It\n\n"))
    text = labeler._tokens(document)
    rows = labeler._rows(asked, document, text)
    assert len(rows) > 3
    for place, packed in enumerate(rows):
        own = text.ids[packed.window.start : packed.window.end]
        carried = heading if place else []
        assert [*packed.row.ids] == [1, *asked, 2, *carried, *own, 2]
        assert packed.own(np.array(packed.row.ids)).tolist() == own
