"""Training through prune(): loss and gradients are those of the pruned sequence, however it is batched and padded."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.tokenpruner.checkpointing import checkpoint
from tokenpruner import prune
from tokenpruner.decoder.loss_labels import LabelCut
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.random import Random
from tokenpruner.methods.stride import Stride

IMAGE, IGNORED = 5, -100
METHODS = [DivPrune(keep_ratio=0.25), Random(keep_ratio=0.3), Stride(keep_ratio=0.2, positions="compact")]
RAGGED = [[2, "I", 3], ["I", 4, "I", 2], [5], [3, "I", "I", 1]]


def exact_loss(logits, labels, vocab_size, num_items_in_batch=None, shift_labels=None, **_):
    """The loss of transformers in the dtype of the logits: its own is in float32."""
    if shift_labels is None:
        shift_labels = torch.nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
    total = cross_entropy(logits.view(-1, vocab_size), shift_labels.reshape(-1), ignore_index=IGNORED, reduction="sum")
    return total / ((shift_labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)


@pytest.fixture
def exact(model):
    """A model whose norms and loss are computed in float64, where the library goes through float32."""

    def normed(module, hidden):
        return module.weight * hidden * (hidden.square().mean(-1, keepdim=True) + module.variance_epsilon).rsqrt()

    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = functools.partial(normed, module)
    model.loss_function = exact_loss
    return model


def with_labels(inputs, images=False):
    """Labels of about two thirds of the tokens; image tokens have some only if asked for, padding none."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(6, 62, inputs["input_ids"].shape, generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORED
    if not images:
        labels[inputs["input_ids"] == IMAGE] = IGNORED
    return inputs | {"labels": labels.masked_fill(inputs["attention_mask"] == 0, IGNORED)}


def loss_by_hand(model, replay, rows, labels, method):
    """The mean over the labels of what is kept, row after row, each predicted by the kept token before it."""
    losses = []
    for row, own in zip(rows, labels, strict=True):
        run = replay(model, row, method)
        kept = own[run.kept].tolist()
        for place in range(1, len(kept)):
            if kept[place] != IGNORED:
                losses.append(-run.logits[place - 1].log_softmax(-1)[kept[place]])
    return torch.stack(losses).mean()


def gradients(model, loss):
    """The gradient of `loss` by each parameter that it reaches."""
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def equal(got, wanted, tolerance=1e-9):
    assert got.keys() == wanted.keys()
    scale = max(value.abs().max() for value in wanted.values())
    for name, value in wanted.items():
        assert (got[name] - value).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_loss_and_gradients_are_those_of_the_pruned_rows(
    exact, prompt, singles, by_hand_with_gradients, method, side, images
):
    batch = with_labels(prompt(RAGGED, side), images)
    own = [labels[mask.bool()] for labels, mask in zip(batch["labels"], batch["attention_mask"], strict=True)]
    wanted = loss_by_hand(exact, by_hand_with_gradients, singles(batch), own, method)
    # rotations are rounded to float32, so that only the same positions give the same ones
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with prune(exact, method):
        loss = exact(**batch, position_ids=positions).loss
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    found = gradients(exact, loss)
    assert any("vision_tower" in name for name in found)
    equal(found, gradients(exact, wanted))


def test_the_loss_of_the_library(model, prompt, singles, by_hand_with_gradients):
    batch, method = with_labels(prompt(RAGGED, "right")), DivPrune(keep_ratio=0.25)
    own = [labels[mask.bool()] for labels, mask in zip(batch["labels"], batch["attention_mask"], strict=True)]
    wanted = loss_by_hand(model, by_hand_with_gradients, singles(batch), own, method)
    with prune(model, method):
        loss = model(**batch).loss
    # it is computed in float32
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=0)
    equal(gradients(model, loss), gradients(model, wanted), 1e-6)


def test_without_an_attention_mask(exact, prompt, singles, by_hand_with_gradients):
    batch, method = with_labels(prompt([[3, "I", 2, "I", 4]])), Random(keep_ratio=0.3)
    wanted = loss_by_hand(exact, by_hand_with_gradients, singles(batch), batch["labels"], method)
    del batch["attention_mask"]
    with prune(exact, method):
        torch.testing.assert_close(exact(**batch).loss, wanted, rtol=1e-12, atol=0)


def test_labels_cut_by_hand():
    # two rows of five; the second begins with padding and loses its third and its last token
    index, mask = torch.tensor([[0, 1, 2, 4], [2, 4, 1, 3]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    cut = LabelCut(index, mask, 5)
    labels = torch.tensor([[10, 11, 12, 13, 14], [20, 21, 22, 23, 24]])
    assert cut.labels(labels).tolist() == [[-100, 11, 12, 14], [-100, -100, -100, 23]]
    shifted = torch.tensor([[11, 12, 13, 14, 15], [21, 22, 23, 24, 25]])
    assert cut.shift_labels(shifted).tolist() == [[11, 12, 14, 15], [-100, -100, 23, 24]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_labels_that_are_shifted_already(exact, prompt, side):
    batch = with_labels(prompt(RAGGED, side), images=True)
    shifted = torch.nn.functional.pad(batch["labels"], (0, 1), value=IGNORED)[:, 1:]
    if side == "left":
        # the first token of a row is predicted by padding here
        shifted = shifted.masked_fill(batch["attention_mask"] == 0, IGNORED)
    with prune(exact, Random(keep_ratio=0.3)):
        assert torch.equal(exact(**batch, shift_labels=shifted).loss, exact(**batch).loss)


def test_the_count_of_a_trainer(exact, prompt):
    batch = with_labels(prompt(RAGGED, "right"))
    n_kept = sum(int((labels[1:] != IGNORED).sum()) for labels in batch["labels"])
    with prune(exact, Random(keep_ratio=0.3)):
        mean = exact(**batch).loss
        torch.testing.assert_close(exact(**batch, num_items_in_batch=7).loss, mean * n_kept / 7, rtol=1e-12, atol=0)


def test_a_batch_of_text_and_everything_kept_have_the_loss_of_the_model(exact, prompt):
    batch, text = with_labels(prompt(RAGGED, "right")), with_labels(prompt([[5], [7]], "right"))
    wanted, plain = exact(**batch).loss, exact(**text).loss
    with prune(exact, Random(keep_ratio=0.3)):
        assert not torch.equal(exact(**batch).loss, wanted)
        assert torch.equal(exact(**text).loss, plain)
    with prune(exact, Random(keep_ratio=1.0)):
        assert torch.equal(exact(**batch).loss, wanted)


def test_gradients_reach_the_kept_tokens_alone(exact, prompt):
    batch, features = with_labels(prompt([[2, "I", 3], ["I", 4]], "right")), []

    def note(module, args, output):
        output.retain_grad()
        features.append(output)

    exact.model.multi_modal_projector.register_forward_hook(note)
    with prune(exact, DivPrune(keep_ratio=0.25)) as report:
        exact(**batch).loss.backward()
    for image, gradient in zip(report.images, features[0].grad, strict=True):
        reached = gradient.abs().sum(-1).nonzero().flatten()
        assert reached.tolist() == list(image.kept)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_gradient_checkpointing_changes_nothing(exact, prompt, method, use_reentrant):
    batch = with_labels(prompt(RAGGED, "right"))
    exact.train()
    with prune(exact, method) as report:
        loss = exact(**batch, use_cache=False).loss
        wanted = gradients(exact, loss)
        checkpoint(exact, use_reentrant)
        again = exact(**batch, use_cache=False).loss
    assert torch.equal(again, loss)
    # the layers are computed again behind the `with`
    equal(gradients(exact, again), wanted, 1e-12)
    assert report.prefills[0].images == report.prefills[1].images


def test_two_threads_have_their_own_labels(exact, prompt):
    batches = [with_labels(prompt(RAGGED, "right")), with_labels(prompt([["I", 6], [2, "I", 1]], "left"))]
    start = threading.Barrier(2)
    with prune(exact, DivPrune(keep_ratio=0.25)):
        wanted = [exact(**batch).loss.detach() for batch in batches]

        def work(number):
            start.wait(60)
            for _ in range(8):
                assert torch.equal(exact(**batches[number]).loss, wanted[number])

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(work, number) for number in range(2)]:
                future.result()


def test_a_loss_set_by_the_user_stays_his(exact, prompt):
    batch = with_labels(prompt(RAGGED, "right"))
    with prune(exact, Random(keep_ratio=0.3)), pytest.raises(ValueError, match="want labels"):
        exact(**{**batch, "labels": batch["labels"][:, 1:]})
    assert exact.loss_function is exact_loss
    assert "_loss_function" not in vars(exact.model)


def test_a_few_steps_lower_the_loss(model, prompt):
    batch = with_labels(prompt(RAGGED, "right"))
    model.float().train()
    batch["pixel_values"] = batch["pixel_values"].float()
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    with prune(model, DivPrune(keep_ratio=0.25)):
        for _ in range(8):
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")


def test_the_trainer(model, prompt, tmp_path):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    rows = [with_labels(prompt([row], seed=number)) for number, row in enumerate(RAGGED * 2)]
    model.float()

    def collate(items):
        length = max(item["input_ids"].shape[1] for item in items)
        batch = {"pixel_values": torch.cat([item["pixel_values"] for item in items if "pixel_values" in item]).float()}
        for name, filling in (("input_ids", 0), ("attention_mask", 0), ("labels", IGNORED)):
            padded = [
                torch.nn.functional.pad(item[name], (0, length - item[name].shape[1]), value=filling) for item in items
            ]
            batch[name] = torch.cat(padded)
        return batch

    # one name in older releases, another in newer ones
    checkpointing = {name for name in CHECKPOINTING if name in TrainingArguments.__dataclass_fields__}
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=6,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        **{min(checkpointing): True},
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=collate)
    with prune(model, DivPrune(keep_ratio=0.25)) as report:
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]
    assert len(report.prefills) == 12
    # the loss that the trainer logs is the mean over all labels of a step
    assert losses[0] < 10
