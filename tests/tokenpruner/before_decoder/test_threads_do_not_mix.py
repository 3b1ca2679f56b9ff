"""Two models, two prompts and two threads at once do not mix."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from tokenpruner import prune
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride

GREEDY = {"do_sample": False, "max_new_tokens": 5}


def test_two_models_do_not_mix(make_model, prompt):
    inputs, models = prompt([[2, "I", 3], [4]]), [make_model(seed=1), make_model(seed=2)]
    methods = [DivPrune(keep_ratio=0.25), Random(keep_ratio=0.5, positions="compact")]
    wanted = []
    for model, method in zip(models, methods, strict=True):
        with prune(model, method):
            wanted.append(model(**inputs).logits)
    with prune(models[0], methods[0]) as first, prune(models[1], methods[1]) as second:
        for number in (0, 1, 1, 0):
            assert torch.equal(models[number](**inputs).logits, wanted[number])
    assert [image.size for image in first.images] == [16, 16]
    assert [len(image.kept) for image in second.images] == [8, 8]


def together(*works):
    """Run each in a thread of its own; what one raises is raised."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()


def test_two_threads_do_not_mix(model, prompt):
    """Inside one `with`, two threads generate from prompts of different shapes."""
    prompts = [prompt([[2, "I", 3], [4]]), prompt([["I", 1, "I", 4]], seed=9)]
    kind = {"do_sample": False, "max_new_tokens": 8, "num_beams": 2}
    start = threading.Barrier(2)
    with prune(model, DivPrune(keep_ratio=0.25, positions="compact")) as report:
        wanted = [model.generate(**inputs, **kind) for inputs in prompts]

        def work(number):
            start.wait(60)
            for _ in range(8):
                assert torch.equal(model.generate(**prompts[number], **kind), wanted[number])

        together(lambda: work(0), lambda: work(1))
    # two beams each: nine generations of one image and nine of two, four tokens of each
    assert len(report.prefills) == 18
    assert sum(len(image.kept) for image in report.images) == 9 * (2 + 4) * 4


def test_a_pass_between_two_halves_of_another(model, prompt):
    """One thread stops between its image features and its decoder, while the other's text goes through."""
    inputs, text = prompt([[2, "I", 3]]), prompt([[5]])
    reached, passed = threading.Event(), threading.Event()

    def halt(*_):
        if not reached.is_set():
            reached.set()
            passed.wait(60)

    def slow():
        assert model(**inputs).logits.shape[1] == 9

    def quick():
        reached.wait(60)
        assert model(**text).logits.shape[1] == 5
        passed.set()

    handle = model.model.language_model.register_forward_pre_hook(halt)
    with prune(model, Stride(keep_ratio=0.25)):
        together(slow, quick)
    handle.remove()


def test_two_models_in_two_threads(make_model, prompt):
    inputs, models, start = prompt([[2, "I", 3], [4]]), [make_model(seed=seed) for seed in (1, 2)], threading.Barrier(2)

    def work(number):
        model, method = models[number], DivPrune(keep_ratio=0.25 * (number + 1))
        with prune(model, method):
            wanted = model.generate(**inputs, **GREEDY)
        start.wait(60)
        for _ in range(6):
            with prune(model, method) as report:
                assert torch.equal(model.generate(**inputs, **GREEDY), wanted)
            assert [len(image.kept) for image in report.images] == [4 * (number + 1)]

    together(lambda: work(0), lambda: work(1))
