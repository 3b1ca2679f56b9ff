"""`make demo`: the jobs on real input, with nothing but what pinned packages hold."""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import os  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

from rich.console import Console  # noqa: E402
from rich.rule import Rule  # noqa: E402

OUT = Path(__file__).resolve().parent / "out"


def main() -> None:
    """Run the jobs one after the other and say where to look."""
    console = Console(width=None if os.isatty(1) else 110)
    console.print("[bold]prunekit[/bold]: its jobs on real models and text; pictures and pages go to demo/out/")
    written: list[Path] = []
    with console.status("loading torch"):
        import torch
        from transformers.utils import logging

        from demo import answer_job, context_job, data_job, token_job

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(os.cpu_count() or 1)
    _prepare(console)
    jobs: tuple[tuple[str, Callable[[], Path | list[Path]]], ...] = (
        ("datapruner: a corpus with planted damage", lambda: data_job.run(OUT / "data", console)),
        ("tokenpruner: fewer visual tokens", lambda: token_job.run(OUT / "tokens", console)),
        ("tokenpruner: what a small trained model still answers", lambda: answer_job.run(OUT / "answers", console)),
        ("contextpruner: what a question needs", lambda: context_job.run(OUT / "contexts", console)),
    )
    for title, job in jobs:
        console.print(Rule(title, align="left"))
        started = time.perf_counter()
        made = job()
        console.print(f"[dim]{time.perf_counter() - started:.0f} s[/dim]")
        written += made if isinstance(made, list) else [made]
    console.print(Rule("to look at", align="left"))
    for path in written:
        console.print(f"  {path.relative_to(OUT.parent.parent)}")
    console.print(f"[dim]{time.perf_counter() - STARTED:.0f} s in all[/dim]")


def _prepare(console: Console) -> None:
    from demo import assets

    for name, build in (("SmolLM2-135M", assets.smollm2), ("LLaVA of DINOv2-S and SmolLM2", assets.llava)):
        with console.status(f"preparing {name} (once)"):
            build()


if __name__ == "__main__":
    main()
