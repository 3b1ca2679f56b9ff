"""MaxSim over ragged documents: by hand, against float64, and the same bits wherever a document stands."""

import sys

import pytest
import torch

from prunekernels.max_sim import max_sim

MODULE = sys.modules["prunekernels.max_sim"]
INF = torch.inf


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _exact(questions: torch.Tensor, documents: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """The formula in float64, a document at a time."""
    parts = documents.double().split(lengths)
    scores = [(questions.double() @ part.T).amax(1).sum() if len(part) else torch.tensor(-INF) for part in parts]
    return torch.stack([score.double() for score in scores])


def test_by_hand(device: torch.device) -> None:
    questions = torch.tensor([[1.0, 0.0], [0.0, 2.0]], device=device)
    documents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, -1.0]], device=device)
    # 1 + 2, nothing, .6 + 1.6, -1 - 2: an all-negative document keeps its negative maximum
    assert max_sim(questions, documents, [2, 0, 1, 1]).tolist() == pytest.approx([3, -INF, 2.2, -3])
    weights = torch.tensor([0.5, 0.25], device=device)
    assert max_sim(questions, documents, [2, 0, 1, 1], weights=weights).tolist() == pytest.approx([1, -INF, 0.7, -1])
    several = max_sim(questions, documents, torch.tensor([2, 0, 1, 1]), [1, 0, 1])
    assert several.tolist() == [
        pytest.approx([1, -INF, 0.6, -1]),
        pytest.approx([0, -INF, 0, 0]),
        pytest.approx([2, -INF, 1.6, -2]),
    ]


# a document alone, one that is a whole block, one behind it, and one that is longer than several blocks
@pytest.mark.parametrize("lengths", [[1], [16, 1, 15], [3, 0, 0, 70, 1, 200, 0], [0, 0]])
@pytest.mark.parametrize("n_questions", [1, 15, 16, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_agrees_with_float64(
    lengths: list[int], n_questions: int, dtype: torch.dtype, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "MAX_PRODUCTS", 16 * 32)
    questions, documents = _draw(n_questions, 33, dtype=dtype), _draw(sum(lengths), 33, seed=1, dtype=dtype)
    # the largest product of the last document stands in its last row
    if lengths[-1]:
        documents[-1] = 4 * questions[0]
    scores = max_sim(questions.to(device), documents.to(device), lengths)
    exact = _exact(questions, documents, lengths)
    plain = torch.stack(
        [
            (questions.float() @ part.float().T).amax(1).sum() if len(part) else torch.tensor(-INF)
            for part in documents.split(lengths)
        ]
    )
    assert scores.dtype == torch.float32
    finite = exact.isfinite()
    assert torch.equal(scores.cpu()[~finite], exact[~finite].float())
    # twice the error of the same in one product, which is some roundings of sums of this size
    scale = float(exact[finite].abs().max()) if finite.any() else 1.0
    error = 2 * (plain - exact)[finite].abs().max() + 2e-6 * scale if finite.any() else 0
    assert ((scores.cpu() - exact)[finite].abs() <= error).all()


def test_order_and_company_change_no_bit(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(0, 30, (60,), generator=generator)
    documents, questions = _draw(int(lengths.sum()), 33).to(device), _draw(9, 33, seed=1).to(device)
    # a copy ties to the bit
    parts = list(documents.split(lengths.tolist()))
    parts[7], lengths[7] = parts[50], lengths[50]
    whole = max_sim(questions, torch.cat(parts), lengths)
    assert whole[7] == whole[50]
    order = torch.randperm(60, generator=generator)
    shuffled = max_sim(questions, torch.cat([parts[place] for place in order]), lengths[order])
    assert torch.equal(shuffled, whole[order])
    alone = torch.cat([max_sim(questions, part, [len(part)]) for part in parts])
    assert torch.equal(alone, whole)
    others = _draw(600, 33, seed=3).to(device)
    several = max_sim(torch.cat([others, questions, others]), torch.cat(parts), lengths, [600, 4, 5, 600])
    assert torch.equal(several[1], max_sim(questions[:4], torch.cat(parts), lengths))
    assert torch.equal(several[2], max_sim(questions[4:], torch.cat(parts), lengths))
    monkeypatch.setattr(MODULE, "MAX_PRODUCTS", 16 * 40)
    monkeypatch.setattr(MODULE, "COLUMNS", 16)
    assert torch.equal(max_sim(questions, torch.cat(parts), lengths), whole)


def test_weights_are_those_of_each_question(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, questions = _draw(40, 9).to(device), _draw(30, 9, seed=1).to(device)
    weights = torch.rand(30, generator=torch.Generator().manual_seed(2)).to(device)
    # two questions at a time, so that the third one's weights begin elsewhere
    monkeypatch.setattr(MODULE, "COLUMNS", 20)
    together = max_sim(questions, documents, [15, 0, 25], [10, 10, 10], weights)
    for number in range(3):
        rows = slice(10 * number, 10 * number + 10)
        assert torch.equal(together[number], max_sim(questions[rows], documents, [15, 0, 25], weights=weights[rows]))
        exact = (questions[rows].double() @ documents[:15].double().T).amax(1) @ weights[rows].double()
        assert float(together[number, 0]) == pytest.approx(float(exact), rel=1e-5)


def test_strides_change_nothing(device: torch.device) -> None:
    documents, questions = _draw(50, 20).to(device), _draw(5, 20, seed=1).to(device)
    plain = max_sim(questions, documents, [20, 30])
    assert torch.equal(max_sim(questions.T.contiguous().T, documents.T.contiguous().T, [20, 30]), plain)
    wide = torch.zeros(100, 40, device=device)
    wide[::2, ::2] = documents
    assert torch.equal(max_sim(questions, wide[::2, ::2], [20, 30]), plain)


def test_nothing_to_score(device: torch.device) -> None:
    documents = _draw(3, 4).to(device)
    assert max_sim(documents[:0], documents, [3, 0]).tolist() == [0, -INF]
    assert max_sim(documents, documents[:0], []).shape == (0,)
    assert max_sim(documents[:0], documents, [1, 2], []).shape == (0, 2)
    assert max_sim(documents[:, :0], documents[:, :0], [1, 2]).tolist() == [0, 0]


def test_products_that_are_held_do_not_grow_with_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    held, products = [], MODULE.products

    def counted(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        held.append(len(rows) * len(columns))
        return products(rows, columns)

    monkeypatch.setattr(MODULE, "products", counted)
    # many short documents, and one long one
    max_sim(torch.ones(64, 8), torch.zeros(40_000, 8, dtype=torch.float16), [1] * 20_000 + [20_000])
    assert max(held) <= MODULE.MAX_PRODUCTS
    assert sum(held) == 40_000 * 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": torch.zeros(3)}, r"questions \[Q, D\]"),
        ({"questions": torch.zeros(3, 3)}, r"documents \[T, D\]"),
        ({"documents": torch.zeros(4, 2).long()}, "floating"),
        ({"lengths": [3, 2]}, "sum to 4 rows, got 5"),
        ({"lengths": [5, -1]}, "at least 0"),
        ({"lengths": [2.0, 2.0]}, "whole"),
        ({"lengths": torch.tensor([2.0, 2.0])}, "whole lengths"),
        ({"question_lengths": [2]}, "question_lengths that sum to 3"),
        ({"weights": torch.ones(2)}, r"weights \[3\]"),
        ({"weights": torch.tensor([1, torch.nan, 1])}, "row 1 of weights"),
        ({"documents": torch.tensor([[0.0, 0], [0, 0], [0, torch.nan], [0, 0]])}, "row 2 of documents"),
        ({"documents": torch.tensor([[0.0, 0], [0, 0], [0, 0], [-INF, 0]])}, "row 3 of documents"),
        ({"questions": torch.tensor([[0.0, 0], [INF, 0], [0, 0]])}, "row 1 of questions"),
        ({"documents": torch.full((4, 2), 1e30), "questions": torch.full((3, 2), 1e30)}, "float32 can hold"),
    ],
)
def test_refuses(change, message: str) -> None:
    given = {"questions": torch.ones(3, 2), "documents": torch.zeros(4, 2), "lengths": [1, 3]}
    with pytest.raises(ValueError, match=message):
        max_sim(**{**given, **change})
