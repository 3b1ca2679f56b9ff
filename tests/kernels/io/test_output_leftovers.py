"""What a run left behind is cleared away, what a living one works on is not: locks of folders and of writers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prunekernels.io import outputs, staging
from prunekernels.io.outputs import atomic_file, atomic_folder, check_folder, folder_lock
from prunekernels.io.staging import recover, recover_all
from tests.kernels.io.output_folder import KIND, write


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
