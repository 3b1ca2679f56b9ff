"""Kernels run in Triton's interpreter where there is no GPU, and nothing reaches a hub.

One thread each, also in the processes that tests start: two test processes share the cores, and threads that wait
for each other on a busy core make small matrices ten times slower.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    # read when triton decorates a kernel, so it stands before anything launches one
    os.environ["TRITON_INTERPRET"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

INSTALLED = re.compile(r"site-packages|/\.venv/")
# frames between a call and what it calls
WRAPPERS = ("/logging/", "/contextlib.py", "/functools.py", "/torch/", "/utils/deprecation.py", "/heterogeneity/")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--transformers 5.15` makes sure that this is the release that is tested; `--all-faults` takes hours."""
    parser.addoption("--transformers", help="the release that must be the one tested, such as 5.15")
    parser.addoption("--all-faults", action="store_true", help="faults at every file operation instead of a few")


def pytest_configure(config: pytest.Config) -> None:
    """Ends the run where another release than the one asked for would be imported."""
    wanted = config.getoption("--transformers")
    if wanted:
        import transformers

        if not transformers.__version__.startswith(f"{wanted}."):
            raise pytest.UsageError(f"want transformers {wanted}, got {transformers.__version__}")


class DeprecationRefused(logging.Handler):
    """Raises what transformers says in its log of names that it will take away, where a call of ours used one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise for a deprecation, pass on anything else."""
        if "deprecated" in record.getMessage() and not INSTALLED.search(_caller()):
            raise FutureWarning(record.getMessage())


def _caller() -> str:
    """The file that called what warns; loggers and wrappers of calls are left out."""
    frame, files = sys._getframe(1), []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    # the logger, then what warns, then whoever called it
    files = [name for name in files if not any(part in name for part in WRAPPERS)]
    files = [name for name in files if "logging" not in name.rpartition("transformers")[2] and name != __file__]
    return next((name for name in files if name != files[0]), files[0])


@pytest.fixture(scope="session", autouse=True)
def no_deprecated_names() -> Iterator[None]:
    """What our calls of transformers use is not deprecated."""
    handler, logger = DeprecationRefused(), logging.getLogger("transformers")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
