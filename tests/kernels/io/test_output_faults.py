"""Killed, interrupted or out of space at every operation: the old state or the new one, and nothing left behind."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import fault_at, full_disk, interrupted, killed_at

from prunekernels.io import renames
from prunekernels.io.outputs import atomic_file, atomic_folder
from prunekernels.io.staging import recover

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and counts the system calls of Linux")

OLD = {"a.txt": "old", "sub/b.txt": "old"}
NEW = {"a.txt": "new", "sub/c.txt": "new", "d.txt": "new"}


def write_folder(out: Path, files: dict[str, str]) -> None:
    with atomic_folder(out, "test output", overwrite=True) as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def write_file(out: Path, text: str) -> None:
    with atomic_file(out, replaces=lambda path: path.read_text() in ("old", "new")) as temporary:
        temporary.write_text(text)


def read(out: Path) -> object:
    """The content of a file or folder without marks; None where there is none."""
    if out.is_file():
        return out.read_text()
    if not out.is_dir():
        return None
    files = [path for path in out.rglob("*") if path.is_file() and path.name != ".prunekit.json"]
    return {path.relative_to(out).as_posix(): path.read_text() for path in files}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a thousand waits for a disk take a minute."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


# without the new system calls: on other systems and file systems
@pytest.fixture(params=["one step", "two steps"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two steps":
        monkeypatch.setattr(renames, "_renameat2", lambda *given: False)
    return request.param


CASES: dict[str, tuple[Callable[[Path, object], None], object, object]] = {
    "new folder": (write_folder, None, NEW),
    "folder": (write_folder, OLD, NEW),
    "new file": (write_file, None, "new"),
    "file": (write_file, "old", "new"),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_operation(case: str, steps: str, places: Path) -> None:
    write, old, new = CASES[case]
    seen = []
    for number in range(200):
        place = places / str(number)
        place.mkdir()
        out = place / "out"
        if old is not None:
            write(out, old)
        was_killed = killed_at(number, lambda: write(out, new))  # noqa: B023
        if steps == "one step" or case != "folder":
            assert read(out) in (old, new)
        recover(out)
        assert read(out) in (old, new)
        assert os.listdir(place) == (["out"] if out.exists() else [])
        seen.append(read(out))
        if not was_killed:
            break
        # and the same command again does what it would have done
        write(out, new)
        assert read(out) == new
        assert os.listdir(place) == ["out"]
    # each operation had its turn: first nothing was changed, in the end everything
    assert number >= 8
    assert seen[0] == old
    assert seen[-1] == seen[-2] == new


@pytest.mark.parametrize("fault", [full_disk, interrupted])
@pytest.mark.parametrize("case", CASES)
def test_errors_at_every_operation(case: str, steps: str, fault: Callable[[], None], places: Path) -> None:
    write, old, new = CASES[case]
    for number in range(200):
        place = places / str(number)
        place.mkdir()
        out = place / "out"
        if old is not None:
            write(out, old)
        try:
            with fault_at(number, fault) as seen:
                write(out, new)
        except (OSError, KeyboardInterrupt):
            pass
        assert read(out) in (old, new), seen
        if fault is interrupted or read(out) == new:
            # what comes while leftovers are removed leaves them to the next start
            recover(out)
        assert os.listdir(place) == (["out"] if out.exists() else []), seen
        if len(seen) <= number:
            break
    assert number >= 8
    assert read(out) == new


def test_a_full_disk_is_told_with_the_outputs_name(tmp_path: Path) -> None:
    told = r"out could not be written, what was there is untouched: .*No space left"
    with pytest.raises(OSError, match=told), atomic_file(tmp_path / "out"):
        full_disk()
