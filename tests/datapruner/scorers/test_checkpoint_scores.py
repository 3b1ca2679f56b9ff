"""Scores of a classifier's checkpoint: logits once for all scorers, gradients of all layers against autograd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from datapruner import Batch, Source, score
from datapruner.embedders.classifier_logits import ClassifierLogits
from datapruner.scorers.full_grand import FullGrand
from datapruner.training.gradient_norms import gradient_norms
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.tiny_models import save_tiny_classifier
from tests.datapruner.tiny_tower import save_tiny_image_classifier

TEXTS = ["a short one", "x" * 90, "", "another text, of its own", "b"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("classifier"))


def batch_of(labels: list[str | int]) -> Batch:
    return Batch(np.arange(len(TEXTS)), [f"u{i}" for i in range(len(TEXTS))], TEXTS, labels=labels)


def test_one_pass_serves_every_scorer(classifier: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": text, "y": f"c{i % 3}"} for i, text in enumerate(TEXTS)]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), label="y", chunk_rows=2)
    made = f"classifier_logits:classifier={classifier}"
    named = f"class_list={classifier}"
    table = score(
        source,
        [f"logits={made}", f"embedding={made},of=features", f"el2n:{named}", f"grand:{named}", f"margin:{named}"],
        tmp_path / "t",
    )
    assert table.vector_columns == ["embedding", "logits"]
    # the last layer's part of the whole gradient, and the whole
    full = FullGrand(classifier=str(classifier)).checked(batch_of([i % 3 for i in range(5)]))
    assert (table.scores("grand") < full).all()
    assert (table.scores("grand") > 0.1 * full).all()
    assert table.manifest["columns"]["el2n"]["identity"]["classes"] == '["c0", "c1", "c2"]'


def test_images_have_the_scores_of_their_classifier(tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    folder = save_tiny_image_classifier(tmp_path / "classifier")
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder).double().eval()
    draw, exact = np.random.default_rng(0), []
    for number in range(6):
        path = tmp_path / "photos" / f"c{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (30, 40 + number, 3)).astype(np.uint8)).save(path)
    (tmp_path / "photos" / "c2" / "broken.png").write_bytes(b"no image")
    source = Source(tmp_path / "photos", label="folder", chunk_rows=4)
    for name in source.files()[0].files:  # type: ignore[union-attr]
        if "broken" not in name:
            pixels = processor(images=[Image.open(tmp_path / "photos" / name).convert("RGB")], return_tensors="pt")
            with torch.no_grad():
                exact.append(model(pixels["pixel_values"].double()).logits[0].numpy())
    made, named = f"image_classifier_logits:classifier={folder}", f"class_list={folder}"
    scorers = [f"logits={made},batch_size=2", f"embedding={made},of=features"]
    scorers += [f"{name}:{named}" for name in ("el2n", "margin", "grand", "label_error")]
    table = score(source, scorers, tmp_path / "t")
    found = np.concatenate([table.vectors("logits", chunk) for chunk in range(2)])
    np.testing.assert_allclose(found[[0, 1, 2, 3, 4, 5]], exact, rtol=1e-4, atol=1e-4)
    # a broken one, last in its folder, is of no class
    assert found[6].tolist() == [0, 0, 0]
    labels = [0, 0, 1, 1, 2, 2, 2]
    p = torch.tensor(found).softmax(1) - torch.nn.functional.one_hot(torch.tensor(labels), 3)
    np.testing.assert_allclose(table.scores("el2n"), p.norm(dim=1), rtol=1e-5)
    assert table.vectors("embedding", 0).shape == (4, 16)


def test_features_are_what_the_last_layer_gets(classifier: Path) -> None:
    batch = batch_of([0] * 5)
    logits = ClassifierLogits(classifier=str(classifier)).checked(batch)
    features = ClassifierLogits(classifier=str(classifier), of="features", batch_size=2).checked(batch)
    weights = load_file(classifier / "model.safetensors")
    own = features @ weights["classifier.weight"].numpy().T + weights["classifier.bias"].numpy()
    np.testing.assert_allclose(own, logits, rtol=1e-4, atol=1e-5)


def test_full_gradients_are_those_of_a_plain_backward_pass(classifier: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(classifier).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    exact = []
    for text, label in zip(TEXTS, [0, 1, 2, 0, 1], strict=True):
        model.zero_grad()
        inputs = tokenizer([text], return_tensors="pt", truncation=True, max_length=48)
        torch.nn.functional.cross_entropy(model(**inputs).logits, torch.tensor([label])).backward()
        exact.append(sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None) ** 0.5)
    found = FullGrand(classifier=str(classifier)).checked(batch_of(["c0", 1, "c2", 0, "c1"]))
    np.testing.assert_allclose(found, exact, rtol=2e-5)


def test_gradients_of_any_model_leave_it_as_it_was() -> None:
    torch.manual_seed(0)
    first, last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)
    model = torch.nn.Sequential(first, torch.nn.BatchNorm1d(5), torch.nn.Dropout(0.9), last)
    model.train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model(torch.randn(6, 4)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    x, y = torch.randn(8, 4), torch.randint(2, (8,))

    def loss(model: torch.nn.Module, row: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(row[0][None]), row[1][None])

    found = gradient_norms(model, zip(x, y, strict=True), loss)
    again = gradient_norms(model, zip(x.flip(0), y.flip(0), strict=True), loss)
    np.testing.assert_array_equal(found, again[::-1])
    assert [module.training for module in model] == [True, False, True, True]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert gradient is None if parameter.grad is None else torch.equal(parameter.grad, gradient)  # type: ignore[arg-type]
    # the last layer's closed form, and what the other layers add
    model.eval()
    for module in model[:3]:
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    p = model(x).softmax(-1).detach() - torch.nn.functional.one_hot(y, 2)
    closed = p.norm(dim=1) * (1 + model[:3](x).norm(dim=1) ** 2).sqrt()
    np.testing.assert_allclose(gradient_norms(model, zip(x, y, strict=True), loss), closed.detach().numpy(), rtol=1e-5)
    assert (found > closed.detach().numpy()).all()


def test_refuses(classifier: Path, tmp_path: Path) -> None:
    scorer = FullGrand(classifier=str(classifier))
    for label in ("c7", 3, -1):
        with pytest.raises(ValueError, match=r"full_grand: want a whole number in \[0, 3\) or one of c0, c1, c2"):
            scorer.score(batch_of([label, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="row 0: want a finite number as loss"):
        gradient_norms(torch.nn.Linear(1, 1), [torch.full((1,), torch.nan)], lambda model, row: model(row))
    broken = tmp_path / "m"
    broken.mkdir()
    for file in classifier.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    del weights["classifier.bias"]
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="want all weights of the model, got none for classifier"):
        ClassifierLogits(classifier=str(broken)).score(batch_of([0] * 5))
