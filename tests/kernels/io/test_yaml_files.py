"""YAML from elsewhere is plain values of a bounded depth, or one line with the place."""

import time
from pathlib import Path

import pytest

from prunekernels.io.yaml_files import parse_yaml, read_yaml

RECIPE = """
source: {path: corpus.jsonl, uid: id}   # a note
scorers: [near_duplicate, "ppl=perplexity:model=gpt2"]
select:
- {selector: middle, by: {ppl: 0.7, length: 3}, keep_ratio: 0.5}
out: {path: größe, overwrite: true, scores: null}
made: 2024-01-02
"""


def test_plain_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("\ufeff" + RECIPE)
    assert read_yaml(path) == {
        "source": {"path": "corpus.jsonl", "uid": "id"},
        "scorers": ["near_duplicate", "ppl=perplexity:model=gpt2"],
        "select": [{"selector": "middle", "by": {"ppl": 0.7, "length": 3}, "keep_ratio": 0.5}],
        "out": {"path": "größe", "overwrite": True, "scores": None},
        "made": "2024-01-02",
    }
    assert parse_yaml("", "r") is None
    with pytest.raises(ValueError, match="want at most 10 bytes"):
        read_yaml(path, max_bytes=10)


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "r:1: want no anchors and aliases in YAML, got 'a'"),
        ("a: 1\nb: *c", "r:2: want no anchors and aliases in YAML, got 'c'"),
        ("- &a b", "want no anchors"),
        ("[" * 20_000, "r:1: want YAML of at most 32 levels"),
        ("{a: " * 20_000, "r:1: want YAML of at most 32 levels"),
        ("- " * 20_000, "want YAML of at most 32 levels"),
        ("a:\n  b: [1\nc: 2", r"r:\d: want YAML: "),
        ("a: b: c", "r:1: want YAML: mapping values are not allowed here"),
        ("\x07", "r: want YAML: "),
        (b"\xff", "r: want UTF-8, got byte 0xff at 0"),
        ("a: 1\n---\nb: 2", r"r:\d: want YAML: but found another document"),
        ("a: 1\na: 2", "r:2: the key 'a' stands twice"),
        ("1: 2", "r:1: want text as key, got 1"),
        ("? [a]\n: b", r"r:1: want text as key, got \['a'\]"),
        ("a: .nan", "r:1: want a finite number, got '.nan'"),
        ("a: -.inf", "want a finite number"),
        ("a: !!python/object/apply:os.system [x]", "r:1: want plain values, got one with the tag"),
        ("a: !!binary aGk=", "want plain values, got one with the tag"),
        ("a: !x y", "want plain values, got one with the tag '!x'"),
        ("a: !!set {b}", "want plain values"),
        ("a: !!int x", "r:1: want a value of YAML, got 'x'"),
        ("a: " + "9" * 5000, "r:1: want a value of YAML"),
        ("a:\n- <<: {b: 1}", "want plain values, got one with the tag .*merge|want text as key"),
    ],
)
def test_anything_else_is_one_line(text: str | bytes, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as told:
        parse_yaml(text, "r")
    assert str(told.value).startswith("r:")
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 400
    assert time.process_time() - start < 2
