"""`contextpruner serve`: a pruner behind HTTP, until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contextpruner.cli import options
from contextpruner.cli.errors import clear_errors
from contextpruner.decisions.calibration import Calibration
from contextpruner.decisions.rules import Policy
from contextpruner.decisions.token_counter import counter_from, estimate_tokens
from contextpruner.documents.cache import DocumentCache
from contextpruner.pruner import ContextPruner
from prunekernels.io.paths import read_regular

# a key is a line, and a file of keys is small
MOST_READ = 1 << 20


def serve(
    labeler: options.DefaultLabelerText = None,
    splitter: options.SplitterText = "rules",
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    threshold: options.Threshold = None,
    top_k: options.TopK = None,
    max_tokens: options.MaxTokens = None,
    target_recall: options.TargetRecall = None,
    calibration: options.CalibrationFile = None,
    tokenizer: options.TokenizerPath = None,
    cache: options.CacheFolder = None,
    api_keys: Annotated[
        Path | None, typer.Option(help="A file with an API key a line; each request wants one.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Answer with everything, log what would have been dropped.")
    ] = False,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request at most.")] = 8 << 20,
    max_documents: Annotated[int, typer.Option(min=1, help="Documents of a request at most.")] = 1000,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that wait at most; others get 429.")] = 256,
    max_batch: Annotated[int, typer.Option(min=1, help="Requests that are labelled together at most.")] = 32,
    shutdown_seconds: Annotated[float, typer.Option(help="How long what was accepted is finished at the end.")] = 30.0,
) -> None:
    """Serve /v1/prune and the rerank dialects of TEI, Cohere and Jina, with a page at /; see docs/serving.md.

    The rules hold for requests that give none.
    """
    with clear_errors():
        # uvicorn and FastAPI are there for this command alone
        from contextpruner.integrations.server.run import run_server
        from contextpruner.integrations.server.settings import ServerSettings

        policy = Policy(threshold=threshold, top_k=top_k, max_tokens=max_tokens, target_recall=target_recall)
        settings = ServerSettings(
            max_body_bytes=max_body,
            max_documents=max_documents,
            max_queue=max_queue,
            max_batch=max_batch,
            shutdown_seconds=shutdown_seconds,
            api_keys=() if api_keys is None else read_keys(api_keys),
            shadow=shadow,
            policy=policy,
        )
        known = None if calibration is None else Calibration.load(calibration)
        count = estimate_tokens if tokenizer is None else counter_from(tokenizer)
        kept = DocumentCache(folder=cache)
        pruner = ContextPruner(labeler, splitter=splitter, count_tokens=count, calibration=known, cache=kept)
        run_server(pruner, settings, host, port)


def read_keys(file: Path) -> tuple[str, ...]:
    """The lines of `file` that are not empty; raises ValueError where there is none."""
    lines = read_regular(file, MOST_READ).decode().splitlines()
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys:
        raise ValueError(f"{file}: want an API key a line, got an empty file")
    return keys
