"""An output is written where its name leads, with the usual rights, and is on disk when it is seen."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prunekernels.io import outputs, renames
from prunekernels.io.outputs import atomic_folder, atomic_text, check_file, check_folder
from tests.kernels.io.output_folder import KIND, write


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
