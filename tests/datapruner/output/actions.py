"""What datapruner writes, as actions that can be cut off at any file operation: by a process that is killed in them.

As a program: every line of stdin, "<action> <number> <folder>", forks the action, which is killed before operation
`number`; answered is whether it came to that. Imports are done before, and nothing else: forks then know no threads.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import safetensors.numpy

import datapruner
from datapruner.corpus.formats._packed import PackedWriter
from datapruner.output.report import page
from datapruner.recipe import recipe_yaml
from tests.kernels.io.faults import fault_at

# what libraries write without Python between
LIBRARIES = [
    *((pq, name) for name in ("write_table",)),
    *((pq.ParquetWriter, name) for name in ("__init__", "write_table", "close")),
    (safetensors.numpy, "save_file"),
    (PackedWriter, "write"),
]


def source(folder: Path) -> datapruner.Source:
    return datapruner.Source(folder / "c.jsonl", uid="id", group="source", chunk_rows=20)


def score(folder: Path) -> None:
    """A table of two columns, one of which has a `fit`; goes on with what is there."""
    datapruner.score(source(folder), ["length", "near_duplicate"], folder / "t")


def select(folder: Path) -> None:
    datapruner.select(folder / "t", "top", "length", 0.5).save(folder / "s.parquet")


def write(folder: Path) -> None:
    """Everything that an output folder can have, in place of what is there."""
    output = datapruner.Output(folder / "out", overwrite=True, scores=folder / "t", index=True)
    datapruner.write(source(folder), folder / "s.parquet", output)


def write_shards(folder: Path) -> None:
    """Files of several rows, in another form."""
    output = datapruner.Output(folder / "out", overwrite=True, scores=folder / "t", form="parquet", shard_rows=12)
    datapruner.write(source(folder), folder / "s.parquet", output)


def write_images(folder: Path) -> None:
    datapruner.write(folder / "photos", folder / "photos.parquet", datapruner.Output(folder / "out", overwrite=True))


def run(folder: Path) -> None:
    """From the recipe to the output, which is new."""
    datapruner.run(recipe_yaml.load(folder / "r.yaml"))


def report(folder: Path) -> None:
    selection, table = datapruner.Selection.load(folder / "s.parquet"), datapruner.ScoreTable(folder / "t")
    page.save(page.render(selection, source(folder), table), folder / "page.html", [folder / "c.jsonl"])


ACTIONS: dict[str, Callable[[Path], None]] = {
    action.__name__: action for action in (score, select, write, write_shards, write_images, run, report)
}


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        name, number, folder = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(BaseException):
                with fault_at(int(number), lambda: os.kill(os.getpid(), signal.SIGKILL), LIBRARIES):
                    ACTIONS[name](Path(folder))
                status = 0
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
