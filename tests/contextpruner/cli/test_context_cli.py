"""The command line as a user meets it: other processes, real pipes, exit codes."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contextpruner.cli import app
from contextpruner.labeler import LABELERS
from contextpruner.prompts.search import SEARCHES
from contextpruner.quality import QUALITIES
from contextpruner.units.sentence_splitter import SPLITTERS
from prunekernels import registry
from tests.contextpruner.cli.lexical import lexical

ROOT = Path(__file__).resolve().parents[3]
TEXT = "The dome is tall. Bread is baked.\n"
RUNNER = CliRunner()


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    done = RUNNER.invoke(app, lexical(*arguments), input=text)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.jsonl").write_text('{"id": "x", "title": "T", "text": "A dome. No."}\n{"text": ""}\n')
    return [str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")]


def test_a_pipe_gets_the_kept_text_and_nothing_else() -> None:
    start = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'kernels')]!r}; from contextpruner.cli import app; app()"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, *lexical("prune", "-q", "dome", "--top-k", "1")],
        input="Es ist. Die Kuppel: dome ü.\r\nEnd.".encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout == "Die Kuppel: dome ü.\r\n".encode()
    assert done.stderr == b""


def test_files_and_standard_input_together(files: list[str]) -> None:
    code, out, _ = run("prune", "--question", "dome", *files, "-", "--threshold", "0.1", text="One dome")
    assert code == 0
    assert out == "The dome is tall. \nA dome. \nOne dome\n"


def test_json_html_and_terminal(files: list[str], tmp_path: Path) -> None:
    code, out, _ = run("prune", "-q", "dome", *files, "--top-k", "1", "--format", "json")
    assert code == 0
    assert [document["id"] for document in json.loads(out)["documents"]] == [files[0], "x", None]
    _, out, _ = run("prune", "-q", "dome", *files, "--top-k", "1", "--format", "terminal", "--details")
    assert "\x1b[32m" in out
    assert "below_top_k" in out
    for name, begins in (("p.html", "<!DOCTYPE html>"), ("p.json", "{"), ("p.txt", "A dome.")):
        code, out, _ = run("prune", "-q", "dome", *files, "--top-k", "1", "-o", str(tmp_path / name))
        assert (code, out) == (0, "")
        assert (tmp_path / name).read_text().startswith(begins)


def test_methods_lists_every_method_with_its_line() -> None:
    code, out, _ = run("methods")
    assert code == 0
    folders = {"--labeler:": LABELERS, "--splitter:": SPLITTERS, "--measure:": QUALITIES, "searches:": SEARCHES}
    for group, (option, folder) in zip(out.split("\n\n"), folders.items(), strict=True):
        head, *lines = group.splitlines()
        assert head == option
        assert [line.split()[0] for line in lines] == registry.names(folder)
        assert all(line.endswith(".") for line in lines)


def test_a_method_that_fails_on_import_is_named_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_import.py").write_text("raise RuntimeError('\\x1b[2J broken')\n")
    (tmp_path / "evil-1.dist-info").mkdir()
    (tmp_path / "evil-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    points = "[contextpruner.labelers]\nbroken = evil_import:X\nbm25 = evil_import:X\n"
    (tmp_path / "evil-1.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    code, out, _ = run("methods")
    assert code == 0
    lines = {line[2:].partition("  ")[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert "cannot be used" in lines["broken"]
    assert "fails on import: RuntimeError" in lines["broken"]
    assert "cannot be used" not in lines["bm25"]
    assert "has a 'bm25' of its own, which stays" in lines["bm25 of evil"]
    assert "\x1b" not in out
    assert {*lines} >= {*registry.names(SPLITTERS)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-q", "x", "--labeler", "lead"], "top_k, max_tokens: lead has no threshold of its own"),
        (["-q", "x", "--target-recall", "0.9", "--threshold", "0.1"], "threshold and target_recall, got both"),
        (["-q", "x", "--threshold", "2"], "threshold wants a number in [0, 1], got 2.0"),
        (["-q", " ", "--top-k", "1"], "want a question, got an empty text"),
        (["-q", "x", "--top-k", "1", "--labeler", "bm52"], "has no 'bm52'"),
        (["-q", "x", "--top-k", "1", "--labeler", "bm25:k1=a"], "bm25.k1 wants float, got 'a'"),
        (["-q", "x", "--labeler", "cross_encoder:precision=bf16"], "precision wants one of float32, bfloat16,"),
        (["-q", "x", "--top-k", "1", "--splitter", "ntlk"], "has no 'ntlk'; it has blingfire, nltk,"),
        (["-q", "x", "--top-k", "1", "--splitter", "rules:max_characters=0"], "max_characters of at least 1, got 0"),
        (["-q", "x", "--top-k", "1", "none.txt"], "none.txt: No such file or directory"),
        (["-q", "x", "--top-k", "1", "-o", "none/out.txt"], "none/out.txt: there is no folder"),
    ],
)
def test_bad_input_ends_with_code_2_and_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, error = run("prune", *arguments, text=TEXT)
    assert code == 2
    assert out == ""
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_file_leaves_the_old_output(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    (tmp_path / "bad.jsonl").write_text("{\n")
    code, _, error = run(
        "prune", "-q", "x", "--top-k", "1", *files, str(tmp_path / "bad.jsonl"), "-o", str(out), "--overwrite"
    )
    assert code == 2
    assert "bad.jsonl:1 is not JSON" in error
    assert out.read_text() == "old"


def lines_of(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_many_questions_are_one_line_each(files: list[str], tmp_path: Path) -> None:
    asked = lines_of(
        {"question": "dome", "documents": ["The dome is tall. Bread.", {"text": "Dome?", "id": 4}], "n": 1},
        {"question": "bread"},
    )
    (tmp_path / "q.jsonl").write_text(asked + "\n")
    rule = ["--top-k", "1", "--questions"]
    code, out, error = run("prune", *rule, str(tmp_path / "q.jsonl"), files[0])
    assert (code, error) == (0, "")
    first, second = map(json.loads, out.splitlines())
    assert first["given"] == {"n": 1}
    assert [document["id"] for document in first["documents"]] == [None, 4]
    assert second["documents"][0]["text"] == "Bread is baked.\n"
    assert "given" not in second
    # from standard input, to a file
    code, out, _ = run("prune", *rule, "-", files[0], "-o", str(tmp_path / "out.jsonl"), text=asked)
    assert (code, out) == (0, "")
    got = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [item["documents"][0]["text"] for item in got] == ["", "Bread is baked.\n"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"documents": ["a"]}, "question wants a string that is not empty, got None"),
        ({"question": " ", "documents": ["a"]}, "question wants a string that is not empty, got ' '"),
        ({"question": "q"}, "want documents in the line, or files that all lines share"),
        ({"question": "q", "documents": []}, "documents wants a list that is not empty, got list"),
        ({"question": "q", "documents": [1]}, "document 0 wants an object with a text, got int"),
        ({"question": "q", "documents": ["\ud800"]}, "'\\ud800' holds half of a surrogate pair"),
        ({"question": "q", "documents": ["a"], "x": ["\ud800"]}, "'\\ud800' holds half of a surrogate pair"),
    ],
)
def test_a_bad_question_leaves_nothing_half_written(row: dict[str, object], said: str, tmp_path: Path) -> None:
    good = {"question": "q", "documents": ["a"]}
    (tmp_path / "q.jsonl").write_text(lines_of(good, row))
    arguments = ["prune", "--questions", str(tmp_path / "q.jsonl"), "--top-k", "1", "-o", str(tmp_path / "out.jsonl")]
    code, _, error = run(*arguments)
    assert code == 2
    before = ("q.jsonl:2: ", "q.jsonl:2, ", "q.jsonl:2 is not JSON that can be read: ")
    assert any(f"{place}{said}" in error for place in before)
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "docs" / "in").mkdir(parents=True)
    (tmp_path / "docs" / "in" / "b.txt").write_text("B dome.")
    (tmp_path / "docs" / "a.txt").write_text("A dome.")
    (tmp_path / "docs" / ".hidden").write_text("H dome.")
    code, out, _ = run("prune", "-q", "dome", str(tmp_path / "docs"), "--threshold", "0")
    assert (code, out) == (0, "A dome.\nB dome.\n")
    (tmp_path / "none").mkdir()
    code, _, error = run("prune", "-q", "dome", str(tmp_path / "none"), "--threshold", "0")
    assert code == 2
    assert "none is a folder without files" in error


def test_pages_code_and_pictures_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<title>T</title><p>The dome &amp; more.</p><script>dome</script><p>No.</p>")
    (tmp_path / "b.py").write_text("def dome():\n    return 1\n\ndef bread():\n    return 2\n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\xff")
    code, out, error = run("prune", "-q", "dome", str(tmp_path), "--threshold", "0.1")
    assert (code, out) == (0, "T\nThe dome & more.\ndef dome():\n    return 1\n\n")
    assert error == f"contextpruner: passed over, as no UTF-8 text: {tmp_path / 'c.png'}\n"
    # what `curl` brings
    code, out, _ = run("prune", "-q", "dome", "--threshold", "0.1", text="<!doctype html><p>A <b>dome</b>.<p>No.")
    assert (code, out) == (0, "A dome.\n")


def test_the_version_and_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("contextpruner of prunekit ")
    monkeypatch.setattr(sys, "argv", ["contextpruner", "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("contextpruner.cli", run_name="__main__")
    assert left.value.code == 0


def test_a_prompt_has_titles_and_labels(files: list[str]) -> None:
    code, out, _ = run("prune", "-q", "dome", *files, "--threshold", "0.1", "--format", "prompt")
    assert code == 0
    assert out == "[1.1] The dome is tall.\n\nT\n[2.1] A dome.\n"


def test_closure_can_be_switched_off() -> None:
    text = "The dome is tall. It was built of brick."
    code, out, _ = run("prune", "-q", "brick", "--top-k", "1", text=text)
    assert (code, out) == (0, text + "\n")
    code, out, _ = run("prune", "-q", "brick", "--top-k", "1", "--closure", "none", text=text)
    assert (code, out) == (0, "It was built of brick.\n")
    code, out, _ = run("prune", "-q", "brick", "--top-k", "1", "--closure", "heading,header", text=text)
    assert (code, out) == (0, "It was built of brick.\n")
    code, _, error = run("prune", "-q", "brick", "--top-k", "1", "--closure", "headings", text=text)
    assert code == 2
    assert "closure wants a tuple of header, spanning, " in error


def test_one_question_or_many() -> None:
    for arguments in (["--top-k", "1"], ["--top-k", "1", "-q", "x", "--questions", "y.jsonl"]):
        code, _, error = run("prune", *arguments, text=TEXT)
        assert code == 2
        assert "want one of --question and --questions" in error
