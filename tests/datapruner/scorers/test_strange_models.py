"""Model folders from elsewhere: no code, no pickle, no weight that is made up; all that is loaded is the identity."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from datapruner import Source, score
from datapruner.corpus.token_counter import token_counter
from datapruner.embedders.sentence_transformer import SentenceTransformerEmbedder
from datapruner.scorers.perplexity import Perplexity
from datapruner.scoring.scorer import Scorer
from tests.contextpruner.tiny_encoder import save_tiny_encoder
from tests.contracts.test_scorers import batch_of
from tests.datapruner.conftest import write_jsonl

EVIL = "open('owned', 'w').write('x')\nclass Evil:\n    pass\n"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(params=["perplexity", "sentence_transformer"])
def model(
    request: pytest.FixtureRequest, tiny_model: Callable[[str], Path], encoder: Path, tmp_path: Path
) -> tuple[Path, Scorer]:
    """A folder of its own and the scorer that reads it."""
    is_embedder = request.param == "sentence_transformer"
    folder = shutil.copytree(encoder if is_embedder else tiny_model("llama"), tmp_path / "model")
    kind = SentenceTransformerEmbedder if is_embedder else Perplexity
    return folder, kind(model=str(folder), device="cpu")


def _weights(folder: Path, change: Callable[[dict], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(max(name for name in tensors if "layer" in name)), "want all weights"),
        (lambda tensors: tensors.update({_next_layer(tensors): next(iter(tensors.values())).clone()}), "have also"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    model: tuple[Path, Scorer], change: Callable[[dict], object], message: str
) -> None:
    folder, scorer = model
    _weights(folder, change)
    with pytest.raises(ValueError, match=f"{folder}.*{message}"):
        scorer.score(batch_of([0, 1]))


def _next_layer(tensors: dict) -> str:
    return next(name for name in sorted(tensors) if ".1." in name).replace(".1.", ".9.")


def test_a_cut_file_and_a_pickle_are_refused_before_anything_is_scored(model: tuple[Path, Scorer]) -> None:
    folder, scorer = model
    whole = (folder / "model.safetensors").read_bytes()
    corpus = write_jsonl(folder.parent / "c.jsonl", [{"text": "a b"}])
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(ValueError, match="pytorch_model.bin, a pickle, which is never read"):
        score(Source(corpus), scorer, folder.parent / "t")
    assert not (folder.parent / "t").exists()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="model.safetensors: want whole safetensors"):
        scorer.score(batch_of([0, 1]))


def test_code_of_a_folder_is_never_run(model: tuple[Path, Scorer], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scorer = model
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    (folder / "evil.py").write_text(EVIL)
    config = json.loads((folder / "config.json").read_text())
    maps = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "evil", "auto_map": maps}))
    with pytest.raises(ValueError, match="its own code is never run|want"):
        scorer.score(batch_of([0, 1]))
    (folder / "config.json").write_text(json.dumps(config))
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    if isinstance(scorer, SentenceTransformerEmbedder):
        for call in (scorer.identity, lambda: scorer.score(batch_of([0]))):
            with pytest.raises(ValueError, match="want modules of sentence-transformers, got 'evil.Evil'"):
                call()
    assert not (folder / "owned").exists()
    assert "evil" not in sys.modules


def test_a_dense_module_is_read_from_safetensors_and_in_the_identity(encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Pooling, Transformer

    plain = Transformer(str(encoder))
    size = plain.get_embedding_dimension()
    made = SentenceTransformer(modules=[plain, Pooling(size), Dense(size, 5)], device="cpu")
    made.save(str(tmp_path / "m"))
    scorer = SentenceTransformerEmbedder(model=str(tmp_path / "m"), device="cpu")
    assert scorer.score(batch_of([0, 1])).shape == (2, 5)
    before, dense = scorer.identity(), next((tmp_path / "m").glob("2_*"))
    _weights(dense, lambda tensors: tensors["linear.bias"].add_(1))
    assert scorer.identity() != before
    (dense / "model.safetensors").rename(dense / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin, a pickle, which is never read"):
        scorer.identity()


def test_a_tokenizer_that_is_none_is_one_line(model: tuple[Path, Scorer], tmp_path: Path) -> None:
    folder, scorer = model
    for text in ("{}", "[" * 10_000, '{"version": "1.0", "model": {"type": "Evil"}}', ""):
        (folder / "tokenizer.json").write_text(text)
        for call in (lambda: scorer.score(batch_of([0, 1])), lambda: token_counter(str(folder))):
            with pytest.raises(ValueError, match=str(folder)) as raised:
                call()
            assert str(raised.value).isprintable()
