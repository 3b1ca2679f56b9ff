"""The tiny encoder, made once for all tests."""

from pathlib import Path

import pytest

from tests.contextpruner.tiny_encoder import save_tiny_encoder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))
