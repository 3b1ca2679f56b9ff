"""An output is never an input, never replaces what is not ours, and is on disk when it is seen."""

import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from prunekernels.io import outputs, renames, staging
from prunekernels.io.marks import has_mark
from prunekernels.io.outputs import (
    atomic_file,
    atomic_folder,
    atomic_text,
    check_file,
    check_folder,
    check_not_input,
    folder_lock,
)
from prunekernels.io.staging import recover, recover_all

KIND = "test output"


def write(out: Path, text: str = "new", overwrite: bool = False, kind: str = KIND) -> None:
    with atomic_folder(out, kind, overwrite=overwrite) as folder:
        (folder / "kept.txt").write_text(text)
        (folder / "images").mkdir()
        (folder / "images" / "1.png").write_text(text)


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


def test_a_link_stays_a_link_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("made")
    for name, real in (("link", "real"), ("dangling", "made")):
        with atomic_text(tmp_path / name, replaces=True) as file:
            file.write("new\r\n")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / real).read_bytes() == b"new\r\n"
    (tmp_path / "folder").symlink_to("elsewhere")
    with pytest.raises(ValueError, match="got the file or link"):
        write(tmp_path / "folder")


def test_new_files_have_the_usual_rights(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_text(tmp_path / "file") as file:
            file.write("")
        write(tmp_path / "out")
        with atomic_folder(tmp_path / "kept", "thing") as made:
            # as a library leaves it
            (made / "weights").touch(mode=0o600)
    finally:
        os.umask(old)
    assert (tmp_path / "kept" / "weights").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_streams_are_written_as_they_go(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for name in ("-", "/dev/stdout"):
        with atomic_text(Path(name)) as file:
            file.write("é\n")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == "é\n".encode() * 2
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    with atomic_text(tmp_path / "pipe") as file:
        file.write("text")
    reader.join()
    assert read == ["text"]
    with atomic_text(Path("/dev/null")) as file:
        file.write("text")
    # standard output that is a file is gone on with, not replaced
    with open(tmp_path / "out", "wb") as out:
        code = (
            "import sys; sys.path[:0] = sys.argv[1:]\nfrom pathlib import Path\n"
            "from prunekernels.io.outputs import atomic_text\nprint('one', flush=True)\n"
            "with atomic_text(Path('/dev/stdout')) as file: file.write('two')\n"
        )
        kernels = str(Path(outputs.__file__).parents[2])
        subprocess.run([sys.executable, "-c", code, kernels], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "one\ntwo"


def test_standard_output_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw))
    with atomic_text(Path("-")) as file:
        file.write("one\n")
    print("two", flush=True)
    assert raw.getvalue() == b"one\ntwo\n"


@pytest.mark.parametrize("name", ["", "x" * 255, "ä" * 127])
def test_refusals_and_long_names(tmp_path: Path, name: str) -> None:
    if not name:
        with pytest.raises(ValueError, match="it is a folder"):
            check_file(tmp_path)
        with pytest.raises(ValueError, match="there is no folder"):
            check_file(tmp_path / "no" / "file")
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="want a folder or a free name"):
            check_folder(tmp_path / "file", KIND, overwrite=True)
        return
    write(tmp_path / name)
    write(tmp_path / name, "newer", overwrite=True)
    assert (tmp_path / name / "kept.txt").read_text() == "newer"
    assert os.listdir(tmp_path) == [name]


def test_everything_is_on_disk_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, renames._MANY + 1):
        events: list[str] = []
        paths: dict[int, str] = {}
        real_open, real_sync, real_all = os.open, os.fsync, renames._sync_file_system
        real_rename = os.rename

        def opened(path: object, *rest: object, **options: object) -> int:
            handle = real_open(path, *rest, **options)  # noqa: B023
            paths[handle] = os.path.basename(os.fspath(path))  # noqa: B023
            return handle

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "fsync", lambda handle: (events.append(paths[handle]), real_sync(handle)))  # noqa: B023
        monkeypatch.setattr(renames, "_sync_file_system", lambda f: (events.append("all"), real_all(f))[1])  # noqa: B023
        monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), real_rename(a, b)))  # noqa: B023
        out = tmp_path / f"new{number}" / "out"
        with atomic_folder(out, KIND) as folder:
            (folder / "sub").mkdir()
            for at in range(number):
                (folder / "sub" / f"{at}.png").write_text("")
        monkeypatch.undo()
        before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
        assert after == [f"new{number}"]
        assert before[0] == tmp_path.name
        if number == 3:
            assert {"sub", "0.png", "1.png", "2.png", ".prunekit.json"} <= {*before}
        else:
            assert before[1:] == ["all"]


def test_a_living_runs_folder_is_left_alone_and_a_dead_ones_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import os, sys; sys.path[:0] = sys.argv[1:2]\nfrom pathlib import Path\n"
        "from prunekernels.io.outputs import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[2]), 'test output') as folder:\n"
        "    (folder / 'kept.txt').write_text('theirs'); print('there', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(Path(outputs.__file__).parents[2]), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        recover(out)
        recover_all(tmp_path)
        with pytest.raises(ValueError, match="is not empty"):
            check_folder(tmp_path, KIND)
        (partial,) = tmp_path.iterdir()
        assert (partial / "kept.txt").read_text() == "theirs"
        process.kill()
    assert partial.exists()
    # of another output, and names that only look alike
    others = [tmp_path / ".other.partial-0123456789abcdef", tmp_path / ".out.partial-mine", tmp_path / "out.partial-1"]
    for other in others:
        other.mkdir()
    write(out)
    assert {*tmp_path.iterdir()} == {out, *others}
    recover_all(tmp_path)
    assert {*tmp_path.iterdir()} == {out, *others[1:]}


def test_leftovers_deep_in_a_folder_are_removed(tmp_path: Path) -> None:
    place = tmp_path / "scores" / "length"
    (place / ".00000000.parquet.partial-0123456789abcdef" / "x").mkdir(parents=True)
    with atomic_file(place / "00000000.parquet", recovers=False) as temporary:
        temporary.write_bytes(b"PAR1")
    assert len(os.listdir(place)) == 2
    recover_all(tmp_path)
    assert os.listdir(place) == ["00000000.parquet"]


def test_an_old_output_that_cannot_be_put_back_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.old-0123456789abcdef")
    (tmp_path / ".out.partial-0123456789abcdef").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    recover(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["out", "out.recovered-0123456789abcdef"]
    assert (tmp_path / "out.recovered-0123456789abcdef" / "kept.txt").read_text() == "old"
    assert os.listdir(tmp_path / "out") == ["notes.txt"]


def test_a_new_folder_that_is_taken_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, robbed = os.mkdir, []

    def robbing(path: Path, *rest: object) -> None:
        real(path, *rest)
        if len(robbed) < 2:
            robbed.append(path)
            recover(tmp_path / "out")
            if len(robbed) == 2:
                real(path)

    monkeypatch.setattr(os, "mkdir", robbing)
    write(tmp_path / "out")
    assert len(robbed) == 2
    assert sorted(os.listdir(tmp_path / "out")) == [".prunekit.json", "images", "kept.txt"]


def test_a_lock_of_a_folder_that_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, robbed = staging.lock, []

    def robbing(handle: int) -> bool:
        if not robbed:
            (folder,) = tmp_path.iterdir()
            robbed.append(folder)
            folder.rename(tmp_path / "elsewhere")
            folder.mkdir()
        return real(handle)

    monkeypatch.setattr(staging, "lock", robbing)
    with atomic_folder(tmp_path / "out", KIND) as folder:
        assert folder != robbed[0]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    told = "is in use: another process is scoring into it"
    with (
        folder_lock(tmp_path, "scoring into it"),
        pytest.raises(BlockingIOError, match=told),
        folder_lock(tmp_path, "scoring into it"),
    ):
        pass
    with folder_lock(tmp_path, "scoring into it"):
        pass
