"""What every kind of method may give back: anything else is a ValueError that names the method and what was wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from tests.tokenpruner import vision_models
from tests.tokenpruner.conftest import build, encode
from tokenpruner import prune
from tokenpruner.base.before_decoder import Context, Merge, Method
from tokenpruner.base.inside_decoder import LayerContext, LayerMethod, Stage
from tokenpruner.base.token_method import TokenMethod
from tokenpruner.base.vision_transformer import BlockContext, BlockMethod, Reduced

Says = Callable[[tuple[int, ...]], object]
# an image of 16 tokens or patches, of which 4 stay; two images a batch in a vision transformer
N, KEPT = 16, 4

# what no score is, made for the shape that scores have
SCORES: dict[str, Says] = {
    "list": lambda shape: torch.zeros(shape).tolist(),
    "none": lambda shape: None,
    "numpy": lambda shape: torch.zeros(shape).numpy(),
    "meta": lambda shape: torch.zeros(shape, device="meta"),
    "complex": lambda shape: torch.zeros(shape, dtype=torch.complex64),
    "beyond float32": lambda shape: torch.full(shape, 1e39, dtype=torch.float64),
    "below float32": lambda shape: torch.full(shape, -1e300, dtype=torch.float64),
    "short": lambda shape: torch.zeros((*shape[:-1], shape[-1] - 1)),
    "scalar": lambda shape: torch.zeros(()),
}
# what no picks are, made for the shape that picks have
PICKS: dict[str, Says] = {
    "list": lambda shape: _ascending(shape).tolist(),
    "none": lambda shape: None,
    "meta": lambda shape: _ascending(shape).to("meta"),
    "float": lambda shape: _ascending(shape).float(),
    "complex": lambda shape: _ascending(shape).to(torch.complex64),
    "bool": lambda shape: _ascending(shape) > 0,
    "flat": lambda shape: torch.tensor(3),
    "twice": lambda shape: _ascending(shape) // 2,
    "down": lambda shape: _ascending(shape).flip(-1),
    "negative": lambda shape: _ascending(shape) - 1,
    "too large": lambda shape: _ascending(shape) + N - 3,
}


def _ascending(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.arange(shape[-1]).expand(shape)


@dataclasses.dataclass(frozen=True)
class Before(Method):
    """Before the decoder, saying `says` of `what`."""

    what: str = ""
    says: Says = SCORES["none"]

    def importance(self, context: Context) -> torch.Tensor:
        return self.says((context.size,)) if self.what == "importance" else torch.arange(context.size)

    def keep(self, context: Context, n: int) -> torch.Tensor:
        return self.says((n,)) if self.what == "keep" else super().keep(context, n)

    def merge(self, context: Context, picks: torch.Tensor) -> Merge | None:
        return self.says((context.size,)) if self.what == "merge" else None


@dataclasses.dataclass(frozen=True)
class Inside(LayerMethod):
    """Inside the decoder."""

    what: str = ""
    says: Says = SCORES["none"]

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        return self.says((1,)) if self.what == "stages" else (Stage(1, KEPT / N),)

    def importance(self, context: LayerContext) -> torch.Tensor:
        return self.says((context.n_tokens,)) if self.what == "importance" else torch.arange(context.n_tokens)

    def keep(self, context: LayerContext, n: int) -> torch.Tensor:
        return self.says((n,)) if self.what == "keep" else super().keep(context, n)

    def select(self, context: LayerContext) -> torch.Tensor:
        return self.says((KEPT,)) if self.what == "select" else super().select(context)


@dataclasses.dataclass(frozen=True)
class InVision(BlockMethod):
    """Inside a vision transformer."""

    what: str = ""
    says: Says = SCORES["none"]

    def removals(self, n_patches: int, n_blocks: int) -> list[int]:
        return self.says((n_blocks,)) if self.what == "removals" else [N - KEPT]

    def importance(self, context: BlockContext) -> torch.Tensor:
        shape = (len(context.hidden), context.n_patches)
        return self.says(shape) if self.what == "importance" else torch.arange(N).expand(shape)

    def keep(self, context: BlockContext, n: int) -> torch.Tensor:
        return self.says((len(context.hidden), n)) if self.what == "keep" else super().keep(context, n)

    def reduce(self, context: BlockContext, n: int) -> Reduced:
        reduced = super().reduce(context, n)
        return self.says(reduced) if self.what == "reduce" else reduced


@pytest.fixture(scope="module")
def run() -> Callable[[TokenMethod], None]:
    """Runs a model of the method's kind with it."""
    llava, vit = build(), vision_models.build("vit")

    def run_one(method: TokenMethod) -> None:
        model = vit if isinstance(method, BlockMethod) else llava
        inputs = {"pixel_values": vision_models.pixels()} if model is vit else encode([[2, "I", 3]])
        with torch.no_grad(), prune(model, method):
            model(**inputs)

    return run_one


def method(kind: type[TokenMethod], what: str = "", says: Says | None = None) -> TokenMethod:
    budget = {"n_keep": KEPT} if kind is Before else {}
    return kind(**budget, what=what, says=says)


def refused(run: Callable[[TokenMethod], None], made: TokenMethod, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"^{type(made).__name__}: want {wanted}") as caught:
        run(made)
    assert ", got " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Before, Inside, InVision])
def test_what_is_right_goes_through(run, kind):
    run(method(kind))
    # a wide type is no reason to refuse
    run(method(kind, "importance", lambda shape: torch.arange(shape[-1], dtype=torch.float64).expand(shape)))


@pytest.mark.parametrize("kind", [Before, Inside, InVision])
@pytest.mark.parametrize("says", SCORES)
def test_scores(run, kind, says):
    refused(run, method(kind, "importance", SCORES[says]), r"importance float32 \[")


@pytest.mark.parametrize("kind", [Before, Inside, InVision])
@pytest.mark.parametrize("says", PICKS)
def test_picks(run, kind, says):
    refused(run, method(kind, "keep", PICKS[says]), r"(4 )?distinct ascending int64 indices below 16")


@pytest.mark.parametrize("says", PICKS)
def test_picks_of_as_many_as_the_data_decide(run, says):
    refused(run, method(Inside, "select", PICKS[says]), "distinct ascending int64 indices below 16")


MERGES: dict[str, Says] = {
    "a list": lambda shape: [0] * N,
    "a list in it": lambda shape: Merge([0] * N),
    "meta": lambda shape: Merge(torch.zeros(N, dtype=torch.int64, device="meta")),
    "weights that are a list": lambda shape: Merge(_target(), [1.0] * N),
    "complex weights": lambda shape: Merge(_target(), torch.ones(N, dtype=torch.complex64)),
    "meta weights": lambda shape: Merge(_target(), torch.ones(N, device="meta")),
    "weights beyond float32": lambda shape: Merge(_target(), torch.full((N,), 1e39, dtype=torch.float64)),
    "weights that are 0 in float32": lambda shape: Merge(_target(), torch.full((N,), 1e-60, dtype=torch.float64)),
}


def _target() -> torch.Tensor:
    """All into themselves: the last four are kept."""
    return torch.tensor([-1] * (N - KEPT) + [*range(KEPT)])


@pytest.mark.parametrize("says", MERGES)
def test_merges(run, says):
    refused(run, method(Before, "merge", MERGES[says]), "(a Merge or None|a merge target|positive merge weights)")


@pytest.mark.parametrize("says", [None, [], (1,), "(1,)"], ids=str)
def test_stages(run, says):
    refused(run, method(Inside, "stages", lambda shape: says), "stages as a tuple of Stage")


@pytest.mark.parametrize("says", [None, 4, [-1], [1.0], [True], torch.tensor([4])], ids=str)
def test_removals(run, says):
    refused(run, method(InVision, "removals", lambda shape: says), "removals as counts of at least 0")


REDUCED: dict[str, Callable[[Reduced], object]] = {
    "none": lambda reduced: None,
    "a tensor": lambda reduced: reduced.hidden,
    "hidden of a list": lambda reduced: reduced._replace(hidden=reduced.hidden.tolist()),
    "hidden of another type": lambda reduced: reduced._replace(hidden=reduced.hidden.to(torch.complex64)),
    "hidden that is meta": lambda reduced: reduced._replace(hidden=reduced.hidden.to("meta")),
    "hidden of one image": lambda reduced: reduced._replace(hidden=reduced.hidden[:1]),
    "a target of floats": lambda reduced: reduced._replace(target=reduced.target.float()),
    "a target of the kept": lambda reduced: reduced._replace(target=reduced.kept),
    "kept that is none": lambda reduced: reduced._replace(kept=None),
    "sizes of integers": lambda reduced: reduced._replace(sizes=reduced.kept),
    "sizes of a list": lambda reduced: reduced._replace(sizes=[[1.0]]),
}


@pytest.mark.parametrize("says", REDUCED)
def test_reduced(run, says):
    wanted = "(Reduced of reduce|reduced hidden|a target int64|kept int64|sizes of floats)"
    refused(run, method(InVision, "reduce", REDUCED[says]), wanted)
