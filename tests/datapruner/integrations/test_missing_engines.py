"""Without its package a data engine's steps say how to install it."""

from __future__ import annotations

import importlib
import sys

import pytest

from prunekernels import extras

NEEDED = {
    "datatrove": ("datatrove.pipeline.base", "datatrove"),
    "nemo_curator": ("nemo_curator.stages.base", "nemo-curator"),
}


@pytest.mark.parametrize("engine", NEEDED)
def test_a_missing_package_is_named_with_its_extra(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, extra = NEEDED[engine]
    module = f"datapruner.integrations.{engine}"
    monkeypatch.setattr(extras, "_imported", set())
    monkeypatch.delitem(sys.modules, module, raising=False)
    # None makes an import raise as if the package were not there
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=rf"prunekit\[{extra}\]"):
        importlib.import_module(module)
