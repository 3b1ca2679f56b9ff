"""What `tower_spy.Spy` was shown in one test."""

from __future__ import annotations

import pytest

from tests.tokenpruner.models.tower_spy import SEEN


@pytest.fixture
def seen():
    SEEN.clear()
    return SEEN
