"""Engines of vLLM in this process, one at a time; all of it is skipped where vLLM is missing."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tokenpruner.integrations.vllm_engine import served_families, told_by
from tests.tokenpruner.integrations.vllm_engine.told_by import Reference

# read when vLLM is imported: one process, any core, no word to the world
os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


# an engine that starts looks at every name of every module, at those that torch deprecates, too
IGNORED = "ignore:.*torch.distributed.reduce_op. is deprecated:FutureWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make vllm` has the environment for these tests."""
    has_vllm = importlib.util.find_spec("vllm") is not None
    mark = pytest.mark.filterwarnings(IGNORED) if has_vllm else pytest.mark.skip("vLLM is not installed: make vllm")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(mark)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model."""
    known: dict[str, Path] = {}

    def saved(name: str) -> Path:
        if name not in known:
            known[name] = served_families.save(name, tmp_path_factory.mktemp(name))
        return known[name]

    return saved


@pytest.fixture(scope="session")
def reference(folder: Callable[[str], Path]) -> Callable[[str], Reference]:
    """What transformers says of a family's tiny model."""
    known: dict[str, Reference] = {}

    def of(name: str) -> Reference:
        if name not in known:
            known[name] = Reference(folder(name))
        return known[name]

    return of


@pytest.fixture
def engine(folder: Callable[[str], Path]) -> Iterator[Callable[..., object]]:
    """Starts an engine on a family's tiny model, which ends with the test."""
    started: list[object] = []

    def start(name: str, method: str | None = "none", **options: object) -> object:
        started.append(told_by.engine(folder(name), method, **options))
        return started[-1]

    yield start
    from vllm.distributed import cleanup_dist_env_and_memory

    started.clear()
    gc.collect()
    cleanup_dist_env_and_memory()
