"""Options of the command line: what goes in and out as JSON, budgets by a tokenizer, several files, help."""

import json
from pathlib import Path

import tokenizers

from tests.contextpruner.cli.test_context_cli import RUNNER, TEXT, app, lines_of, run


def test_json_in_comes_out_as_json(tmp_path: Path) -> None:
    row = {
        "question": "dome?",
        "documents": [{"text": "Dome 👍\u2028.", "id": "ü"}],
        "more": {"a": "\ud83d\udc4d", "n": 1e300},
    }
    (tmp_path / "q.jsonl").write_text("\ufeff" + json.dumps(row) + "\r\n" + lines_of(row))
    code, out, _ = run("prune", "--questions", str(tmp_path / "q.jsonl"), "--top-k", "1")
    assert code == 0

    def never(constant: str) -> None:
        raise AssertionError(constant)

    for line in out.rstrip("\n").split("\n"):
        held = json.loads(line, parse_constant=never)
        assert held["given"] == {"more": {"a": "👍", "n": 1e300}}
        assert held["documents"][0]["text"] == "Dome 👍\u2028."

    (tmp_path / "q.jsonl").write_text('{"question": "q", "documents": ["a"], "n": [1e999]}')
    code, _, error = run("prune", "--questions", str(tmp_path / "q.jsonl"), "--top-k", "1")
    assert code == 2
    assert "q.jsonl:1 is not JSON that can be read: the number 1e999 is too large" in error


def test_many_questions_have_one_form(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(lines_of({"question": "q", "documents": ["a"]}))
    for options in (["--format", "html"], ["--details"]):
        code, out, error = run("prune", "--questions", str(tmp_path / "q.jsonl"), "--top-k", "1", *options)
        assert (code, out) == (2, "")
        assert "--format and --details are for one --question" in error


def test_a_budget_in_the_tokens_of_a_tokenizer(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    made.save(str(tmp_path / "tokenizer.json"))
    rule = ["prune", "-q", "dome", "--format", "json", "--closure", "none"]
    code, out, _ = run(*rule, "--max-tokens", "18", "--tokenizer", str(tmp_path), text=TEXT)
    assert code == 0
    assert json.loads(out)["n_tokens_after"] == len("The dome is tall. ")
    code, out, _ = run(
        *rule, "--max-tokens", "17", "--threshold", "0", "--tokenizer", str(tmp_path / "tokenizer.json"), text=TEXT
    )
    assert json.loads(out)["n_tokens_after"] == len("Bread is baked.\n")
    code, _, error = run(*rule, "--max-tokens", "17", "--tokenizer", str(tmp_path / "none"), text=TEXT)
    assert code == 2
    assert "want a tokenizer.json or a folder with one" in error


def test_what_is_kept_where_nothing_passes_of_a_document(tmp_path: Path) -> None:
    rule = ["prune", "-q", "dome", "--threshold", "0.99", str(tmp_path)]
    (tmp_path / "a.txt").write_text("A dome. Else.")
    (tmp_path / "b.txt").write_text("B dome. Else.")
    assert run(*rule)[1] == "A dome. \n"
    assert run(*rule, "--empty-per", "document")[1] == "A dome. \nB dome. \n"
    assert run(*rule, "--empty", "empty")[1] == ""
    assert run(*rule, "--empty", "original")[1] == "A dome. Else.\nB dome. Else.\n"


def test_rules_together_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A dome. Bread is old. Tea. Terms apply here.")
    (tmp_path / "b.txt").write_text("A dome. The tall dome stands. Bread is old. Tea.")
    rule = ["prune", "-q", "tall dome", "--closure", "none", str(tmp_path)]
    tall, both = "The tall dome stands. \n", "A dome. The tall dome stands. \n"
    assert run(*rule, "--share-of-best", "0.9")[1] == tall
    assert run(*rule, "--share-of-best", "0.9", "--protect", "^Terms")[1] == "Terms apply here.\n" + tall
    assert run(*rule, "--top-k", "9", "--top-documents", "1")[1] == both
    asked = ["--top-k", "9", "--redundancy", "1", "--reorder", "--format", "json"]
    found = [[span["reason"] for span in item["spans"]] for item in json.loads(run(*rule, *asked)[1])["documents"]]
    assert found == [["top_k", "top_k", *["irrelevant"] * 2], ["copy of 1.1", *["irrelevant"] * 3]]
    beside = run(*rule, "--top-k", "1", "--before", "1", "--behind", "1")[1]
    assert beside == "A dome. The tall dome stands. Bread is old. \n"
    limits = ["--min-document-units", "1", "--max-document-units", "1", "--threshold", "0.9"]
    assert run(*rule, *limits)[1] == "A dome. \n" + tall
    assert run(*rule, "--top-k", "9", "--max-document-tokens", "3")[1] == "A dome. \nA dome. \n"
    assert run(*rule, "--max-tokens", "99", "--min-document-tokens", "1", "--mmr", "0.5")[0] == 0
    assert "linear time" in run(*rule, "--protect", "(a)\\1")[2]


def test_what_is_known_of_documents_is_kept_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A dome. Bread is old.")
    (tmp_path / "q.jsonl").write_text(lines_of({"question": "dome?"}, {"question": "bread?"}))
    asked = ["prune", "--questions", str(tmp_path / "q.jsonl"), str(tmp_path / "a.txt"), "--top-k", "1"]
    plain = [json.loads(line)["documents"] for line in run(*asked)[1].splitlines()]
    for _ in range(2):
        kept = run(*asked, "--cache", str(tmp_path / "known"))[1]
        assert [json.loads(line)["documents"] for line in kept.splitlines()] == plain
        assert len(list((tmp_path / "known").glob("*.safetensors"))) == 1


def test_an_index_in_several_files(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(
            "\ufeff" + lines_of(*({"text": f"{name} {n} click"} for n in range(2))).rstrip("\n")
        )
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    code, out, _ = run(
        "quality", *files, "-o", str(tmp_path / "o"), "--measure", "unique_terms", "--keep-ratio", "0.75"
    )
    assert code == 0
    assert "3 of 4 passages kept" in out
    assert [json.loads(line)["text"] for line in (tmp_path / "o").read_text().splitlines()] == [
        "a 0 click",
        "a 1 click",
        "b 0 click",
    ]
    code, _, error = run("quality", "-", "-o", str(tmp_path / "p"), text="{}")
    assert code == 2
    assert "the index is read more than once: want files, got standard input" in error


def test_help_says_what_is_read_within_80_columns() -> None:
    for command in ("prune", "calibrate", "quality", "export", "methods"):
        done = RUNNER.invoke(app, [command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
        assert done.exit_code == 0
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "…" not in done.stdout
        if command == "calibrate":
            assert "[[start, end], ...]" in " ".join(done.stdout.replace("│", " ").split())
