"""`contextpruner serve` as a process of its own, on a free port of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def started_server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server with BM25 that wants the key `a-key`, and its port; `folder` is for its files."""
    keys = folder / "keys.txt"
    keys.write_text("a-key\n\n")
    command = [sys.executable, "-m", "contextpruner.cli", "serve", "--labeler", "bm25", "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels"), *sys.path])}
    process = subprocess.Popen(
        [*command, "--api-keys", str(keys)], stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    assert process.stderr is not None
    with process:
        try:
            for line in process.stderr:
                # every line is JSON, those of uvicorn too
                event = json.loads(line)["event"]
                if "running on" in event:
                    yield process, int(event.partition("127.0.0.1:")[2].split()[0])
                    break
        finally:
            process.kill()
