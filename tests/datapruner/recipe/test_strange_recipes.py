"""Recipes from elsewhere give a run or one line; a run that no recipe can say is known before it, or has none."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Scorer, prune, select
from datapruner.recipe import recipe_yaml
from datapruner.scorers.perplexity import Perplexity
from datapruner.scoring.scorer import NOTHING, State
from datapruner.scoring.scorer_columns import manifest_column, scorers_by_column
from prunekernels import spec
from tests.datapruner.conftest import make_rows, write_jsonl

RECIPE = """source: {path: corpus.jsonl, uid: id, group: source}
scorers: [near_duplicate, "ppl=length:unit=characters"]
scores: scores
select:
- {selector: "threshold:maximum=0.8", by: near_duplicate}
- {selector: middle, by: {ppl: 0.7, length: 0.3}, keep_ratio: 0.5, per: source, quota: equal}
out: {path: pruned, dropped: false}
expect: {kept: 310, hash: 0123456789abcdef0123456789abcdef}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 20_000, "r.yaml:1: want YAML of at most 32 levels"),
        ("source: " + "{a: " * 20_000, "r.yaml:1: want YAML of at most 32 levels"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nsource: [*b, *b]", "r.yaml:1: want no anchors and aliases"),
        ("source: !!python/object/apply:os.system ['touch owned']", "r.yaml:1: want plain values"),
        ("source: c.jsonl\nsource: d.jsonl\nselect: top", "r.yaml:2: the key 'source' stands twice"),
        ("source: " + "x" * (1 << 20), "want at most 1,048,576 bytes"),
        ("source: c.jsonl\nselect: {keep_ratio: .inf}", "r.yaml:2: want a finite number"),
        ("source: c\0.jsonl", "r.yaml"),
        ("source: \x1b[31m\nselect: top", "r.yaml"),
    ],
)
def test_hostile_yaml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        recipe_yaml.load(tmp_path / "r.yaml")
    assert str(raised.value).isprintable()


def test_edited_recipes_give_a_recipe_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    recipe_yaml.load(path)
    for seed in range(150):
        draw, text = random.Random(seed), RECIPE
        for _ in range(draw.randint(1, 3)):
            start = draw.randrange(len(text))
            stop = min(len(text), start + draw.choice([0, 1, 1, 5, 40]))
            put = draw.choice(["", "[", "}", ": ", "\n", "- ", "&a ", "*a", "!!x ", "null", "-1", "\x1b", text[:30]])
            text = text[:start] + put + text[stop:]
        path.write_text(text)
        said = ""
        try:
            recipe_yaml.load(path)
        except ValueError as error:
            said = str(error)
        assert said.isprintable(), said


def test_a_path_with_commas_and_quotes_comes_back(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", make_rows(3))
    folder = shutil.copytree(tiny_model("gpt2"), tmp_path / 'my, "own": model=x/')
    scorer = Perplexity(model=str(folder), window=64, device="cpu")
    text = manifest_column(scorer)["spec"]
    assert scorers_by_column(f"p={text}") == {"p": scorer}
    prune(corpus, scorer, "middle", 0.5, tmp_path / "out")
    assert recipe_yaml.load(tmp_path / "out" / "recipe.yaml").scorers == (text,)


def test_what_no_text_can_say_is_refused_before_anything_is_scored(corpus: Path, tmp_path: Path) -> None:
    scorer = Perplexity(model="x", window=[1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="perplexity.window wants int"):
        spec.build("datapruner.scorers", spec.describe(scorer), Scorer)
    for wrong in ("a/b=length", f"{'x' * 300}=length"):
        with pytest.raises(ValueError, match="has no|want a name"):
            prune(corpus, wrong, "middle", 0.3, tmp_path / "out")
    assert not (tmp_path / "out.scores").exists()


@dataclass(frozen=True)
class Mine(Scorer):
    """A scorer of the caller's own."""

    def score(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        return batch.rows.astype(np.float32)


def test_a_scorer_of_ones_own_is_written_without_a_recipe(corpus: Path, tmp_path: Path) -> None:
    prune(corpus, Mine(), "top", 0.5, tmp_path / "out")
    assert (tmp_path / "out" / "kept.jsonl").exists()
    assert not (tmp_path / "out" / "recipe.yaml").exists()
    assert select(tmp_path / "out.scores", "top", keep_ratio=0.5).n_kept == 52
