"""`contextpruner calibrate`: the thresholds, the table of targets, and what is refused."""

from pathlib import Path

from tests.contextpruner.cli.test_context_cli import lines_of, run


def test_calibrate_then_prune_for_a_recall(tmp_path: Path) -> None:
    rows = [
        {"question": f"dome {n}", "documents": [f"Dome {n} is tall. Bread."], "gold": [[[0, 5]]]} for n in range(12)
    ]
    (tmp_path / "e.jsonl").write_text(lines_of(*rows))
    code, out, error = run("calibrate", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "c.json"))
    assert (code, error) == (0, "")
    assert "12 questions, a recall of up to 0.923 can be promised" in out
    rule = ["--target-recall", "0.9", "--calibration", str(tmp_path / "c.json"), "-q", "dome 40"]
    code, out, _ = run("prune", *rule, text="Dome 40 is tall. Bread.")
    assert (code, out) == (0, "Dome 40 is tall. \n")
    code, _, error = run("prune", *rule[2:], "--target-recall", "0.99", text="Dome 40 is tall. Bread.")
    assert code == 2
    assert "wants a calibration of at least 99 questions, got 12" in error
    (tmp_path / "e.jsonl").write_text(lines_of(rows[0] | {"gold": [[[0, "5"]]]}))
    code, _, error = run("calibrate", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "d.json"))
    assert code == 2
    assert "e.jsonl:1: gold wants a list of [start, end] for each of the documents" in error
    assert not (tmp_path / "d.json").exists()


def test_the_table_says_what_each_target_keeps(tmp_path: Path) -> None:
    # of one gold unit in five no word stands in the question
    rows = [
        {
            "question": f"dome {n}",
            "documents": [f"{'Roof' if n % 5 == 0 else 'Dome'} is tall. Bread."],
            "gold": [[[0, 5]]],
        }
        for n in range(40)
    ]
    (tmp_path / "e.jsonl").write_text(lines_of(*rows))
    code, out, _ = run("calibrate", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "c.json"))
    assert code == 0
    first, head, *lines = out.splitlines()
    assert "40 questions, a recall of up to 0.780 can be promised" in first
    assert head.split() == ["target", "threshold", "recall", "kept", "all", "gold"]
    assert [line.split()[0] for line in lines] == ["0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.99"]
    target, threshold, *shares = lines[2].split()
    assert 0 < float(threshold) <= 1
    assert shares == ["80.0", "%", "56.0", "%", "80.0", "%"]
    for line in lines[3:6]:
        assert "would keep 100.0 % of the text: want a recall of at most 0.78, or another labeler" in line
    assert "wants a calibration of at least 99 questions, got 40" in lines[6]
    rule = ["--target-recall", "0.95", "--calibration", str(tmp_path / "c.json"), "-q", "dome"]
    code, _, error = run("prune", *rule, text="Dome.")
    assert code == 2
    assert "a recall of 0.95 would keep 100.0 % of the text" in error


def test_what_tells_nothing_from_anything_is_refused(tmp_path: Path) -> None:
    row = {"question": "dome", "documents": ["Dome is tall. Dome is big."], "gold": [[[0, 5]]]}
    (tmp_path / "e.jsonl").write_text(lines_of(*[row] * 12))
    code, out, error = run("calibrate", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "c.json"))
    assert (code, out) == (2, "")
    assert "no threshold drops what answers nothing: want another labeler or model" in error
    assert not (tmp_path / "c.json").exists()


def test_the_closure_of_a_calibration(tmp_path: Path) -> None:
    row = {"question": "dome", "documents": ["# Roof\n\nThe dome.\n\n# Food\n\nBread."], "gold": [[[0, 14]]]}
    (tmp_path / "e.jsonl").write_text(lines_of(*[row] * 12))
    given = ["calibrate", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "c.json"), "--overwrite"]
    rule = ["prune", "--target-recall", "0.9", "--calibration", str(tmp_path / "c.json"), "-q", "dome"]
    assert run(*given)[0] == 0
    code, out, _ = run(*rule, text="# Roof\n\nThe dome.\n")
    assert (code, out) == (0, "# Roof\n\nThe dome.\n")
    code, _, error = run(*rule, "--closure", "heading", text="# Roof\n\nThe dome.\n")
    assert code == 2
    assert "want a closure of all that the calibration was made with" in error
    # half of the gold, the heading, is lost where nothing is kept along
    assert "a recall of up to 0.461 can be promised" in run(*given, "--closure", "none")[1]
    code, _, error = run(*given, "--closure", "headings")
    assert code == 2
    assert "closure wants a tuple of header" in error
