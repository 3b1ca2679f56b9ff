"""Killed, out of space or stopped by Ctrl-C at any file operation: the old bytes or the new ones, and nothing else.

Whatever a fault leaves, the same command again ends with the bytes of a run that never failed. A few operations of
each action are drawn; `--all-faults` takes all of them.
"""

from __future__ import annotations

import _thread
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

import datapruner
from tests.datapruner.conftest import make_rows, write_jsonl
from tests.datapruner.folders import folder_bytes
from tests.datapruner.output import actions
from tests.kernels.io.faults import fault_at, full_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and counts the system calls of Linux")

ROOT = Path(__file__).resolve().parents[3]
RECIPE = "source: {path: c.jsonl, uid: id, group: source, chunk_rows: 20}\nscorers: [length, near_duplicate]\n"
RECIPE += "select: {selector: top, by: length, keep_ratio: 0.5}\nscores: t\nout: out\n"
# what is written by each action, of what is in the folder
WRITES = {
    "score": "t",
    "select": "s.parquet",
    "write": "out",
    "write_shards": "out",
    "write_images": "out",
    "run": "out",
    "report": "page.html",
}


def ctrl_c() -> None:
    """As the system does it: the main thread is interrupted, whichever thread is at work."""
    _thread.interrupt_main()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each action a folder with what it starts from; what it replaces is older than what it makes."""
    first = tmp_path_factory.mktemp("first")
    write_jsonl(first / "c.jsonl", make_rows(60))
    (first / "photos").mkdir()
    for number in range(6):
        Image.new("RGB", (2, 2), (40 * number, 0, 0)).save(first / "photos" / f"{number}.png")
    folders = {}
    for name in WRITES:
        folders[name] = folder = first / name
        folder.mkdir()
        shutil.copy(first / "c.jsonl", folder)
        (folder / "r.yaml").write_text(RECIPE)
        if name not in ("score", "run"):
            actions.score(folder)
        if name in ("select", "write", "write_shards", "report"):
            datapruner.select(folder / "t", "bottom", "length", 0.4).save(folder / "s.parquet")
        if name in ("write", "write_shards", "report"):
            actions.ACTIONS[name](folder)
            actions.select(folder)
        if name == "write_images":
            shutil.copytree(first / "photos", folder / "photos")
            table = datapruner.score(folder / "photos", "random", folder / "photo_scores")
            for rule, out in (("bottom", folder / "out"), ("top", None)):
                selection = datapruner.select(table, rule, "random", 0.5)
                if out is not None:
                    datapruner.write(folder / "photos", selection, out)
            selection.save(folder / "photos.parquet")
    return folders


class Case:
    """One action: copies of what it starts from, and what there may be after it."""

    def __init__(self, name: str, begun: Path, folder: Path) -> None:
        self.name, self.begun, self.folder = name, begun, folder
        self.before = folder_bytes(begun)
        whole = self.copy("whole")
        with fault_at(1 << 30, full_disk, actions.LIBRARIES) as seen:
            self.act(whole)
        self.seen, self.after = seen, folder_bytes(whole)
        assert self.after != self.before

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.begun, self.folder / name))

    def act(self, folder: Path) -> None:
        actions.ACTIONS[self.name](folder)

    def check(self, folder: Path) -> None:
        """Old or new is what others see; the same command ends with the new state and clears the rest away."""
        written = WRITES[self.name]
        if written != "t":
            seen = {path: data for path, data in folder_bytes(folder).items() if path.split("/")[0] == written}
            assert seen in [
                {path: data for path, data in state.items() if path.split("/")[0] == written}
                for state in (self.before, self.after)
            ]
        if self.name == "run" and (folder / written).exists():
            # a recipe replaces nothing
            with pytest.raises(ValueError, match="is not empty"):
                self.act(folder)
        else:
            self.act(folder)
        assert folder_bytes(folder) == self.after
        assert not [path for path in folder.rglob(".*") if path.name not in (".lock", ".prunekit.json")]
        shutil.rmtree(folder)

    def numbers(self, every: bool, seed: str) -> list[int]:
        """The operations that a fault falls on; a few: in the middle of a file, a rename, any one and the last."""
        if every:
            return [*range(len(self.seen) + 1)]
        draw, chosen = random.Random(f"{self.name} {seed}"), [len(self.seen) - 1]
        for kind in (("close", "write"), ("replace", "rename", "_renameat2"), {*self.seen}):
            chosen.append(draw.choice([place for place, name in enumerate(self.seen) if name in kind] or chosen))
        return sorted({*chosen})


@pytest.fixture(params=[*WRITES])
def case(request: pytest.FixtureRequest, begun: dict[str, Path], tmp_path: Path) -> Iterator[Case]:
    # in memory where there is such a folder: a thousand waits for a disk take a minute
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Case(request.param, begun[request.param], Path(folder))


@pytest.fixture(scope="module")
def forks() -> Iterator[Callable[[str, int, Path], int]]:
    """Runs an action that is killed before an operation; the exit code is minus the signal."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.datapruner.output.actions"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def fork(name: str, number: int, folder: Path) -> int:
            print(name, number, folder, file=process.stdin, flush=True)
            return int(process.stdout.readline())  # type: ignore[union-attr]

        yield fork
        process.stdin.close()


def test_killed_at_any_operation(
    case: Case, forks: Callable[[str, int, Path], int], request: pytest.FixtureRequest
) -> None:
    killed = 0
    for number in case.numbers(request.config.getoption("--all-faults"), "kill"):
        folder = case.copy(f"k{number}")
        code = forks(case.name, number, folder)
        # threads make a few operations more or less
        assert code in (0, -9)
        killed += code == -9
        case.check(folder)
    assert killed >= 2


@pytest.mark.parametrize("fault", [full_disk, ctrl_c])
def test_errors_at_any_operation(case: Case, fault: Callable[[], None], request: pytest.FixtureRequest) -> None:
    for number in case.numbers(request.config.getoption("--all-faults"), fault.__name__):
        folder = case.copy(f"e{number}")
        with suppress(OSError, KeyboardInterrupt), fault_at(number, fault, actions.LIBRARIES):
            case.act(folder)
        case.check(folder)
