"""Without its package an integration says how to install it, and the others go on."""

from __future__ import annotations

import importlib
import sys

import pytest

from prunekernels import extras

NEEDED = {
    "contextpruner.integrations.langchain": ("langchain_core.documents", "rag"),
    "contextpruner.integrations.llama_index": ("llama_index.core.postprocessor.types", "rag"),
    "contextpruner.integrations.haystack": ("haystack", "rag"),
    "contextpruner.integrations.server": ("fastapi", "serve"),
}


@pytest.mark.parametrize("module", NEEDED)
def test_a_missing_package_is_named_with_its_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, extra = NEEDED[module]
    monkeypatch.setattr(extras, "_imported", set())
    monkeypatch.delitem(sys.modules, module, raising=False)
    # None makes an import raise as if the package were not there
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=rf"prunekit\[{extra}\]"):
        importlib.import_module(module)


def test_the_client_and_the_encoder_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fastapi", "httpx2", "langchain_core", "haystack", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    for module in ("contextpruner.integrations.client", "contextpruner.integrations.cross_encoder"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        assert importlib.import_module(module)
