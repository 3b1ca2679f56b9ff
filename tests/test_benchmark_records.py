"""Records of benchmarks, which red tests prevent, and the tables that are made of them."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks import harness, machine, tables


@dataclasses.dataclass(frozen=True)
class Row:
    shape: str
    n_rows: int
    ours: harness.Timing
    over_floor: float
    missing: float | None = None


def _rows(over_floor: float = 1.25) -> list[Row]:
    return [
        Row("576 to 56", 1234567, harness.Timing(0.1, 0.2, 0.30001), over_floor),
        Row("a|b", 7, harness.Timing(1, 2, 3), 2345.6),
    ]


def test_records_append(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(), tmp_path / "results")
    assert harness.record("tiny", _rows()[:1], tmp_path / "results") == path
    runs = json.loads(path.read_text("utf-8"))
    assert [len(run["rows"]) for run in runs] == [2, 1]
    assert runs[0]["rows"][0] == {
        "shape": "576 to 56",
        "n_rows": 1234567,
        "ours": {"p20": 0.1, "p50": 0.2, "p80": 0.30001},
        "over_floor": 1.25,
        "missing": None,
    }
    assert runs[0]["torch"] == torch.__version__
    assert runs[0]["threads"] == torch.get_num_threads()
    assert {"date", "commit", "dirty", "device", "python", "triton"} <= set(runs[0])
    assert [item.name for item in path.parent.iterdir()] == ["tiny.json"]


def test_a_bad_row_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(), tmp_path)
    before = path.read_bytes()
    for bad in ([{"a": 1}], [Row], _rows(float("nan"))):
        with pytest.raises(ValueError, match=r"dataclasses|JSON"):
            harness.record("tiny", bad, tmp_path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["tiny.json"]


def test_without_git_the_run_counts_as_dirty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    run = json.loads(harness.record("tiny", [], tmp_path).read_text("utf-8"))[0]
    assert run["commit"] is None
    assert run["dirty"] is True


def test_a_record_is_of_the_commit_at_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*words: str) -> str:
        named = ["-c", "user.name=n", "-c", "user.email=e"]
        return subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (folder / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD").strip()
    assert (machine.machine(folder)["commit"], machine.machine(folder)["dirty"]) == (first, False)
    (folder / "a").write_text("2")
    git("commit", "-qam", "two")
    (folder / "a").write_text("3")
    assert machine.revision.__wrapped__(folder) != (first, False)
    assert (machine.machine(folder)["commit"], machine.machine(folder)["dirty"]) == (first, False)
    # also where it is taken down before the record is made
    shutil.rmtree(folder)
    assert machine.machine(folder)["commit"] == first
    # that of this repository was asked for when the harness was imported
    known = machine.revision.cache_info().misses
    machine.revision(Path(harness.__file__).parents[1])
    assert machine.revision.cache_info().misses == known


def test_red_tests_stop_the_benchmark(tmp_path: Path) -> None:
    green, red = tmp_path / "test_green.py", tmp_path / "test_red.py"
    green.write_text("def test_holds():\n    assert True\n")
    red.write_text("def test_fails():\n    assert 1 == 2\n")
    harness.require_green([str(green)])
    with pytest.raises(SystemExit, match="test_red.py") as stop:
        harness.require_green([str(green), str(red)])
    assert "assert 1 == 2" in str(stop.value)


def test_tables_are_rewritten_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmark:tiny -->\nold\n<!-- /benchmark -->\nafter\n")
    with pytest.raises(ValueError, match="tiny"):
        tables.refresh(page, tmp_path)
    harness.record("tiny", _rows()[:1], tmp_path)
    harness.record("tiny", _rows(), tmp_path)
    assert tables.refresh(page, tmp_path)
    lines = page.read_text("utf-8").splitlines()
    assert lines[:2] == ["before", "<!-- benchmark:tiny -->"]
    assert lines[2:6] == [
        "| shape | n rows | ours | over floor | missing |",
        "| --- | --- | --- | --- | --- |",
        "| 576 to 56 | 1,234,567 | 0.1 / 0.2 / 0.3 | 1.25 |  |",
        "| a\\|b | 7 | 1 / 2 / 3 | 2,346 |  |",
    ]
    assert f"torch {torch.__version__}" in lines[7]
    assert lines[-2:] == ["<!-- /benchmark -->", "after"]
    assert not tables.refresh(page, tmp_path)


def test_an_optional_table_may_not_be_there_yet(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- optional benchmark:tiny -->\nold\n<!-- /benchmark -->\n")
    assert tables.refresh(page, tmp_path)
    assert page.read_text().splitlines()[1:] == ["*Not measured yet.*", "<!-- /benchmark -->"]
    harness.record("tiny", _rows(), tmp_path)
    assert tables.refresh(page, tmp_path)
    assert "| 576 to 56 |" in page.read_text()


def test_each_device_shows_its_newest_run(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(1.0), tmp_path)
    run = json.loads(path.read_text("utf-8"))[0]
    other = {**run, "device": "another", "rows": [{"only_here": 5}], "dirty": True, "commit": None, "triton": None}
    path.write_text(json.dumps([run, other, {**run, "rows": [{"newest": True}]}]))
    text = tables.table("tiny", tmp_path)
    assert "| newest |" in text
    assert "| yes |" in text
    assert "shape" not in text
    assert "| only here |" in text
    assert "commit unknown with changes" in text


def test_a_run_of_several_commits_names_them(tmp_path: Path) -> None:
    path = harness.record("tiny", _rows(1.0), tmp_path)
    run = json.loads(path.read_text("utf-8"))[0]
    path.write_text(json.dumps([{**run, "commits": ["a" * 40, "b" * 40], "dirty": False}]))
    assert "; commits aaaaaaaaa, bbbbbbbbb, 20" in tables.table("tiny", tmp_path)
