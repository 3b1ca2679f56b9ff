"""`contextpruner quality`: an index pruned line by line, what is dropped, and every score."""

import json
from pathlib import Path

from tests.contextpruner.cli.test_context_cli import run


def test_an_index_is_pruned_line_by_line(tmp_path: Path) -> None:
    dome = '{"text":  "The dome of 1436 ü."}'
    lines = [dome, *(json.dumps({"id": text, "text": text}) for text in ("Click here.", "Zzz!")), dome]
    (tmp_path / "i.jsonl").write_text("\n".join(lines) + "\n\n")
    code, out, error = run(
        "quality", str(tmp_path / "i.jsonl"), "-o", str(tmp_path / "o.jsonl"), "--keep-ratio", "0.5", "--keep-copies"
    )
    assert (code, error) == (0, "")
    assert "2 of 4 passages kept" in out
    assert (tmp_path / "o.jsonl").read_text().splitlines() == [lines[0], lines[3]]
    (tmp_path / "i.jsonl").write_text("\n".join([lines[0], "{}"]))
    code, _, error = run("quality", str(tmp_path / "i.jsonl"), "-o", str(tmp_path / "p.jsonl"))
    assert code == 2
    assert "i.jsonl:2: text wants a string" in error
    assert not (tmp_path / "p.jsonl").exists()


def test_of_an_index_what_is_dropped_and_every_score_on_request(tmp_path: Path) -> None:
    texts = ["The dome of 1436.", "Click here.", "The dome of 1436.", "The dome is of brick."]
    lines = [json.dumps({"_id": f"p{number}", "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "i.jsonl").write_text("\n".join(lines) + "\n")
    kept, dropped, scores = (tmp_path / name for name in ("kept", "dropped", "scores"))
    given = ["quality", str(tmp_path / "i.jsonl"), "-o", str(kept), "--keep-ratio", "0.6"]
    code, _, error = run(*given, "--dropped", str(dropped), "--scores", str(scores))
    assert (code, error) == (0, "")
    assert kept.read_text().splitlines() + dropped.read_text().splitlines() == [lines[0], lines[3], lines[1], lines[2]]
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["p0", "p1", "p2", "p3"]
    assert [row["reason"] for row in rows] == ["kept", "low_quality", "copy", "kept"]
    assert [row["kept"] for row in rows] == [True, False, False, True]
    assert rows[2]["copy_of"] == 0
    assert rows[0]["score"] == rows[2]["score"] > rows[1]["score"]
    assert rows[3]["place"] == f"{tmp_path / 'i.jsonl'}:4"
    code, _, error = run(*given[:3], str(tmp_path / "one"), "--dropped", str(tmp_path / "one"))
    assert code == 2
    assert "want a file each for what is written" in error
    # on an index without copies the default drops less than a quarter, as docs/passage_quality.md has it
    (tmp_path / "i.jsonl").write_text("".join(json.dumps({"text": f"Dome {number}."}) + "\n" for number in range(40)))
    code, out, _ = run(*given[:3], str(tmp_path / "whole"))
    assert "36 of 40 passages kept" in out
