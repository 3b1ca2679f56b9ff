"""Reports and cards of selections that come from elsewhere: every value is shown and none is obeyed, also by a browser.

A downloaded selection says what it likes: hashes with scripts in them, versions that are images, a thousand columns.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest
from markdown_it import MarkdownIt

from datapruner import ScoreTable, Source, score, select
from datapruner.output.dataset_card import dataset_card
from datapruner.output.report.page import render
from datapruner.selection.selection import Selection
from datapruner.selection.selection_file import Step
from prunekernels.io.escape import POLICY_TAG
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.output.pages import check_page

RUN = 'document.title="ran"'
ATTACKS = [
    f"</code><script>{RUN}</script>",
    f"<img src=x onerror='{RUN}'>",
    f'"><svg onload={RUN}>',
    f"</title></style><script>{RUN}</script>",
    f'<iframe srcdoc="<script>parent.{RUN}</script>">',
    f"`` | <a href='javascript:{RUN}'>x</a> [x](javascript:{RUN}) \x1b]0;ran\x07\x1b[31m \u202egnp",
    f"\n\n# heading\n\n<script>{RUN}</script>\n| a | b |",
]


def hostile(value: object, attack: str) -> object:
    """`value` with `attack` in place of every text and number, and in every key that is no word of ours."""
    if isinstance(value, dict):
        ours = {*Step.__annotations__, "name", "bytes", "blake2b", "method", "spec", "version", "identity", "direction",
                "package", "files", "fields", "text", "uid", "group", "label", "image", "tokens"}  # fmt: skip
        return {key if key in ours else f"{key}{attack}": hostile(item, attack) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hostile(item, attack) for item in value]
    return f"{value}{attack}"


def tampered(selection: Selection, attack: str) -> Selection:
    """A selection whose every word says `attack`; what its numbers are for is left."""
    steps = []
    for step in selection.steps:
        told = cast(Step, hostile(dict(step), attack))
        # the rows are counted with, and the score is looked up by its name
        steps.append(Step(**{**told, "rows": step["rows"], "kept": step["kept"], "by": f"length{attack}"}))  # type: ignore[typeddict-item]
    scores = {f"{name}{attack}": values for name, values in selection.scores.items()}
    made = json.loads(json.dumps(selection.input))
    made["files"] = hostile(made["files"], attack)
    made["fields"] = {key: None if name is None else f"{name}{attack}" for key, name in made["fields"].items()}
    reasons = tuple(f"{reason}{attack}" for reason in selection.reasons)
    return dataclasses.replace(selection, steps=tuple(steps), scores=scores, input=made, reasons=reasons)


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    rows = [{"text": f"{attack * (1 + n)}", "id": f"{n}{attack}", "g": f"{n % 4}{attack}"}
            for n, attack in enumerate(ATTACKS * 2)]  # fmt: skip
    source = Source(write_jsonl(tmp_path / "c<b>`|.jsonl", rows), uid="id", group="g")
    return select(score(source, ["length", "near_duplicate"], tmp_path / "t"), "top", "length", 0.5, "g")


def pages(selection: Selection, folder: Path) -> list[str]:
    table, source = ScoreTable(folder / "t"), Source(folder / "c<b>`|.jsonl", uid="id", group="g")
    return [render(selection, source, table), *(render(tampered(selection, attack)) for attack in ATTACKS)]


def test_no_value_of_a_page_is_obeyed(selection: Selection, tmp_path: Path) -> None:
    for text in pages(selection, tmp_path):
        page = check_page(text)
        assert text.index(POLICY_TAG) < text.index("<title>")
        assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "a", "form", "base", "link")]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_value_of_a_card_is_obeyed(attack: str, selection: Selection) -> None:
    for made in (selection, tampered(selection, attack)):
        card = dataset_card(made, "kept.jsonl")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", card)
        head, body = card.split("---\n", 2)[1:]
        assert head == "configs:\n- config_name: default\n  data_files: kept.jsonl\ntags:\n- prunekit\n"
        shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
        tags = set(re.findall(r"<\s*/?\s*([a-zA-Z]+\d?)", shown))
        assert tags <= {"h1", "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "ol", "ul", "li"}
        # the rows of the tables are as wide as their heads, and no heading is added
        assert shown.count("<h1>") == 1
        assert shown.count("<h2>") == 3
        assert {row.count("<td") for row in re.findall("<tr>(.*?)</tr>", shown, re.DOTALL)} == {0, 2, 3}


def test_what_is_told_is_bounded(selection: Selection) -> None:
    step = selection.steps[0]
    column = step["columns"]["length"]
    many = {f"column{n}": {**column, "spec": "x" * 5000, "identity": {f"k{i}": "y" * 999 for i in range(200)}}
            for n in range(500)}  # fmt: skip
    shares = {f"g{n}": 1.0 for n in range(9000)}
    large = Step(**{**step, "columns": many, "quota": shares, "warnings": ["w" * 9999] * 500})  # type: ignore[typeddict-item]
    files = [{**selection.input["files"][0], "name": "n" * 5000}] * 3000
    reasons = tuple(f"reason {n} {'z' * 3000}" for n in range(4000))
    made = dataclasses.replace(
        selection,
        steps=(large,) * 100,
        input={**selection.input, "files": files},
        reasons=reasons,
        codes=selection.codes.astype("int32"),
        scores={f"s{n}": selection.scores["length"] for n in range(300)},
    )
    page, card = render(made), dataset_card(made, "kept.jsonl")
    assert len(page) < 5_000_000
    assert len(card) < 10_000_000
    for expected in ("and 80 more steps", "and 480 more columns", "and 2,980 more files", "and 280 more scores"):
        assert expected in page
    for expected in ("and 75 more steps", "and 475 more columns", "and 2,975 more files", "3,975 other reasons"):
        assert expected in card


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)


def rendered(page: str, folder: Path) -> str:
    """What a browser makes of `page`, as HTML."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=2000"]
    command = [str(BROWSER), *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, (folder / "page.html").as_uri()], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="wants Chromium")
def test_no_script_runs_in_a_browser(selection: Selection, tmp_path: Path) -> None:
    attack = f"<!DOCTYPE html><html><head>POLICY<title>still</title></head><body>{''.join(ATTACKS[:3])}</body></html>"
    assert "<title>ran</title>" in rendered(attack.replace("POLICY", ""), tmp_path)
    assert "<title>still</title>" in rendered(attack.replace("POLICY", POLICY_TAG), tmp_path)
    every = pages(selection, tmp_path)
    # each by itself holds: the policy is left out here, all pages are one
    shown = rendered("\n".join(every).replace(POLICY_TAG, ""), tmp_path)
    assert "rows kept - datapruner</title>" in shown
    assert "<title>ran</title>" not in shown
    assert "<title>ran</title>" not in rendered(every[0], tmp_path)
