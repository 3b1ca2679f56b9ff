"""A folder of made-up question sets, and a recipe over them; each fact stands in one sentence."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from transformers import BertModel

from tests.contextpruner.tiny_checkpoints import bert_config, randomize, sentencepiece

NAMES = ("ana", "bob", "cid", "dan", "eva", "fay", "gus", "hal")
THINGS = ("dome", "boat", "lamp", "coat", "song", "cake")


def fact(name: str, thing: str, year: int) -> str:
    return f"It was {name} who made the {thing} in {year}."


def write_sets(folder: Path, n_articles: int = 12, asked: Sequence[str] = THINGS) -> Path:
    """`folder`/facts.jsonl: passages of five facts about five of six things; all that are `asked` for in each."""
    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "facts.jsonl", "w", encoding="utf-8") as file:
        for article in range(n_articles):
            pairs = list(zip(draw.sample(NAMES, 5), draw.sample(THINGS, 5), strict=True))
            # years of its own, so that no two stories count as copies
            facts = [fact(*pair, 1000 + 17 * article + number) for number, pair in enumerate(pairs)]
            text = " ".join(facts)
            row = {"article": f"story {article}", "paragraph": "0", "context": text}
            for number, (name, thing) in enumerate(pairs):
                if thing not in asked:
                    continue
                start = text.index(facts[number]) + len("It was ")
                row |= {"id": f"{article}-{number}", "question": f"Who made the {thing}?"}
                file.write(json.dumps({**row, "answer": name, "answer_start": start}) + "\n")
            other = next(thing for thing in THINGS if thing not in dict(map(reversed, pairs)))
            none = {"id": f"{article}-none", "question": f"Who made the {other}?", "answer": "", "answer_start": -1}
            if other in asked:
                file.write(json.dumps({**row, **none}) + "\n")
    return folder


def write_base(folder: Path) -> Path:
    """A random BERT with three layers and a Unigram tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = bert_config(sentencepiece(folder), 1)
    config.num_hidden_layers = 3
    config.pad_token_id = 1
    randomize(BertModel(config, add_pooling_layer=False), std=0.2).save_pretrained(folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "<s>", "sep_token": "</s>"}
    settings |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_recipe(folder: Path, n_articles: int = 12, asked: Sequence[str] = THINGS, **training: object) -> Path:
    """`folder`/recipe.yaml over those sets and that base."""
    write_sets(folder / "sets", n_articles, asked)
    write_base(folder / "base")
    source = {"path": "facts.jsonl", "form": "offsets", "language": "en", "family": "facts", "licence": "A"}
    recipe = {
        "work": str(folder / "work"),
        "sources": str(folder / "sets"),
        "examples": {"sources": [{**source, "repeat": 2}], "validation": 0.25},
        "student": {"base": str(folder / "base"), "layers": [0, 2], "vocabulary": 60, "max_length": 120},
        "training": {
            "tokens": 20000,
            "batch_tokens": 1000,
            "precision": "float32",
            "validate_every": 8,
            "save_every": 4,
            "tell_every": 4,
            "learning_rate": 5e-3,
            **training,
        },
    }
    # JSON is YAML, too
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path
