"""Requests a second of `contextpruner serve`, and how long clients wait for an answer; recorded.

    python -m benchmarks.context_server EXAMPLES.jsonl      five minutes; the machine should do nothing else
    ... --seconds 2                                         a look at it; nothing is recorded

EXAMPLES is what `contextpruner prepare` writes. A request asks a question of `DOCUMENTS` passages of one source, and no
passage is asked twice of a server, so that no cache helps. Every row has a server of its own, in a process of its own,
once with up to 32 waiting requests labelled together and once with one at a time (`--max-batch 1`). Clients are threads
of this process, on the same cores as the server; each sends its next request when the answer to its last has come.
Milliseconds are those of a client, from the request to the last byte. An answer that does not come, or of the first
`CHECKED` of a row one that `ContextPruner.prune` does not give here as well, stops the benchmark.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.harness import record
from contextpruner import ContextPruner
from contextpruner.integrations.client import PruneClient
from contextpruner.training.examples.example import TrainingExample, read_training_examples

LABELERS, TOGETHER, CLIENTS = ("multilingual", "bm25"), (32, 1), (1, 8, 64)
# a passage has at most so many characters
DOCUMENTS, CHARACTERS = 5, 3000
SECONDS, CHECKED = 15.0, 8
# seconds for a model to load, at most
STARTING = 600


@dataclass(frozen=True)
class Asked:
    """A question and its passages."""

    question: str
    documents: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """What came of a request, and how long its client waited."""

    asked: Asked
    answer: dict[str, object]
    milliseconds: float


@dataclass(frozen=True)
class Row:
    """One server under one load; tokens are estimated, those of the passages as they were sent."""

    labeler: str
    together_at_most: int
    clients: int
    requests: int
    requests_a_batch: float
    requests_a_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    documents_a_second: float
    tokens_a_second: float


def main() -> None:
    """Serve, ask, compare, record."""
    parser = argparse.ArgumentParser(description="The context server under load.")
    parser.add_argument("examples", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which a row has no further request")
    parser.add_argument("--labelers", nargs="+", default=LABELERS)
    given = parser.parse_args()
    asked = requests_of(read_training_examples(given.examples))
    print(f"{len(asked)} requests of {DOCUMENTS} passages each")
    rows = []
    for labeler in given.labelers:
        pruner = ContextPruner(labeler)
        for together, clients in itertools.product(TOGETHER, CLIENTS):
            with served(labeler, together) as url:
                answered, seconds = under_load(PruneClient(url, timeout=600), asked, clients, given.seconds)
                size = requests_a_batch(url)
            check(answered[:CHECKED], pruner)
            rows.append(row((labeler, together, clients), answered, seconds, size))
            print(rows[-1], flush=True)
    if (given.seconds, tuple(given.labelers)) == (SECONDS, LABELERS):
        print(record("context_server", rows))


def requests_of(examples: Iterable[TrainingExample]) -> list[Asked]:
    """Requests that have no passage in common, each with the question of its first one."""
    seen: set[str] = set()
    waiting: dict[str, list[tuple[str, str]]] = {}
    found = []
    for example in examples:
        own = waiting.setdefault(example.source, [])
        for document in example.documents:
            if document.text not in seen and len(document.text) <= CHARACTERS:
                seen.add(document.text)
                own.append((example.question, document.text))
        while len(own) >= DOCUMENTS:
            taken, own[:DOCUMENTS] = own[:DOCUMENTS], []
            found.append(Asked(taken[0][0], tuple(text for _, text in taken)))
    return found


@contextmanager
def served(labeler: str, together: int) -> Iterator[str]:
    """The address of a server in a process of its own, which is stopped at the end."""
    command = [sys.executable, "-m", "contextpruner.cli", "serve", "--port", "0"]
    command += ["--labeler", labeler, "--max-batch", str(together)]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            yield f"http://127.0.0.1:{_port(process, Path(log.name))}"
        finally:
            process.terminate()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the server names in its log, once it listens."""
    end = time.monotonic() + STARTING
    while time.monotonic() < end and process.poll() is None:
        if (found := re.search(rb"running on http://127\.0\.0\.1:(\d+)", log.read_bytes())) is not None:
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit(f"the server does not start: {log.read_text('utf-8')[-500:]}")


def under_load(
    client: PruneClient, asked: Sequence[Asked], n_clients: int, seconds: float
) -> tuple[list[Answered], float]:
    """Answers to `asked`, in the order in which they were sent, and the seconds until the last of them was there."""
    waiting, lock = iter(enumerate(asked)), threading.Lock()
    found: dict[int, Answered] = {}
    started = time.perf_counter()

    def work() -> None:
        while time.perf_counter() - started < seconds:
            with lock:
                place, one = next(waiting, (-1, None))
            if one is None:
                return
            sent = time.perf_counter()
            answer = client.prune(one.question, one.documents)
            found[place] = Answered(one, answer, 1000 * (time.perf_counter() - sent))

    with ThreadPoolExecutor(n_clients) as threads:
        for future in [threads.submit(work) for _ in range(n_clients)]:
            # a request that was lost or refused is raised here
            future.result()
    took = time.perf_counter() - started
    return [found[place] for place in sorted(found)], took


def requests_a_batch(url: str) -> float:
    """How many requests the server labelled together in the mean, as it tells Prometheus."""
    with closing(HTTPConnection(urlsplit(url).netloc)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    total, count = (float(values[f"contextpruner_batch_requests_{name}"]) for name in ("sum", "count"))
    return total / count


def check(answered: Sequence[Answered], pruner: ContextPruner) -> None:
    """Stop where an answer is not that of a direct call."""
    for one in answered:
        result = pruner.prune(one.asked.question, one.asked.documents).to_dict()
        # as it is behind a way through JSON
        direct = json.loads(json.dumps({name: value for name, value in result.items() if name != "labelling_ms"}))
        if one.answer != direct:
            raise SystemExit(f"the server answers otherwise than ContextPruner.prune: {one.asked.question}")


def row(setup: tuple[str, int, int], answered: Sequence[Answered], seconds: float, size: float) -> Row:
    """What was measured of a labeler with so many requests together at most, and so many clients."""
    times = np.array([one.milliseconds for one in answered])
    p50, p95, p99 = np.percentile(times, [50, 95, 99]).tolist()
    n_documents = sum(len(one.asked.documents) for one in answered)
    n_tokens = sum(int(one.answer["n_tokens_before"]) for one in answered)  # type: ignore[call-overload]
    rates = (len(answered) / seconds, p50, p95, p99, n_documents / seconds, n_tokens / seconds)
    return Row(*setup, len(answered), size, *rates)


if __name__ == "__main__":
    main()
