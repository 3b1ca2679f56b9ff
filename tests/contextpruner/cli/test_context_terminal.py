"""Long runs in a real terminal: a bar while they last, and Ctrl-C."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

from tests.contextpruner.tiny_models import save_tiny_model

ROOT = Path(__file__).resolve().parents[3]


def on_a_terminal(*arguments: str, interrupt_at: str | None = None) -> tuple[int, bytes]:
    """Exit code and all that a terminal shows, after Ctrl-C if that is asked for as soon as a pattern is seen."""
    start = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'kernels')]!r}; from contextpruner.cli import app; app()"
    )
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", start, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:
            break
        if interrupt_at is not None and re.search(interrupt_at.encode(), shown):
            process.send_signal(signal.SIGINT)
            interrupt_at = None
    os.close(master)
    return process.wait(), shown


def test_a_long_run_shows_how_far_it_is_and_ctrl_c_leaves_what_was_there(tmp_path: Path) -> None:
    row = json.dumps({"question": "dome", "documents": ["A dome. Bread."] * 20}) + "\n"
    (tmp_path / "q.jsonl").write_text(row * 30_000)
    (tmp_path / "out.jsonl").write_text("old")
    rule = ["prune", "--top-k", "1", "--questions", str(tmp_path / "q.jsonl"), "-o", str(tmp_path / "out.jsonl")]
    rule += ["--overwrite", "--labeler", "bm25"]
    code, shown = on_a_terminal(*rule, interrupt_at=r"[1-9][\d,]* lines")
    assert code == 130
    assert b"left" in shown
    assert b"Traceback" not in shown
    assert shown.rstrip().endswith(b"contextpruner: stopped; a file that was to be written is as it was")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "q.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_a_model_shows_how_far_it_is(tmp_path: Path) -> None:
    model = save_tiny_model("cross_encoder", tmp_path)
    (tmp_path / "a.txt").write_text("The dome is tall. " * 5)
    arguments = [
        "prune",
        "-q",
        "dome",
        "--top-k",
        "1",
        "--labeler",
        f"cross_encoder:model={model}",
        str(tmp_path / "a.txt"),
    ]
    code, shown = on_a_terminal(*arguments)
    assert code == 0
    assert b"labelling" in shown
    assert b"100%" in shown
