"""`contextpruner evaluate`: the table, both files, and what is refused."""

import json
from pathlib import Path

import pytest

from tests.contextpruner import tiny_checkpoints
from tests.contextpruner.cli.test_context_cli import lines_of, run


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    rows = [
        {"id": f"{n}", "question": f"Who built dome {n}?", "documents": [f"It rained. Ana built dome {n}. So it is."],
         "gold": [[[11, 14]] if n % 4 else []], "language": "en", "source": "one" if n % 2 else "two", "answer": "Ana"}
        for n in range(12)
    ]  # fmt: skip
    (tmp_path / "e.jsonl").write_text(lines_of(*rows))
    return tmp_path / "e.jsonl"


def test_everything_at_once(examples: Path, tmp_path: Path) -> None:
    reader = tiny_checkpoints.causal_lm(tmp_path / "lm")
    files = [tmp_path / "r.json", tmp_path / "r.html"]
    given = ["evaluate", str(examples), "-o", str(files[0]), "--html", str(files[1]), "--form", "polite"]
    code, out, error = run(*given, "--reader", str(reader), "--reader-questions", "3")
    assert (code, error) == (0, "")
    head = next(line for line in out.splitlines() if line.startswith("questions"))
    assert head.split()[:4] == ["questions", "n", "recall", "random"]
    rows = [line.split() for line in out.splitlines() if line.startswith(("all", "one", "two"))]
    assert [(row[0], row[1], row[-1]) for row in rows[:3]] == [
        ("all", "12", name) for name in ("bm25", "lead", "random")
    ]
    # bm25 keeps the middle sentence of each, lead the first
    assert float(rows[0][2]) > 0.6
    assert float(rows[1][2]) < 0.1
    assert out.count("reader, all, 3 questions: full -") == 3
    made = json.loads(files[0].read_text())
    assert [(row["form"], row["n"]) for row in made["forms"]] == [("polite", 9)] * 3
    assert "A reader&#x27;s answer" in files[1].read_text() or "A reader's answer" in files[1].read_text()
    code, _, error = run(*given)
    assert code == 2
    assert "r.json is there already" in error


def test_thresholds_from_elsewhere(examples: Path, tmp_path: Path) -> None:
    out_file = tmp_path / "r.json"
    given = ["evaluate", str(examples), "-o", str(out_file), "-l", "lead", "--threshold", "0.5"]
    assert run(*given)[0] == 0
    at = json.loads(out_file.read_text())["sets"][0]["at_global"]
    assert at["cut"] == {"threshold": 0.5, "below": None, "share": 0.0}
    # the first two of three sentences
    assert (at["kept"]["recall"], at["kept"]["retained"]) == (1, 1)


def test_what_is_refused_is_named(examples: Path, tmp_path: Path) -> None:
    def refused(*arguments: str, path: Path = examples) -> str:
        code, _, error = run("evaluate", str(path), *arguments)
        assert code == 2
        return error

    assert "want a threshold for each of 3 labelers, got 1" in refused("--threshold", "0.5")
    assert "want a threshold in [0, 1], got 1.5" in refused("-l", "lead", "--threshold", "1.5")
    assert "want every labeler once, got lead twice" in refused("-l", "lead", "-l", "lead")
    assert "bm26" in refused("-l", "bm26")
    assert "rude" in refused("--form", "rude")
    assert "tokenizer.json" in refused("--tokenizer", str(tmp_path / "none"))
    (tmp_path / "empty.jsonl").write_text("")
    assert "empty.jsonl holds no questions" in refused(path=tmp_path / "empty.jsonl")
    bad = {"id": "q7", "question": "Who?", "documents": ["Ana."], "gold": [[[0, 99]]]}
    (tmp_path / "bad.jsonl").write_text(lines_of(bad))
    assert "bad.jsonl: question q7: want gold characters within [0, 4)" in refused(path=tmp_path / "bad.jsonl")
    (tmp_path / "bad.jsonl").write_text(lines_of(bad | {"gold": [[]]}))
    assert "a reader wants questions with gold" in refused("--reader", "x", path=tmp_path / "bad.jsonl")
