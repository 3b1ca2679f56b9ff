"""An output is never an input and never replaces what is not ours, whoever writes there meanwhile."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from prunekernels.io import outputs, renames
from prunekernels.io.marks import has_mark
from prunekernels.io.outputs import atomic_folder, atomic_text, check_file, check_folder, check_not_input
from tests.kernels.io.output_folder import KIND, write


def no_links(*given: object, **options: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.fixture(params=["one step", "two steps", "no links"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one step":
        monkeypatch.setattr(renames, "_renameat2", lambda *given: False)
    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_links)


def test_a_folder_is_replaced_only_where_it_is_ours_and_as_it_was(tmp_path: Path, steps: None) -> None:
    out = tmp_path / "deep" / "er" / "out"
    write(out)
    with pytest.raises(ValueError, match="is not empty: want a new folder, or overwrite=True"):
        write(out)
    write(out, "newer", overwrite=True)
    assert (out / "kept.txt").read_text() == "newer"
    assert check_folder(out, KIND, overwrite=True) == [
        str(out / ".prunekit.json"), str(out / "images"), str(out / "kept.txt")
    ]  # fmt: skip
    with pytest.raises(ValueError, match="is a 'test output', and no other output"):
        write(out, overwrite=True, kind="other output")
    for name in ("notes.txt", "images/mine.png"):
        (out / name).write_text("mine")
        with pytest.raises(ValueError, match=r"notes\.txt|images holds files that were not written with the rest"):
            write(out, overwrite=True)
        assert (out / name).read_text() == "mine"
        (out / name).unlink()
    # what was taken out of it does not matter
    (out / "images" / "1.png").unlink()
    write(out, "newest", overwrite=True)
    assert (out / "images" / "1.png").read_text() == "newest"


@pytest.mark.parametrize("mark", [None, "{", "[]", '{"format": 2, "kind": "test output"}', '{"format": 1}'])
def test_folders_that_are_not_ours_stay(tmp_path: Path, mark: str | None) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    if mark is not None:
        (tmp_path / ".prunekit.json").write_text(mark)
    with pytest.raises(ValueError, match=str(tmp_path)):
        write(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_folder_that_fills_meanwhile_is_not_replaced(tmp_path: Path, steps: None) -> None:
    out = tmp_path / "out"

    def fill() -> None:
        out.mkdir(exist_ok=True)
        (out / "notes.txt").write_text("mine")

    for overwrite in (False, True):
        with pytest.raises(ValueError, match="is not empty"), atomic_folder(out, KIND, overwrite=overwrite):
            fill()
        assert os.listdir(tmp_path) == ["out"]
        assert os.listdir(out) == ["notes.txt"]
        (out / "notes.txt").unlink()
    write(out, "old")
    with pytest.raises(ValueError, match=r"'notes\.txt', which was not"), atomic_folder(out, KIND, overwrite=True):
        fill()
    assert (out / "notes.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


def test_what_fills_a_folder_after_the_last_look_is_kept(
    tmp_path: Path, steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, fill = tmp_path / "out", []
    write(out, "old")
    exchange, rename = renames.exchange, os.rename

    def late(call: Callable) -> Callable:
        def filling(one: Path, other: Path) -> object:
            if not fill and out in (one, other):
                fill.append(1)
                (out / "notes.txt").write_text("mine")
            return call(one, other)

        return filling

    monkeypatch.setattr(outputs, "exchange", late(exchange))
    monkeypatch.setattr(os, "rename", late(rename))
    with pytest.raises(ValueError, match=r"'notes\.txt', which was not written with the rest"):
        write(out, overwrite=True)
    assert fill
    assert sorted(os.listdir(out)) == [".prunekit.json", "images", "kept.txt", "notes.txt"]
    assert (out / "kept.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_two_runs_with_one_output(tmp_path: Path) -> None:
    out, began, go = tmp_path / "out", threading.Barrier(2), []

    def run(text: str) -> None:
        try:
            with atomic_folder(out, KIND) as folder:
                (folder / "kept.txt").write_text(text)
                began.wait()
        except (ValueError, FileExistsError) as error:
            go.append(error)

    threads = [threading.Thread(target=run, args=(text,)) for text in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(go) == 1
    assert (out / "kept.txt").read_text() in "ab"
    assert os.listdir(tmp_path) == ["out"]


def test_what_another_run_writes_after_the_last_look_is_kept(
    tmp_path: Path, steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, looks = tmp_path / "out", []

    def looked(*given: object, **options: object) -> list[str]:
        found = check_folder(*given, **options)  # type: ignore[arg-type]
        looks.append(1)
        if len(looks) == 2:
            write(out, "theirs")
        return found

    monkeypatch.setattr(outputs, "check_folder", looked)
    with pytest.raises(FileExistsError, match="taken this name meanwhile"):
        write(out, "ours")
    assert (out / "kept.txt").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_is_replaced_only_where_that_is_allowed(tmp_path: Path, steps: None) -> None:
    path = tmp_path / "report.html"
    ours = has_mark(b'content="prunekit')
    page = '<meta name="generator" content="prunekit 1">'

    def save(text: str, replaces: outputs.Replaces) -> None:
        with atomic_text(path, replaces=replaces) as file:
            file.write(text)

    save(page, False)
    with pytest.raises(ValueError, match="is there already, and nothing that may be replaced"):
        save("x", False)
    save(page + "2", ours)
    assert path.read_text() == page + "2"
    path.write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        save(page, ours)
    assert path.read_text() == "mine"
    assert check_file(path, replaces=True) == [str(path)]
    save("y", True)
    assert path.read_text() == "y"
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize("replaces", [False, has_mark(b"ours")])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, steps: None, replaces: outputs.Replaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises((ValueError, FileExistsError)), atomic_text(path, replaces=replaces):
        path.write_text("mine")
    # even between the last look and the rename
    path.unlink()
    monkeypatch.setattr(outputs, "rename_new", lambda one, two: (path.write_text("mine"), renames.rename_new(one, two)))
    with pytest.raises(FileExistsError, match=r"out\.txt"), atomic_text(path, replaces=replaces) as file:
        file.write("new")
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_an_output_is_never_an_input(tmp_path: Path) -> None:
    corpus = tmp_path / "data" / "corpus.jsonl"
    corpus.parent.mkdir()
    corpus.write_text("{}\n")
    (tmp_path / "link").symlink_to(corpus)
    (tmp_path / "folder_link").symlink_to(corpus.parent)
    (tmp_path / "hard").hardlink_to(corpus)
    names = [corpus, tmp_path / "link", tmp_path / "hard", tmp_path / "data" / ".." / "data" / "corpus.jsonl"]
    names.append(tmp_path / "folder_link" / "corpus.jsonl")
    for out in names:
        for given in names:
            for inputs in ([given], ["-", "s3://a/b", "no/such", "a\0b", str(given)]):
                with pytest.raises(ValueError, match="is the input .*: want another name"):
                    check_file(out, replaces=True, inputs=inputs)
    for out in (corpus.parent, tmp_path, tmp_path / "folder_link"):
        for given in names[:2] + names[3:]:
            with pytest.raises(ValueError, match="holds the input"):
                check_not_input(out, [given])
    for given in (corpus.parent, tmp_path / "folder_link"):
        with pytest.raises(ValueError, match="lies in the input"):
            check_not_input(corpus.parent / "new" / "out", [given])
        with pytest.raises(ValueError, match="is the input"):
            check_not_input(corpus.parent, [given])
    check_not_input(tmp_path / "out", names)
    check_not_input(corpus.parent / "other", names)
    with pytest.raises(ValueError, match="is the input"), atomic_text(corpus, replaces=True, inputs=[corpus]):
        pass
    refused = atomic_folder(corpus.parent, KIND, overwrite=True, inputs=[corpus])
    with pytest.raises(ValueError, match="holds the input"), refused:
        pass
    assert corpus.read_text() == "{}\n"
