"""Gold that nobody marked: by inclusion, by overlap, by what an answer hangs on, by what a model cites."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contextpruner.cli import app
from contextpruner.documents.document import Document
from contextpruner.models.causal_lm import load_causal_lm
from contextpruner.training.examples.cited_labels import cited_spans, label_by_citing, prompt
from contextpruner.training.examples.completers import ChatEndpoint, LocalChat
from contextpruner.training.examples.example import TrainingExample
from contextpruner.training.examples.weak_labels import inclusion, leave_one_out, overlap
from tests.contextpruner import tiny_checkpoints

UNITS = ["The dome was built in 1420.", "Filippo Brunelleschi, a goldsmith, led the work.", "It rained."]
TEXT = " ".join(UNITS)
DOCUMENT = Document(TEXT, title="Dome")


def test_units_that_hold_the_answer() -> None:
    assert inclusion(UNITS, ["filippo  brunelleschi"]).tolist() == [False, True, False]
    assert inclusion(UNITS, ["Brunelleschi Filippo", "142"]).tolist() == [False, False, False]
    assert inclusion(UNITS, ["", "1420", "it rained"]).tolist() == [True, False, True]


def test_units_that_share_terms() -> None:
    # 4 shared of 6 and 8 terms: F1 is 8/14
    assert overlap(UNITS, "When was the dome of Florence built?", "1420").tolist() == [True, False, False]
    assert overlap(UNITS, "When was the dome of Florence built?", "1420", least=0.8).tolist() == [False] * 3


def test_the_margin_is_what_the_answer_loses(tmp_path: Path) -> None:
    model = load_causal_lm(str(tiny_checkpoints.causal_lm(tmp_path)), "float32", "cpu", 120)
    units = ["It was ana. ", "who is it ", "the dome"]
    gold, gain = leave_one_out(model, "who", "ana", units, margin=0.0)
    assert gain.shape == (3,)
    assert gold.tolist() == (gain > 0).tolist()
    # a document of one sentence less is the whole of it without that sentence
    shorter = leave_one_out(model, "who", "ana", units[:2], margin=0.0)[1]
    alone = leave_one_out(model, "who", "ana", units[:1], margin=0.0)[1]
    assert not np.allclose(shorter, gain[:2])
    # nll(no units) - nll(first) = [nll(none) - nll(second)] ... whichever way they are taken away
    second = leave_one_out(model, "who", "ana", units[1:2], margin=0.0)[1]
    assert shorter[1] + alone[0] == pytest.approx(shorter[0] + second[0], abs=1e-5)
    with pytest.raises(ValueError, match="want at most 120 tokens"):
        leave_one_out(model, "who", "ana", ["It was ana. " * 40])


def test_what_is_asked() -> None:
    asked = prompt("Who?", DOCUMENT)
    assert f"Context:\n[0] Dome [1] {UNITS[0]} [2] {UNITS[1]} [3] {UNITS[2]}\n\n" in asked
    assert asked.startswith("Question: Who?\n\n")


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ("Brunelleschi [2].", [1]),
        ("In 1420 [1], under Brunelleschi [2, 0].", [0, 1]),
        ("No answer [2]", []),
        ("no answer.", []),
        ("The dome [0].", None),
        ("Brunelleschi.", None),
        ("Brunelleschi [7].", None),
        ("Brunelleschi [x] [].", None),
    ],
)
def test_what_is_read(reply: str, numbers: list[int] | None) -> None:
    found = cited_spans(reply, DOCUMENT)
    if numbers is None:
        assert found is None
    else:
        assert [text.strip() for text in (TEXT[start:end] for start, end in found or ())] == (
            [" ".join(UNITS[number] for number in numbers)] if numbers else []
        )


def test_without_a_title_the_first_sentence_counts() -> None:
    spans = cited_spans("In 1420 [0].", Document(TEXT))
    assert spans is not None
    assert TEXT[slice(*spans[0])].strip() == UNITS[0]


def examples() -> Iterator[TrainingExample]:
    for number in range(20):
        yield TrainingExample(f"q{number}", f"Who {number}?", (DOCUMENT, Document("x.")), ((), ()), "en", "s", "g")


def test_a_stopped_labelling_asks_for_what_is_missing(tmp_path: Path) -> None:
    asked: list[str] = []

    def complete(prompts: Sequence[str]) -> list[str]:
        if len(asked) > 30:
            raise KeyboardInterrupt
        asked.extend(prompts)
        return ["Brunelleschi [2]." if "[2]" in one else "Who knows?" for one in prompts]

    path = tmp_path / "replies.jsonl"
    with pytest.raises(KeyboardInterrupt):
        [*label_by_citing(examples(), complete, path)]
    assert len(asked) == 32
    # killed in the middle of a line
    path.write_bytes(path.read_bytes()[:-5])
    first, asked = asked, []
    found = [*label_by_citing(examples(), complete, path)]
    assert len(asked) == 40 - 32 + 1
    assert {*first, *asked} == {prompt(one.question, document) for one in examples() for document in one.documents}
    # of the second document nobody knows
    assert [len(one.documents) for one in found] == [1] * 20
    assert [TEXT[slice(*one.gold[0][0])].strip() for one in found] == [UNITS[1]] * 20
    assert len(path.read_text().splitlines()) == 40


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict]]]:
    """An endpoint on this machine: busy once, then it says the question in capitals."""
    seen: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({**body, "key": self.headers["Authorization"], "path": self.path})
            status = 503 if len(seen) == 1 else 403 if body["model"] == "closed" else 200
            said = {"choices": [{"message": {"role": "assistant", "content": body["messages"][0]["content"].upper()}}]}
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *given: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/v1", seen
    running.shutdown()
    running.server_close()


def test_an_endpoint_is_asked_greedily_and_again_where_it_is_busy(
    server: tuple[str, list[dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = server
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert ChatEndpoint(url, "m", key="secret")(["who", "when"]) == ["WHO", "WHEN"]
    assert len(seen) == 3
    assert {one["temperature"] for one in seen} == {0}
    assert {(one["path"], one["key"]) for one in seen} == {("/v1/chat/completions", "Bearer secret")}
    with pytest.raises(ValueError, match="refused with 403"):
        ChatEndpoint(url, "closed")(["who"])
    with pytest.raises(ValueError, match="an endpoint wants http"):
        ChatEndpoint("file:///etc/passwd", "m")


def test_a_model_here_replies_to_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contextpruner.training.examples.completers.MOST_TOKENS", 4)
    chat = LocalChat(str(tiny_checkpoints.causal_lm(tmp_path)))
    replies = chat(["who is it", "the dome", "who is it"])
    assert replies[0] == replies[2]
    assert all(isinstance(reply, str) for reply in replies)


def test_the_command_labels_and_asks_once(tmp_path: Path, server: tuple[str, list[dict]]) -> None:
    url, seen = server
    # so that nothing waits for a busy server
    seen.append({})
    path, out, kept = (tmp_path / name for name in ("questions.jsonl", "gold.jsonl", "replies.jsonl"))
    document = {"text": TEXT, "title": "[1]"}
    path.write_text(json.dumps({"question": "Who?", "documents": [document], "gold": [[]]}) + "\n")
    given = ["label", str(path), "-o", str(out), "--model", "m", "--endpoint", url, "--replies", str(kept)]
    ran = CliRunner().invoke(app, given, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    # the server says the prompt in capitals, with "no answer" in it
    assert json.loads(out.read_text())["gold"] == [[]]
    ran = CliRunner().invoke(app, [*given, "--overwrite"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert len(seen) == 2
    (key := tmp_path / "key").write_text("secret\n")
    given = [
        "label",
        str(path),
        "-o",
        str(tmp_path / "x"),
        "--model",
        "m",
        "--replies",
        str(kept),
        "--key-file",
        str(key),
    ]
    ran = CliRunner().invoke(app, given)
    assert ran.exit_code == 2
    assert "a key wants an endpoint" in ran.output
