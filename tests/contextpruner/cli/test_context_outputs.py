"""What commands write: never an input, never what is not theirs, and whole or not at all whatever goes wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contextpruner.cli import app
from contextpruner.labelers.provence import Provence
from contextpruner.models.onnx_export import KIND, export_onnx
from prunekernels.io.outputs import atomic_folder
from prunekernels.io.staging import recover
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.cli.lexical import lexical
from tests.kernels.io.faults import fault_at, full_disk, interrupted

RUNNER = CliRunner()
DOME = "The dome is tall. Bread is baked.\n"
PASSAGES = "".join(json.dumps({"text": text}) + "\n" for text in ("The dome of 1436.", "Click here.", "Zzz!"))
EXAMPLE = json.dumps({"question": "dome", "documents": [DOME], "gold": [[[0, 5]]]}) + "\n"


def run(*arguments: str | Path, text: str = "") -> tuple[int, str, str]:
    done = RUNNER.invoke(app, lexical(*arguments), input=text)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of waits for a disk take long."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


COMMANDS: dict[str, tuple[str, str, list[str]]] = {
    "prune": ("a.md", DOME, ["prune", "a.md", "-q", "dome", "--top-k", "1"]),
    "prune questions": (
        "q.jsonl",
        json.dumps({"question": "dome", "documents": [DOME]}) + "\n",
        ["prune", "--questions", "q.jsonl", "--top-k", "1"],
    ),
    "quality": ("p.jsonl", PASSAGES, ["quality", "p.jsonl", "--keep-ratio", "0.5"]),
    "calibrate": ("e.jsonl", EXAMPLE, ["calibrate", "e.jsonl"]),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_an_output_is_never_an_input(
    command: str, overwrite: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, text, arguments = COMMANDS[command]
    (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to(name)
    os.link(name, "other-name")
    for output in (name, "link", "other-name"):
        code, _, error = run(*arguments, "-o", output, *overwrite)
        assert code == 2
        assert "is the input" in error
        assert error.count("\n") == 1
    assert (tmp_path / name).read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "link", "other-name"])


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_ours_is_replaced_only_on_request(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, text, arguments = COMMANDS[command]
    (tmp_path / name).write_text(text)
    (tmp_path / "thesis").write_text("mine")
    code, _, error = run(*arguments, "-o", "thesis")
    assert code == 2
    assert "thesis is there already, and nothing that may be replaced" in error
    assert (tmp_path / "thesis").read_text() == "mine"
    assert run(*arguments, "-o", "thesis", "--overwrite")[0] == 0
    new = (tmp_path / "thesis").read_text()
    assert new != "mine"
    # a dash is standard output
    code, out, _ = run(*arguments, "-o", "-")
    assert code == 0
    assert out == new or (command == "prune questions" and out.partition("labelling_ms")[0] in new)
    assert not (tmp_path / "-").exists()


def test_our_own_page_and_calibration_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text(DOME)
    (tmp_path / "e.jsonl").write_text(EXAMPLE)
    for _ in range(2):
        assert run("prune", "a.md", "-q", "dome", "--top-k", "1", "-o", "page.html")[0] == 0
        assert run("calibrate", "e.jsonl", "-o", "c.json")[0] == 0


def test_an_export_replaces_an_export_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model, out = tiny.provence(tmp_path / "model"), tmp_path / "out"
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    for target in (model, tmp_path):
        for overwrite in ([], ["--overwrite"]):
            code, _, error = run("export", model, "-o", target, *overwrite)
            assert code == 2
            assert f"the output {target}" in error
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for overwrite in ([], ["--overwrite"]):
        code, _, error = run("export", model, "-o", out, *overwrite)
        assert code == 2
        assert "out is not empty" in error
    (out / "notes.txt").unlink()
    assert run("export", model, "-o", out)[0] == 0
    assert run("export", model, "-o", out)[0] == 2
    assert run("export", model, "-o", out, "--overwrite")[0] == 0
    (out / "notes.txt").write_text("mine")
    assert "notes.txt" in run("export", model, "-o", out, "--overwrite")[2]
    assert (out / "notes.txt").read_text() == "mine"


def action_of(command: str, place: Path) -> tuple[Path, Callable[[], None]]:
    """The output of a command, and the command, which raises what goes wrong."""
    if command == "export":
        loaded = Provence(str(tiny.provence(place.parent / "model"))).loaded
        return place / "out", lambda: export_onnx(loaded, place / "out", overwrite=True) and None
    name, text, given = COMMANDS[command]
    (place / name).write_text(text)
    arguments = [str(place / name) if item == name else item for item in given]

    def act() -> None:
        code, _, error = run(*arguments, "-o", place / "out", "--overwrite")
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise OSError(error)

    return place / "out", act


def write_old(command: str, out: Path) -> None:
    if command == "export":
        with atomic_folder(out, KIND, overwrite=True) as folder:
            (folder / "model.onnx").write_text("old")
    else:
        out.write_text("old")


def content(out: Path) -> object:
    if out.is_dir():
        return {path.name: path.read_bytes() for path in out.iterdir()}
    return out.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="counts the system calls of Linux")
@pytest.mark.parametrize("command", ["prune", "quality", "export"])
def test_a_fault_at_any_operation_leaves_the_old_output_or_the_new_one(command: str, places: Path) -> None:
    if command == "export":
        pytest.importorskip("onnx")
    place = places / "place"
    place.mkdir()
    out, act = action_of(command, place)
    write_old(command, out)
    old = content(out)
    with fault_at(-1, full_disk) as seen:
        act()
    new, names, total = content(out), sorted(path.name for path in place.iterdir()), len(seen)
    # all of the last operations, which put it in its place, and some of those before
    numbers = sorted({*range(0, total, max(1, total // 6)), *range(max(0, total - 10), total)})
    found = []
    for fault, number in itertools.product((full_disk, interrupted), numbers):
        write_old(command, out)
        # what comes while leftovers are removed leaves them to the next start, and is no error then
        with contextlib.suppress(OSError, KeyboardInterrupt), fault_at(number, fault):
            act()
        found.append(content(out))
        assert found[-1] in (old, new)
        recover(out)
        assert sorted(path.name for path in place.iterdir()) == names
    assert old in found
    assert new in found
