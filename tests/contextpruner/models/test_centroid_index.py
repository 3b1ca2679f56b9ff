"""An index of token vectors, and its search against the stages written out in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from contextpruner.models.late_interaction import (
    CentroidIndex,
    IndexSettings,
    SearchSettings,
    build_index,
    centroid_scores,
    centroids,
    max_sim,
    plaid_settings,
    search,
)

EVERYTHING = SearchSettings(n_probe=10**6, threshold=None, n_documents=10**6)


def _corpus(n: int = 120, n_dims: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors around thirty directions, documents of 0 to 9 tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 10, (n,), generator=generator)
    topics = torch.randn(30, n_dims, generator=generator)
    which = torch.randint(30, (n,), generator=generator).repeat_interleave(lengths)
    noise = torch.randn(len(which), n_dims, generator=generator)
    return torch.nn.functional.normalize(topics[which] + 0.5 * noise, dim=1), lengths


def _question(seed: int, n: int = 5, n_dims: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, n_dims, generator=generator), dim=1)


VALUES, LENGTHS = _corpus()
PARTS = VALUES.split(LENGTHS.tolist())


def _stages(index: CentroidIndex, question: torch.Tensor, top_k: int, settings: SearchSettings) -> list[int]:
    """PLAID as it is described, a document and a token at a time, in float64."""
    table = index.centroids.double() @ question.double().T
    codes = index.codes.long().split(index.lengths.tolist())
    probed = {int(cell) for column in table.T for cell in column.argsort(descending=True)[: settings.n_probe]}
    left = [n for n, own in enumerate(codes) if probed & {*own.tolist()}]

    def best(scores: dict[int, float], n: int) -> list[int]:
        ranked = sorted(sorted(scores), key=lambda n: -scores[n])
        return [place for place in ranked if scores[place] > scores[ranked[:n][-1]] - 1e-6]

    kept = [c for c in range(len(table)) if c in probed or table[c].max() >= (settings.threshold or -9)]
    pruned = {n: [c for c in codes[n].tolist() if c in kept] for n in left}
    left = best({n: float(table[own].amax(0).sum()) for n, own in pruned.items()}, settings.n_documents)
    left = best({n: float(table[codes[n]].amax(0).sum()) for n in left}, max(settings.n_documents // 4, top_k))
    places = torch.arange(len(index.codes)).split(index.lengths.tolist())
    exact = {n: float((question.double() @ index.vectors(places[n]).double().T).amax(1).sum()) for n in left}
    return best(exact, top_k)[:top_k]


def test_by_hand() -> None:
    # two cells along the axes; the residual's bit says which way from there
    index = CentroidIndex(
        centroids=torch.eye(2),
        codes=torch.tensor([0, 1, 0, 1], dtype=torch.uint8),
        lengths=torch.tensor([1, 0, 2, 1]),
        residuals=torch.tensor([[0b01], [0b01], [0b10], [0b00]], dtype=torch.uint8),
        weights=torch.tensor([-0.5, 0.5]),
        members=torch.tensor([0, 2, 2, 3]),
        cell_sizes=torch.tensor([2, 2]),
    )
    # (1 + .5, -.5), (.5, 1 - .5), (1 - .5, .5), (-.5, 1 - .5), all of length 1
    wanted = torch.tensor([[1.5, -0.5], [0.5, 0.5], [0.5, 0.5], [-0.5, 0.5]])
    torch.testing.assert_close(index.vectors(torch.arange(4)), wanted / wanted.norm(dim=1, keepdim=True))
    found = search(index, torch.tensor([[1.0, 0.0]]), 9)
    assert found.documents.tolist() == [0, 2]
    assert found.scores.tolist() == pytest.approx([1.5 / 2.5**0.5, 0.5**0.5])
    # with both cells the third document comes in, by what it has
    found = search(index, torch.tensor([[1.0, 0.0]]), 9, SearchSettings(2, None, 99))
    assert found.documents.tolist() == [0, 2, 3]
    assert found.scores.tolist() == pytest.approx([1.5 / 2.5**0.5, 0.5**0.5, -(0.5**0.5)])
    assert centroid_scores(index, torch.tensor([[1.0, 0.0], [0.0, 0.5]])).tolist() == [1.0, -torch.inf, 1.5, 0.5]
    # the question's tokens are of cells 0 and 1, whose numbers differ in their one bit
    assert centroid_scores(index, torch.eye(2), binary=True).tolist() == [1, -torch.inf, 2, 1]
    assert centroid_scores(index, torch.eye(2)[:1], binary=True).tolist() == [1, -torch.inf, 1, 0]


@pytest.mark.parametrize("bits", [0, 1, 2, 4])
def test_codes_are_the_nearest_centroids_and_residuals_come_near(bits: int) -> None:
    index = build_index(VALUES, LENGTHS, IndexSettings(bits=bits))
    assert index.centroids.shape == (2 ** int(np.log2(16 * len(VALUES) ** 0.5)), 12)
    assert torch.equal(index.codes.long(), (VALUES @ index.centroids.T).argmax(1))
    assert index.codes.dtype == torch.uint8
    assert index.residuals.shape == (len(VALUES), -(-12 * bits // 8))
    cosines = (index.vectors(torch.arange(len(VALUES))) * VALUES).sum(1)
    assert cosines.mean() > {0: 0.9, 1: 0.95, 2: 0.97, 4: 0.99}[bits]
    assert index.n_bytes == sum(
        value.numel() * value.element_size() for value in vars(index).values() if isinstance(value, torch.Tensor)
    )
    cells = index.members.split(index.cell_sizes.tolist())
    documents = torch.arange(len(LENGTHS)).repeat_interleave(LENGTHS)
    assert [cell.tolist() for cell in cells] == [
        documents[index.codes == k].unique().tolist() for k in range(len(cells))
    ]


@pytest.mark.parametrize("bits", [0, 2])
def test_the_order_of_documents_has_no_effect(bits: int) -> None:
    settings = IndexSettings(n_centroids=20, bits=bits)
    order = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(1))
    one = build_index(VALUES, LENGTHS, settings)
    other = build_index([PARTS[place] for place in order], settings=settings)
    assert torch.equal(one.centroids, other.centroids)
    assert torch.equal(one.weights, other.weights)
    codes, residuals = one.codes.split(LENGTHS.tolist()), one.residuals.split(LENGTHS.tolist())
    assert torch.equal(torch.cat([codes[place] for place in order]), other.codes)
    assert torch.equal(torch.cat([residuals[place] for place in order]), other.residuals)
    for seed in range(8):
        here, there = (search(index, _question(seed), 5, SearchSettings(3, 0.3, 24)) for index in (one, other))
        assert torch.equal(here.scores, there.scores)
        # documents of one score may stand in another order, and the last of them be others
        for score in here.scores.unique()[1:]:
            places = [set(each.documents[each.scores == score].tolist()) for each in (here, there)]
            assert {order[place].item() for place in places[1]} == places[0]


def test_the_seed_decides() -> None:
    one, again, other = (
        build_index(VALUES, LENGTHS, IndexSettings(n_centroids=20, iterations=1, seed=seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(one.centroids, again.centroids)
    assert not torch.equal(one.centroids, other.centroids)


@pytest.mark.parametrize(
    "settings", [SearchSettings(1, 0.5, 16), SearchSettings(2, 0.45, 40), SearchSettings(3, None, 8)]
)
@pytest.mark.parametrize("bits", [1, 4])
def test_search_goes_through_the_stages(settings: SearchSettings, bits: int) -> None:
    index = build_index(VALUES, LENGTHS, IndexSettings(n_centroids=24, bits=bits))
    cut = 0
    for seed in range(12):
        question = _question(seed)
        found = search(index, question, 6, settings)
        assert found.documents.tolist() == _stages(index, question, 6, settings)
        everything = search(index, question, 6, EVERYTHING)
        cut += found.documents.tolist() != everything.documents.tolist()
    # the stages cost something here, so that leaving one out would show
    assert cut


def test_everything_kept_is_exact_max_sim_of_what_the_index_knows() -> None:
    index = build_index(VALUES, LENGTHS)
    there = index.vectors(torch.arange(len(VALUES)))
    for seed in range(3):
        question = _question(seed)
        exact = max_sim(question, there, LENGTHS)
        found = search(index, question, len(LENGTHS), EVERYTHING)
        # empty documents are never found
        assert len(found.documents) == int((LENGTHS > 0).sum())
        torch.testing.assert_close(found.scores, exact[found.documents])
        assert torch.equal(found.documents, exact.sort(descending=True, stable=True).indices[: len(found.documents)])


def test_without_residuals_centroid_interaction_has_the_last_word() -> None:
    index = build_index(VALUES, LENGTHS, IndexSettings(bits=0))
    question = _question(2)
    found = search(index, question, 7, EVERYTHING)
    scores = centroid_scores(index, question)
    assert torch.equal(found.documents, scores.sort(descending=True, stable=True).indices[:7])
    assert torch.equal(found.scores, scores[found.documents])


def test_copies_tie_and_go_by_their_place() -> None:
    parts = [*PARTS, *PARTS]
    index = build_index(parts)
    for seed in range(5):
        found = search(index, _question(seed), 10, EVERYTHING)
        first, second = found.documents[::2], found.documents[1::2]
        assert torch.equal(second, first + len(PARTS))
        assert torch.equal(found.scores[::2], found.scores[1::2])


def test_few_candidates_come_back_as_they_are() -> None:
    index = build_index(torch.eye(3), [1, 1, 1])
    found = search(index, torch.tensor([[0.9, 0.1, 0.0]]), 10)
    assert found.documents.tolist() == [0]
    assert search(index, torch.zeros(0, 3)).documents.tolist() == []


def test_arrays_come_back_as_the_kind_that_was_given() -> None:
    index = build_index(VALUES.numpy(), LENGTHS.numpy())
    found = search(index, _question(0).numpy())
    assert isinstance(found.documents, np.ndarray)
    assert isinstance(found.scores, np.ndarray)
    assert isinstance(centroid_scores(index, _question(0)), np.ndarray)
    plain = search(build_index(VALUES, LENGTHS), _question(0))
    assert found.documents.tolist() == plain.documents.tolist()


def test_halves_and_scales_are_the_same_directions() -> None:
    settings = IndexSettings(n_centroids=16)
    halves = build_index(VALUES.half(), LENGTHS, settings)
    wide = build_index(8 * VALUES.half().float(), LENGTHS, settings)
    assert torch.equal(halves.codes, wide.codes)
    question = _question(1)
    torch.testing.assert_close(search(halves, question.half()).scores, search(wide, question.half()).scores)


def test_read_in_blocks_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_index(VALUES, LENGTHS, IndexSettings(bits=2))
    monkeypatch.setattr(centroids, "ROWS", 13)
    monkeypatch.setattr(centroids, "MAX_PAIRS", 5 * len(whole.centroids))
    parts = build_index(VALUES, LENGTHS, IndexSettings(bits=2))
    for name, value in vars(whole).items():
        assert value is parts.is_numpy or torch.equal(value, vars(parts)[name]), name


def test_a_sample_trains_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centroids, "SAMPLE", 8)
    seen = []
    fit = centroids.kmeans
    monkeypatch.setattr(
        centroids, "kmeans", lambda rows, *rest, **more: seen.append(len(rows)) or fit(rows, *rest, **more)
    )
    index = build_index(VALUES, LENGTHS, IndexSettings(n_centroids=20))
    # of 160 a twentieth says what residuals are like
    assert seen == [152]
    assert len(index.codes) == len(VALUES) > 160


def test_centroids_trained_elsewhere_are_taken() -> None:
    index = build_index(VALUES, LENGTHS, IndexSettings(n_centroids=20, bits=2))
    again = build_index(VALUES, LENGTHS, IndexSettings(n_centroids=99, bits=2), index.centroids)
    assert torch.equal(again.codes, index.codes)
    torch.testing.assert_close(again.centroids, index.centroids)
    few = build_index(VALUES.numpy()[:3], [3], IndexSettings(bits=1), index.centroids.numpy())
    assert len(few.centroids) == 20
    torch.testing.assert_close(few.codes, index.codes[:3])
    assert search(build_index(VALUES[:0], [0], centroids=index.centroids), VALUES[:2]).documents.tolist() == []


def test_hardly_any_tokens() -> None:
    for n in (0, 1, 2, 5):
        index = build_index(VALUES[:n], [0, n, 0])
        assert len(index.centroids) == n
        found = search(index, VALUES[:1], settings=EVERYTHING)
        assert found.documents.tolist() == ([1] if n else [])
        assert centroid_scores(index, VALUES[:1]).shape == (3,)
        assert centroid_scores(index, VALUES[:1], binary=True).shape == (3,)
    assert search(build_index(VALUES[:0], []), VALUES[:1]).documents.tolist() == []
    # copies of one row: a residual of nothing
    same = build_index(VALUES[:1].repeat(40, 1), [40], IndexSettings(bits=2))
    torch.testing.assert_close(same.vectors(torch.arange(40)), VALUES[:1].repeat(40, 1))


def test_settings_by_how_many_are_wanted() -> None:
    assert [plaid_settings(k) for k in (10, 100, 1000, 5000)] == [
        SearchSettings(1, 0.5, 256), SearchSettings(2, 0.45, 1024), SearchSettings(4, 0.4, 4096),
        SearchSettings(4, 0.4, 20_000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_index(VALUES.long(), LENGTHS), "floating-point"),
        (lambda: build_index(VALUES[:, :0], LENGTHS), "at least 1"),
        (lambda: build_index(torch.cat([VALUES[:40], torch.full((1, 12), torch.nan)]), [41]), "row 40 of vectors"),
        (lambda: build_index(VALUES, LENGTHS, centroids=VALUES[:0]), "at least one of the centroids"),
        (lambda: build_index(VALUES, LENGTHS, centroids=VALUES[:5, :3]), r"centroids \[n, 12\]"),
        (lambda: build_index(VALUES, LENGTHS, centroids=VALUES[:2] * torch.nan), "row 0 of centroids"),
        (lambda: IndexSettings(bits=3), "bits"),
        (lambda: IndexSettings(n_centroids=0), "n_centroids"),
        (lambda: IndexSettings(iterations=0), "iteration"),
        (lambda: SearchSettings(0, None, 5), "n_probe"),
        (lambda: SearchSettings(1, None, 0), "n_documents"),
        (lambda: SearchSettings(1, float("nan"), 5), "threshold"),
        (lambda: search(build_index(VALUES, LENGTHS), VALUES[:1], 0), "top_k"),
        (lambda: search(build_index(VALUES, LENGTHS), VALUES[:1, :5]), r"question \[n, 12\]"),
        (
            lambda: search(build_index(VALUES, LENGTHS), VALUES[:2] * torch.tensor([[1.0], [torch.inf]])),
            "row 1 of quest",
        ),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_changed_index_is_another_one() -> None:
    index = build_index(VALUES, LENGTHS)
    with pytest.raises(AttributeError):
        index.codes = index.codes  # type: ignore[misc]
    assert replace(index, is_numpy=True).is_numpy
