"""Every proxy learns what can be learned, takes steps of one size, and says what it cannot take."""

from __future__ import annotations

import io
import math
from itertools import islice

import numpy as np
import pytest
import torch

from datapruner.evaluation.equal_steps import Schedule, endless_epochs, train
from datapruner.evaluation.proxies.language_model import LanguageModel, LanguageTask
from datapruner.evaluation.proxy import PROXIES, LabelledTask, Proxy, Rows, Task
from prunekernels import registry, spec

N, N_TEST = 96, 60


def png(label: int, draw: np.random.Generator) -> bytes:
    """A light square left or right in noise."""
    from PIL import Image

    pixels = draw.integers(0, 90, (8, 8, 3)).astype(np.uint8)
    pixels[2:6, 4 * label : 4 * label + 4] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows(n: int, seed: int) -> Rows:
    """Two classes that images, vectors and texts tell apart, and texts that are told apart by themselves."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, n)
    words = (["red", "crimson", "scarlet"], ["blue", "navy", "azure"])
    squares = draw.normal(size=(n, 2, 4, 4))
    squares[np.arange(n), labels] += 1
    return Rows(
        [f"{seed}-{i}" for i in range(n)],
        [f"the {draw.choice(words[label])} one of them" for label in labels],
        [png(label, draw) for label in labels],
        labels,
        [0, 1],
        {"embedding": np.eye(2, 5, dtype=np.float32)[labels] + draw.normal(0, 0.2, (n, 5)).astype(np.float32),
         "features": squares.reshape(n, -1).astype(np.float32)},
    )  # fmt: skip


# text form, steps
PROXY_OF = {
    "linear_probe": ("linear_probe:batch_size=16,device=cpu", 40),
    "mlp": ("mlp:width=8,batch_size=16,device=cpu", 60),
    "cnn": ("cnn:size=8,width=4,batch_size=16,learning_rate=0.02,device=cpu", 40),
    "text_transformer": ("text_transformer:words=6,table=64,width=8,batch_size=16,learning_rate=0.01,device=cpu", 40),
    "language_model": (
        "language_model:vocabulary=257,width=32,layers=1,window=24,batch_size=16,learning_rate=0.02,device=cpu",
        80,
    ),
}


def test_every_proxy_is_tried() -> None:
    assert {*PROXY_OF} == {*registry.names(PROXIES)}


def built(text: str) -> Proxy:
    proxy = spec.build(PROXIES, text, Proxy)
    proxy.check()
    return proxy


def weights_of(proxy: Proxy, task: Task, seed: int) -> dict[str, torch.Tensor]:
    """Of a model that took three steps."""
    order = endless_epochs(np.arange(task.n_rows), seed)
    return train(task, task.steps(order, None), Schedule(3, 1, proxy.rate, seed))[0].state_dict()


@pytest.mark.parametrize("name", PROXY_OF)
def test_it_learns_and_hangs_on_nothing_but_its_seed(name: str) -> None:
    text, steps = PROXY_OF[name]
    proxy = built(text)
    task = proxy.task(rows(N, 1), rows(N_TEST, 2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    order = endless_epochs(np.arange(N), 0)
    model, points = train(task, task.steps(order, None), Schedule(steps, 1, proxy.rate, 0))
    # the draws of whoever calls stay as they were
    assert torch.equal(torch.get_rng_state(), before)
    first, last = task.quality(task.model()), points[-1].quality
    if proxy.higher_is_better:
        assert last > 0.9
    else:
        # of 257 tokens in the beginning, in the end mostly known words
        assert first > 5
        assert last < 3
    one, two, other = (weights_of(proxy, proxy.task(rows(N, 1), rows(N_TEST, 2)), seed) for seed in (0, 0, 1))
    assert all(torch.equal(two[key], value) for key, value in one.items())
    assert any(not torch.equal(other[key], value) for key, value in one.items())
    assert proxy.cost
    assert type(proxy).__doc__
    if isinstance(task, LabelledTask):
        answers = task.answers(model, torch.arange(5))
        assert answers.logits.shape == (5, 2)
        assert torch.allclose(answers.logits, model.head(answers.features))


@pytest.mark.parametrize("name", PROXY_OF)
@pytest.mark.parametrize("kept", [1, 5, 40])
def test_steps_are_of_one_size_whatever_is_kept(name: str, kept: int) -> None:
    task = built(PROXY_OF[name][0]).task(rows(N, 1), rows(N_TEST, 2))
    some = np.arange(0, 2 * kept, 2)
    weights = np.zeros(N, np.float32)
    weights[some] = np.arange(1, kept + 1)
    sizes = set()
    for step in islice(task.steps(endless_epochs(some, 0), weights), 6):
        sizes.add(tuple(step.items.shape))
        assert step.weights is not None
        if isinstance(task, LabelledTask):
            assert set(step.items.tolist()) <= set(some.tolist())
            assert torch.equal(step.weights, torch.from_numpy(weights)[step.items])
        else:
            assert step.weights.shape == step.items[:, 1:].shape
            assert float(step.weights.min()) >= 1
    assert len(sizes) == 1


def test_a_weight_counts_as_often_as_it_says() -> None:
    task = built(PROXY_OF["linear_probe"][0]).task(rows(N, 1), rows(N_TEST, 2))
    model = task.model()
    weights = np.ones(N, np.float32)
    weights[3] = 2.5

    def loss(row: int, given: np.ndarray | None) -> float:
        return task.loss(model, next(task.steps(iter([np.array([row])]), given))).item()

    assert loss(3, weights) == pytest.approx(2.5 * loss(3, None))
    assert loss(4, weights) == pytest.approx(loss(4, None))


class Uniform(torch.nn.Module):
    """Every token of `n` is as likely as any other."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*tokens.shape, self.n)


@pytest.mark.parametrize("window", [1, 3, 7, 64])
def test_bits_per_byte_worked_by_hand(window: int) -> None:
    """log2 257 for every byte, bytes of UTF-8 and not letters, and none for what separates texts."""
    texts = Rows(["a", "b", "c"], ["é", "", "byte"])
    task = LanguageModel(vocabulary=257, window=window, device="cpu").task(texts, texts)
    assert task.quality(Uniform(257)) == pytest.approx(math.log2(257), abs=1e-6)
    seen = [token for row in task.windows[:, 1:].tolist() for token in row if token >= 0]
    # each byte once, behind the separator in front of all
    assert len({*seen}) == 7
    assert seen == [*tokens(task, "é"), 256, 256, *tokens(task, "byte")]


def test_bits_of_a_byte_where_tokens_are_pairs() -> None:
    """A text of one token and four bytes needs a quarter of a token's bits for a byte."""
    task = LanguageModel(vocabulary=300, device="cpu").task(Rows(["a"], ["fast fast fast"]), Rows(["b"], ["fast"] * 3))
    n = task.separator + 1
    assert 257 < n < 300
    assert [len(tokens(task, text)) for text in ("fast", " fast", "pqrx")] == [1, 1, 4]
    assert task.quality(Uniform(n)) == pytest.approx(math.log2(n) / 4, abs=1e-6)
    # what other libraries take for the end of a text is text
    assert task.tokenizer.decode(tokens(task, "<|endoftext|> é\n")) == "<|endoftext|> é\n"
    assert task.separator not in tokens(task, "<|endoftext|>")
    assert tuple(task.model()(torch.zeros(2, 5, dtype=torch.long)).shape) == (2, 5, n)


def test_windows_of_a_stream_predict_each_token_once() -> None:
    """The stream is cut into windows in order; those of a step are eight apart, so that they are of different texts."""
    texts = Rows(["a", "b"], ["abcdef", "gh"])
    task = LanguageModel(vocabulary=257, window=3, batch_size=2, device="cpu").task(texts, texts)
    stream = [256, *tokens(task, "abcdef"), 256, *tokens(task, "gh")] * 20
    windows = [stream[start : start + 4] for start in range(0, 3 * 48, 3)]
    weights = np.array([1, 3], np.float32)
    of_token = ([1] * 7 + [3] * 3) * 20
    steps = [*islice(task.steps(iter([np.array([0, 1])] * 20), weights), 24)]
    assert [step.items.tolist() for step in steps[:8]] == [[windows[n], windows[n + 8]] for n in range(8)]
    assert [step.items.tolist() for step in steps[8:16]] == [[windows[n], windows[n + 8]] for n in range(16, 24)]
    assert [window[1:] for step in steps for window in step.items.tolist()] == [
        window[1:] for start in (0, 16, 32) for n in range(start, start + 8) for window in (windows[n], windows[n + 8])
    ]
    # a weight is that of the token which is predicted
    assert steps[1].weights is not None
    assert steps[1].weights.tolist() == [of_token[4:7], of_token[28:31]]


def tokens(task: LanguageTask, text: str) -> list[int]:
    return task.tokenizer.encode(text).ids


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mlp:width=0", "width and layers"),
        ("cnn:channels=2", "1 or 3 channels"),
        ("language_model:width=4", "width of at least 8"),
        ("language_model:vocabulary=256", "vocabulary of at least 257"),
        ("language_model:dtype=float16", "one of float32, bfloat16"),
        ("text_transformer:table=2", "table of at least 3"),
        ("linear_probe:batch_size=0", "batch_size of at least 1"),
        ("linear_probe:learning_rate=0", "learning_rate above 0"),
    ],
)
def test_fields_that_cannot_work_are_refused(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        built(text)


def test_rows_that_do_not_fit_are_refused() -> None:
    ours, theirs = rows(4, 1), rows(4, 2)
    bare = Rows(ours.uids, vectors=ours.vectors)
    with pytest.raises(ValueError, match="wants labels"):
        built("mlp").task(bare, bare)
    with pytest.raises(ValueError, match="wants texts"):
        built("language_model").task(bare, bare)
    with pytest.raises(ValueError, match="that are not empty"):
        built("language_model").task(ours, Rows(["a"], [""]))
    with pytest.raises(ValueError, match="squares of 3 channels"):
        built("cnn:vectors=features").task(ours, theirs)
    short = Rows(theirs.uids, labels=theirs.labels, classes=[0, 1], vectors={"embedding": np.ones((4, 3), np.float32)})
    with pytest.raises(ValueError, match="one length in both"):
        built("linear_probe").task(ours, short)


def test_a_language_model_learns_as_much_with_products_in_bfloat16() -> None:
    text, steps = PROXY_OF["language_model"]
    found = []
    for dtype in ("float32", "bfloat16"):
        proxy = built(f"{text},dtype={dtype}")
        task = proxy.task(rows(40, 1), rows(20, 2))
        model, points = train(
            task, task.steps(endless_epochs(np.arange(40), 0), None), Schedule(steps, 1, proxy.rate, 0)
        )
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        found.append(points[-1].quality)
    # other products, and so other bits, of a model that is as good: bits per byte of about a half
    assert found[0] != found[1]
    assert abs(found[0] - found[1]) < 0.03


def test_images_may_be_vectors_and_broken_ones_are_black() -> None:
    task = built("cnn:vectors=features,channels=2,device=cpu").task(rows(4, 1), rows(4, 2))
    assert task.inputs.shape == (4, 2, 4, 4)
    ours = rows(3, 1)
    broken = Rows(ours.uids, images=[*(ours.images or [])[:2], b"no picture"], labels=ours.labels, classes=[0, 1])
    task = built("cnn:size=8,device=cpu").task(broken, broken)
    assert float(task.inputs[2].std()) == 0


def test_a_training_that_goes_astray_is_said() -> None:
    proxy = built("language_model:width=8,layers=1,window=8,batch_size=2,device=cpu")
    task = proxy.task(rows(8, 1), rows(4, 2))

    def broken(model: torch.nn.Module, step: object) -> torch.Tensor:
        return sum(parameter.sum() for parameter in model.parameters()) * torch.inf

    with pytest.raises(ValueError, match="went astray"):
        train(task, task.steps(endless_epochs(np.arange(8), 0), None), Schedule(3, 1, 0.1, 0), broken)
    with pytest.raises(ValueError, match="the rows are enough for 1"):
        train(task, iter([next(task.steps(endless_epochs(np.arange(8), 0), None))]), Schedule(3, 1, 0.1, 0))
