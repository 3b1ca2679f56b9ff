"""Dynamic EL2N: the joint score, the smoothing, exact numbers of rows, and the Trainer that trains on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner.training.dynamic_el2n import DynamicEl2n, KeptRows
from datapruner.training.joint_el2n import joint_el2n
from datapruner.training.smoothed_scores import SmoothedScores
from prunekernels.el2n import el2n
from tests.datapruner.training.trainer_models import Rows, TinyClassifier, trainer

DRAW = torch.Generator().manual_seed(0)


def test_joint_scores_are_the_published_reductions() -> None:
    intents, slots = torch.tensor([0, 2, 1]), torch.tensor([[1, 0, -100, 3], [-100, -100, 2, 2], [-100] * 4])
    intent_logits, slot_logits = torch.randn(3, 3, generator=DRAW), torch.randn(3, 4, 5, generator=DRAW)
    exact: dict[str, list[float]] = {"norm": [], "sum": [], "mean": []}
    for row in range(3):
        p = intent_logits[row].double().softmax(-1).numpy()
        e = np.linalg.norm(p - np.eye(3)[intents[row]])
        q = slot_logits[row].double().softmax(-1).numpy()
        s = [np.linalg.norm(q[t] - np.eye(5)[slots[row, t]]) for t in range(4) if slots[row, t] >= 0]
        exact["norm"].append(np.sqrt(e**2 + sum(value**2 for value in s)))
        exact["sum"].append(e + sum(s))
        exact["mean"].append((e + (sum(s) / len(s) if s else 0)) / 2)
    for reduction, wanted in exact.items():
        found = joint_el2n(intent_logits, intents, slot_logits, slots, reduction)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, wanted, rtol=2e-6)
        # pads change nothing
        padded = (
            torch.cat([slot_logits, 99 * torch.ones(3, 2, 5)], 1),
            torch.nn.functional.pad(slots, (0, 2), value=-100),
        )
        np.testing.assert_allclose(joint_el2n(intent_logits, intents, *padded, reduction), wanted, rtol=2e-6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="want norm, sum or mean"):
        joint_el2n(intent_logits, intents, slot_logits, slots, "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="want intents"):
        joint_el2n(intent_logits, intents, slot_logits, slots[:, 1:])


@pytest.mark.parametrize(("alpha", "deviations"), [(0.8, 1.0), (0.3, 2.0), (0.8, 0.0), (1.0, 1.0)])
def test_smoothing_is_that_of_pandas(alpha: float, deviations: float) -> None:
    pandas = pytest.importorskip("pandas")
    rounds = np.random.default_rng(1).random((6, 9)).astype(np.float32)
    smoothed = SmoothedScores(alpha, deviations)
    for number in range(1, 7):
        found = smoothed.update(rounds[number - 1])
        window = pandas.DataFrame(rounds[:number].astype(np.float64)).ewm(alpha=alpha, adjust=False)
        spread = window.std().iloc[-1].fillna(0).to_numpy()
        np.testing.assert_allclose(
            found, window.mean().iloc[-1].to_numpy() + deviations * spread, rtol=1e-9, atol=1e-12
        )
    with pytest.raises(ValueError, match="of 9 rows as before"):
        smoothed.update(rounds[0, :8])


@pytest.mark.parametrize(("keep_ratio", "offset"), [(0.5, 0.0), (0.3, 0.1), (0.9, 0.1), (0.07, 0.55), (1.0, 0.0)])
def test_sizes_are_exact_under_ties(keep_ratio: float, offset: float) -> None:
    scores = np.repeat([0.1, 0.5, 0.5, 0.9], 25)
    pruning = DynamicEl2n(KeptRows(Rows(100)), keep_ratio, offset)
    kept = pruning.chosen(scores)
    assert len(kept) == len(set(kept.tolist())) == round(100 * keep_ratio)
    # none that is kept is above one of the offset, none that is left out below them is above one that is kept
    left = np.setdiff1d(np.arange(100), kept)
    above = np.sort(scores[left])[::-1][: round(100 * offset)]
    assert (scores[kept].max() <= above).all()
    below = np.sort(scores[left])[::-1][round(100 * offset) :]
    assert (below <= scores[kept].min()).all()
    # ties go by lot, and not to the first rows, which are of one class where a set is sorted by class
    if keep_ratio == 0.5:
        # of the fifty that tie half are kept: 12.5 of the first 25, within four standard deviations
        assert 5 <= (kept < 50).sum() <= 20


class Watched(DynamicEl2n):
    """Keeps what each epoch was trained on."""

    def on_epoch_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.trained = [*getattr(self, "trained", []), self.rows.kept.tolist()]


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_trainer_trains_on_the_highest_of_each_round(accumulation: int, tmp_path: Path) -> None:
    data, model = Rows(40, with_keys=False), TinyClassifier()
    rows = KeptRows(data)
    scored: list[torch.Tensor] = []

    def score(output: dict[str, torch.Tensor], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        assert not model.training
        scored.append(el2n(output["logits"], inputs["labels"]))
        return scored[-1]

    pruning = Watched(rows, keep_ratio=0.3, offset=0.1, begin=2, every=2, score=score, batch_size=40)  # type: ignore[arg-type]
    options = {"num_train_epochs": 7, "gradient_accumulation_steps": accumulation}
    trainer(model, rows, pruning, tmp_path, **options).train()
    assert [len(kept) for kept in pruning.trained] == [40, 40, 12, 12, 12, 12, 12]
    # behind epochs 2, 4 and 6, and not behind the last
    assert len(scored) == 3
    smoothed = SmoothedScores()
    for number, scores in enumerate(scored):
        ranked = np.argsort(-smoothed.update(scores.numpy()))
        assert pruning.trained[2 + 2 * number] == sorted(ranked[4:16].tolist())
    # the passes that the model saw are those rows, epoch by epoch, each once
    seen = [int((data.x == row).all(1).nonzero()[0]) for x, _ in model.seen for row in x]
    for kept in pruning.trained:
        assert sorted(seen[: len(kept)]) == kept
        seen = seen[len(kept) :]
    assert not seen
    assert pruning.planned_steps(7, 4) == len(model.seen)


def test_what_the_trainer_cannot_follow_is_refused(tmp_path: Path) -> None:
    rows = KeptRows(Rows(8, with_keys=False))
    for wrong in ({"keep_ratio": 0.8, "offset": 0.3}, {"begin": 0}, {"every": 0}, {"offset": -0.1}):
        with pytest.raises(ValueError, match="want begin and every"):
            DynamicEl2n(rows, **wrong)  # type: ignore[arg-type]
    run = trainer(
        TinyClassifier(),
        rows,
        DynamicEl2n(rows),
        tmp_path,
        dataloader_persistent_workers=True,
        dataloader_num_workers=1,
    )
    with pytest.raises(ValueError, match="workers do not persist"):
        run.train()
    run = trainer(TinyClassifier(), rows, DynamicEl2n(rows), tmp_path, save_strategy="steps", save_steps=1)
    run.train()
    with pytest.raises(ValueError, match="want a training from its beginning, got step 1"):
        run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
