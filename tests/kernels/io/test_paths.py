"""Names and paths out of files stay names and stay inside; only regular files of a bounded size are opened."""

import errno
import os
from pathlib import Path

import pytest

from prunekernels.io.paths import check_name, open_regular, path_inside, read_regular, walk

BAD_NAMES = [
    None, 3, "", ".", "..", "../../home/thesis", "/etc/passwd", "a/b", "a\\b", "C:\\x", "a\0b", "a\nb", "\x1b[2J",
    ".lock", "name.", "name ", "\ud800", "x" * 256, "ä" * 128,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_from_a_file_is_no_path(name: object) -> None:
    with pytest.raises(ValueError, match=r"^t/manifest\.json: columns: want a name") as told:
        check_name(name, "t/manifest.json: columns")
    assert len(str(told.value).splitlines()) == 1
    assert str(told.value).isprintable()


@pytest.mark.parametrize("name", ["perplexity", "größe", "a b", "x" * 255, "c:d", "2", "-", "a.b"])
def test_plain_names_come_back(name: str) -> None:
    assert check_name(name, "here") == name


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../../up", "C:\\x", "\\\\host\\x", "a\\..\\..\\up", "a\0", None, "a\nb"]
)
def test_a_path_from_a_file_stays_inside(tmp_path: Path, path: object) -> None:
    with pytest.raises(ValueError, match=r"^line 3: want a path inside"):
        path_inside(tmp_path, path, "line 3")


def test_links_that_lead_out_are_refused_unless_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (root / "b.png").symlink_to("../secret")
    (root / "out").symlink_to("..")
    (root / "c.png").symlink_to("in")
    for name in ("b.png", "out/secret", "out"):
        with pytest.raises(ValueError, match="leads out"):
            path_inside(root, name, "line 3")
        assert path_inside(root, name, "line 3", links_may_leave=True) == root / name
    assert path_inside(root, "c.png", "line 3") == root / "c.png"
    assert path_inside(root, "new/file", "line 3") == root / "new" / "file"
    # a root that is itself reached by a link is its own
    (tmp_path / "other").symlink_to("root")
    assert path_inside(tmp_path / "other", "in", "line 3") == tmp_path / "other" / "in"


def test_pipes_devices_and_folders_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = [(tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")]
    for path, kind in cases:
        with pytest.raises(ValueError, match=f"want a file, got {kind}"):
            open_regular(path)


def test_a_pipe_that_takes_a_files_place_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    plain = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: plain)
    with pytest.raises(ValueError, match="got a pipe"):
        open_regular(tmp_path / "pipe")


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * 10)
    assert read_regular(path, 10) == b"x" * 10
    with pytest.raises(ValueError, match="want at most 9 bytes, got 10"):
        read_regular(path, 9)
    # one that grows between the look and the read
    small = tmp_path / "small"
    small.write_bytes(b"")
    empty = small.stat()
    monkeypatch.setattr(os, "stat", lambda _: empty)
    monkeypatch.setattr(os, "fstat", lambda _: empty)
    with pytest.raises(ValueError, match="want at most 9 bytes, got more"):
        read_regular(path, 9)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.walk passes over it: files in it are neither counted nor on disk, and nobody is told."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert [Path(place).name for place, _, _ in walk(tmp_path)][1:] == ["a", "b"]
    assert [*walk(tmp_path / "gone")] == []
    list_folder = os.scandir

    def failing(path: str) -> object:
        if Path(path).name == "b":
            raise OSError(errno.EIO, "broken")
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(OSError, match="broken"):
        [*walk(tmp_path)]
