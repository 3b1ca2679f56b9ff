"""The command line as a user meets it: other processes, real pipes, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contextpruner.cli import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The dome is tall. Bread is baked.\n"
RUNNER = CliRunner()


def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    done = RUNNER.invoke(app, list(arguments), input=text)
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
        [sys.executable, "-c", start, "prune", "-q", "dome", "--top-k", "1"],
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


def test_methods_lists_every_labeler_with_its_line() -> None:
    code, out, _ = run("methods")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["bi_encoder", "bm25", "lead", "random"]
    assert all(line.endswith(".") for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-q", "x"], "want exactly one of threshold, top_k and max_tokens, got none"),
        (["-q", "x", "--top-k", "1", "--threshold", "0.1"], "got threshold and top_k"),
        (["-q", "x", "--threshold", "2"], "threshold wants a number in [0, 1], got 2.0"),
        (["-q", " ", "--top-k", "1"], "want a question, got an empty text"),
        (["-q", "x", "--top-k", "1", "--labeler", "bm52"], "has no 'bm52'"),
        (["-q", "x", "--top-k", "1", "--labeler", "bm25:k1=a"], "bm25.k1 wants float, got 'a'"),
        (["-q", "x", "--top-k", "1", "none.txt"], "none.txt: No such file or directory"),
        (["-q", "x", "--top-k", "1", "-o", "none/out.txt"], "there is no folder none"),
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
    code, _, error = run("prune", "-q", "x", "--top-k", "1", *files, str(tmp_path / "bad.jsonl"), "-o", str(out))
    assert code == 2
    assert "bad.jsonl:1 is not JSON" in error
    assert out.read_text() == "old"
