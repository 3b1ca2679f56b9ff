"""Texts, groups and uids that are no plain field: paths, templates, messages, the name of the file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from datapruner import Per, Source, prune, score, select
from datapruner.cli.commands import app
from datapruner.recipe import recipe_yaml
from datapruner.recipe.dry_run import plan
from datapruner.recipe.recipe import Output, Recipe, Rule
from tests.datapruner.conftest import write_jsonl

ROWS: list[dict[str, object]] = [
    {
        "prompt": f"ask {i}",
        "answer": "yes " * i,
        "meta": {"pile_set_name": "web" if i % 3 else "book", "id": i},
        "messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}],
    }
    for i in range(6)
]


def given(form: str, folder: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    if form == "jsonl":
        return write_jsonl(folder / "c.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet")
    return folder / "c.parquet"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_paths_templates_and_messages(form: str, tmp_path: Path) -> None:
    path = given(form, tmp_path)
    named = {"uid": "{meta.pile_set_name}-{meta.id}", "group": "meta.pile_set_name", "label": "meta.id"}
    (chunk,) = Source(path, text="{prompt}: {{{answer}}}\n", **named).identified()  # type: ignore[arg-type]
    assert chunk.texts == [f"ask {i}: {{{'yes ' * i}}}\n" for i in range(6)]
    assert chunk.uids == ["book-0", "web-1", "web-2", "book-3", "web-4", "web-5"]
    assert chunk.groups == ["book", "web", "web", "book", "web", "web"]
    assert chunk.labels == [0, 1, 2, 3, 4, 5]
    assert next(Source(path, text="messages").chunks()).texts == [f"q{i}\n\na{i}" for i in range(6)]
    assert next(Source(path, text="messages.-1.content").chunks()).texts == [f"a{i}" for i in range(6)]
    assert next(Source(path, text="{meta.id}. {messages}").chunks()).texts[4] == "4. q4\n\na4"


def test_messages_as_people_write_them(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"text": [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image"}]}]},
        {"text": [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": "found"}]},
        {"text": []},
        {"text": "plain"},
    ]
    assert next(Source(write_jsonl(tmp_path / "c.jsonl", rows)).chunks()).texts == [
        "q\n\na",
        "see",
        "found",
        "",
        "plain",
    ]
    for bad in (["a", "b"], [{"role": "user"}], [{"content": 3}], {"content": "a"}):
        with pytest.raises(ValueError, match="line 1: want a string in field 'text', got (list|dict)"):
            next(Source(write_jsonl(tmp_path / "c.jsonl", [{"text": bad}])).chunks())


def test_what_a_template_may_hold(tmp_path: Path) -> None:
    for text in ("{}", "{a", "{a!r}", "{a:>3}"):
        with pytest.raises(ValueError, match="want (names of fields in braces|a template)"):
            Source("c.jsonl", text=text)
    path = write_jsonl(tmp_path / "c.jsonl", [{"a": "x", "b": None}])
    with pytest.raises(ValueError, match="line 1: want a string or a number in field 'b', got null"):
        next(Source(path, text="{a}{b}").chunks())
    with pytest.raises(ValueError, match="line 1: want a field 'c', got a, b"):
        next(Source(path, text="{a}{c}").chunks())


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_files_name_is_the_group(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    for name, n in (("v1.0-web", 4), ("books", 2)):
        (folder / name).mkdir(parents=True)
        path = given(form, folder / name, ROWS[:n])
        path.rename(path.with_name(f"{name}.{form}"))
    for group in ("@file", "@folder"):
        source = Source(folder, text="prompt", group=group, nested=True)
        table = score(source, "length", tmp_path / f"{group}.t")
        assert table.read("rows", "group").to_pylist() == ["books"] * 2 + ["v1.0-web"] * 4
        kept = select(table, "top", keep_ratio=None, per=Per(group, counts={"books": 1, "v1.0-web": 3}))
        assert (kept.n_kept, int((kept.kept < 2).sum())) == (4, 1)


def test_from_the_command_line_to_the_recipe(tmp_path: Path) -> None:
    corpus, out = given("jsonl", tmp_path), tmp_path / "out"
    told = ["--text", "{prompt}\\n{answer}", "--per", "meta.pile_set_name", "--keep-ratio", "0.5", "--out", str(out)]
    options = ["--scorer", "length", "--selector", "top", *told]
    shown = CliRunner().invoke(app, ["prune", str(corpus), *options, "--dry-run"])
    assert (shown.exit_code, "not known" in shown.stdout) == (0, False)
    done = CliRunner().invoke(app, ["prune", str(corpus), *options])
    assert done.exit_code == 0, done.output
    recipe = recipe_yaml.load(out / "recipe.yaml")
    assert (recipe.source.text, recipe.source.group) == ("{prompt}\n{answer}", "meta.pile_set_name")
    again = CliRunner().invoke(app, ["run", str(out / "recipe.yaml"), "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again" / "kept.jsonl").read_bytes() == (out / "kept.jsonl").read_bytes()


def test_a_dry_run_with_a_template(tmp_path: Path) -> None:
    source = Source(given("parquet", tmp_path), text="{prompt}{answer}", group="@file")
    rule = Rule("threshold:minimum=10", by="length", per="@file")
    estimated = plan(Recipe(source, ("length",), (rule,), Output(tmp_path / "out")))
    assert estimated.columns[0].problem is None
    assert estimated.kept == 4
    assert prune(source, "length", rule, None, tmp_path / "out").n_kept == 4
