"""JSON from elsewhere is one object of a bounded size and depth, or one line that names the place."""

import json
import random
import time
from pathlib import Path

import pytest

from prunekernels.io.json_files import Fields, parse_json, parse_object, read_json, read_object


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", r"^f:3 is not JSON: Expecting property name .* at column 2$"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON that can be read"),
        (b"[]", "wants an object, got list"),
        (b"null", "wants an object, got null"),
        (b"\xff{}", "is not UTF-8: byte 0 is 0xff"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8, but UTF-16"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"x": {"a": 1, "a": 1}}', "the key 'a' stands twice"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\uDC00": 1}', "half of a surrogate pair"),
        (b"[" * 100_000, "too many brackets in brackets"),
        (b'{"a":' * 100_000, "too many brackets in brackets"),
        (b'{"a": 1} {"b": 2}', "Extra data at column 10"),
        (b"", "Expecting value"),
    ],
)
def test_refusals_are_one_line_with_the_place(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        parse_object(text, "f:3")
    assert str(told.value).startswith("f:3")
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 200
    assert str(told.value).isprintable()


def test_what_is_fine_comes_back() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00 [[[{{{ \\" ", "b": [1, 2.5, null]}', "f") == {
        "a": '\U0001f600 [[[{{{ " ',
        "b": [1, 2.5, None],
    }
    assert parse_object('{"a": 1, "a": 2}', "f", unique_keys=False) == {"a": 2}
    brackets = json.dumps(["[" * 1000, '\\"' * 40 + "{" * 1000])
    assert parse_json(brackets, "f") == json.loads(brackets)


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_depth_is_counted_exactly(depth: int) -> None:
    text = "[" * depth + "]" * depth + " "
    siblings = "[" + "[], " * 50 * (depth > 1) + "{}, " * 50 * (depth > 1) + "[" * (depth - 1) + "]" * (depth - 1) + "]"
    for own in (text, siblings):
        if depth > 3:
            with pytest.raises(ValueError, match="too many brackets"):
                parse_json(own, "f", max_depth=3)
        else:
            assert parse_json(own, "f", max_depth=3) == json.loads(own)


@pytest.mark.parametrize("text", ['"\\"' * 400_000 + "[" * 100, "[" * 100 + '\\"' * 400_000, '"' + "\\" * 800_001])
def test_looking_for_depth_takes_linear_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match="f"):
        parse_json("[]" * 100 + text, "f")
    assert time.process_time() - start < 2


def test_files_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text('{\n "a": 1,\n "b": \n}\n')
    with pytest.raises(ValueError, match=r"manifest\.json:4 is not JSON: Expecting value at column 1"):
        read_object(path)
    path.write_text('[{"a": 1}]')
    assert read_json(path) == [{"a": 1}]
    with pytest.raises(ValueError, match="want at most 5 bytes, got 10"):
        read_json(path, max_bytes=5)
    with pytest.raises(ValueError, match="want a file, got a device"):
        read_json(Path("/dev/zero"))


GOOD = {"format": 2, "n": 3, "x": 0.5, "t": "text", "f": True, "o": {"k": 1}, "ts": ["a"], "ns": [1, 2.5], "z": None}


def test_fields_by_their_kinds() -> None:
    own = Fields({**GOOD, "os": [{"k": 1}], "cs": {"perplexity": {"spec": "s"}}}, "m.json")
    assert (own.format(2), own.integer("n", 0, 3), own.number("x", 0, 1), own.number("n")) == (2, 3, 0.5, 3.0)
    assert (own.text("t"), own.text("t", ["u", "text"]), own.flag("f"), own.texts("ts")) == (
        "text",
        "text",
        True,
        ["a"],
    )
    assert own.numbers("ns", 0, 3) == [1.0, 2.5]
    assert own.fields("o").integer("k") == 1
    assert [item.integer("k") for item in own.list_of_fields("os")] == [1]
    assert {name: column.text("spec") for name, column in own.named("cs").items()} == {"perplexity": "s"}
    assert own.has("t")
    assert not own.has("z")
    assert not own.has("none")
    own.only(own.values)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda own: own.integer("rows"), "m.json: want a key 'rows', got 'format', 'n'"),
        (lambda own: own.integer("z"), "m.json: z: want a whole number, got null"),
        (lambda own: own.integer("x"), "x: want a whole number, got 0.5"),
        (lambda own: own.integer("f"), "f: want a whole number, got True"),
        (lambda own: own.integer("n", 4), "n: want a whole number of at least 4, got 3"),
        (lambda own: own.integer("n", 0, 2), "n: want a whole number of at least 0 and of at most 2, got 3"),
        (lambda own: own.number("f"), "f: want a number, got True"),
        (lambda own: own.number("n", 0, 1), "n: want a number of at least 0 and of at most 1, got 3"),
        (lambda own: own.text("n"), "n: want text, got 3"),
        (lambda own: own.text("t", ["a", "b"]), "t: want 'a' or 'b', got 'text'"),
        (lambda own: own.flag("n"), "n: want true or false, got 3"),
        (lambda own: own.fields("n"), "m.json: n wants an object, got int"),
        (lambda own: own.texts("ns"), r"ns\[0\]: want one of a list of text, got 1"),
        (lambda own: own.texts("t"), "t: want a list of text, got 'text'"),
        (lambda own: own.numbers("ts"), r"ts\[0\]: want a number, got 'a'"),
        (lambda own: own.numbers("ns", 0, 2), r"ns\[1\]: want a number of at least 0 and of at most 2, got 2.5"),
        (lambda own: own.list_of_fields("ns"), r"ns\[0\]: want one of a list of objects, got 1"),
        (lambda own: own.format(1), "want format 1 or older, got 2, which a newer prunekit wrote"),
        (lambda own: own.only(["n"]), "unknown key 'format'; known: n"),
        (lambda own: Fields({"c": {"../../home": {}}}, "m.json").named("c"), "m.json: c: want a name that is no path"),
        (lambda own: Fields({"c": {"a": 1}}, "m.json").named("c"), "m.json: c: a wants an object, got int"),
        (lambda own: Fields({"n": 10**400}, "m.json").number("n"), "n: want a number, got one that is too large"),
        (lambda own: Fields({"n": float("nan")}, "m.json").number("n"), "n: want a number, got nan"),
        (lambda own: Fields({"t": "\x1b[2J\u202e"}, "m.json").integer("t"), r"got '\\x1b\[2J\\u202e'"),
    ],
)
def test_fields_of_another_kind_are_refused(look: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        look(Fields(GOOD, "m.json"))  # type: ignore[operator]
    assert str(told.value).startswith("m.json")
    assert str(told.value).isprintable()


def test_a_thousand_edits_give_a_value_or_one_line() -> None:
    rng, told = random.Random(0), []
    text = json.dumps({"format": 1, "columns": {"a": {"spec": "x\u00e9", "n": [1, 2, {"k": None}]}}}).encode()
    for _ in range(1000):
        edited = bytearray(text)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(edited))
            edited[at : at + rng.randint(0, 2)] = rng.choice([b"", b"[", b"{", b'"', b"\\ud8", b"\xff", b"NaN", b"\0"])
        try:
            parse_json(bytes(edited), "f")
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 500
    assert all(line.startswith("f") and len(line.splitlines()) == 1 for line in told)
