"""Kernels run in Triton's interpreter where there is no GPU, and nothing reaches a hub.

One thread each, also in the processes that tests start: two test processes share the cores, and threads that wait
for each other on a busy core make small matrices ten times slower.
"""

import os

import pytest
import torch

if not torch.cuda.is_available():
    # read when triton decorates a kernel, so it stands before anything launches one
    os.environ["TRITON_INTERPRET"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--transformers 5.15` makes sure that this is the release that is tested."""
    parser.addoption("--transformers", help="the release that must be the one tested, such as 5.15")


def pytest_configure(config: pytest.Config) -> None:
    """Ends the run where another release than the one asked for would be imported."""
    wanted = config.getoption("--transformers")
    if wanted:
        import transformers

        if not transformers.__version__.startswith(f"{wanted}."):
            raise pytest.UsageError(f"want transformers {wanted}, got {transformers.__version__}")
