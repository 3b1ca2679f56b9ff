"""A vision transformer is left as it was found, and methods that pick wrongly are refused."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.conftest import state
from tokenpruner import BlockContext, BlockMethod, prune
from tokenpruner.methods.tome import ToMe


@dataclasses.dataclass(frozen=True)
class Broken(BlockMethod):
    """Fails behind the second block, or picks what it is told."""

    picks: tuple[int, ...] | None = None

    def removals(self, n_patches, n_blocks):
        return [0, 2]

    def keep(self, context: BlockContext, n: int) -> torch.Tensor:
        if self.picks is None:
            raise RuntimeError("on purpose")
        return torch.tensor(self.picks).expand(2, -1)


@pytest.mark.parametrize("where", ["method", "block", "with"])
def test_the_model_is_left_as_found(where):
    model, images = vision.build("vit"), vision.pixels()
    with torch.no_grad():
        whole = model(images).last_hidden_state
    before = state(model)
    method = Broken() if where == "method" else ToMe(r=3)

    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    def work() -> None:
        with torch.no_grad(), prune(model, method) as report:
            handle = vision.blocks(model)[2].mlp.register_forward_pre_hook(fail) if where == "block" else None
            try:
                for _ in range(2):
                    model(images)
            finally:
                assert bool(report.prefills) == (where == "with")
                if handle is not None:
                    handle.remove()
            fail()

    with pytest.raises(RuntimeError, match="on purpose"):
        work()
    assert state(model) == before
    with torch.no_grad():
        assert torch.equal(model(images).last_hidden_state, whole)


def test_a_pass_that_fails_leaves_nothing_for_the_next():
    model, images = vision.build("vit"), vision.pixels()

    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    with torch.no_grad(), prune(model, ToMe(r=3)) as report:
        wanted = model(images).last_hidden_state
        handle = vision.blocks(model)[2].mlp.register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            model(images)
        handle.remove()
        assert torch.equal(model(images).last_hidden_state, wanted)
    assert len(report.prefills) == 2


def test_nothing_keeps_the_model_alive():
    model = vision.build("vit")
    with torch.no_grad(), prune(model, ToMe()):
        model(vision.pixels())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "picks", [(*range(13),), (*range(15),), (*range(13), 12), (*range(13), 16), (-1, *range(13)), (1, 0, *range(2, 14))]
)
def test_wrong_picks_are_refused(picks):
    model = vision.build("vit")
    with (
        torch.no_grad(),
        prune(model, Broken(picks)),
        pytest.raises(ValueError, match="Broken: want 14 distinct ascending int64 indices below 16 for each of 2"),
    ):
        model(vision.pixels())


def test_wrong_scores_are_refused():
    @dataclasses.dataclass(frozen=True)
    class Scores(Broken):
        kind: str = "long"

        def keep(self, context: BlockContext, n: int) -> torch.Tensor:
            return BlockMethod.keep(self, context, n)

        def importance(self, context: BlockContext) -> torch.Tensor:
            if self.kind == "long":
                return torch.zeros(2, 17)
            if self.kind == "nan":
                return torch.full((2, 16), float("nan"))
            return context.received()

    model, images = vision.build("vit"), vision.pixels()
    for kind, reason in (
        ("long", r"Scores: want importance float32 \[2, 16\], got torch.float32 \[2, 17\]"),
        ("nan", "image 0 has scores that are NaN"),
        ("unread", "want queries: a method names them in `reads`"),
    ):
        with torch.no_grad(), prune(model, Scores(kind=kind)), pytest.raises(ValueError, match=reason):
            model(images)


def test_an_empty_method_says_so():
    with (
        pytest.raises(NotImplementedError, match="BlockMethod does not write removals"),
        prune(vision.build("vit"), BlockMethod()),
    ):
        pass
    with pytest.raises(NotImplementedError, match="writes neither importance, keep nor reduce"):
        BlockMethod().importance(BlockContext(torch.zeros(1, 3, 2), 0, 1))


def test_the_last_patch_stays():
    """Whatever the schedule says."""

    class Greedy(Broken):
        def removals(self, n_patches, n_blocks):
            return [99, 99]

        def keep(self, context: BlockContext, n: int) -> torch.Tensor:
            return torch.arange(n).expand(2, -1)

    model = vision.build("siglip")
    with torch.no_grad(), prune(model, Greedy()) as report:
        assert model(vision.pixels()).last_hidden_state.shape[1] == 1
    assert report.images[0].kept == (0,)
