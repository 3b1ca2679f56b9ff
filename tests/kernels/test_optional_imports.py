"""`require` hands out whole modules, whoever else is importing them."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from prunekernels.extras import require


def test_a_module_that_another_thread_imports_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    other = threading.Thread(target=require, args=("slow_to_import", "data"))
    other.start()
    while "slow_to_import" not in sys.modules:
        pass
    assert require("slow_to_import", "data").ready
    other.join()
    assert require("slow_to_import", "data") is sys.modules.pop("slow_to_import")
    monkeypatch.setitem(sys.modules, "slow_to_import", None)
    with pytest.raises(ImportError, match=r'this needs slow_to_import: pip install "prunekit\[data\]"'):
        require("slow_to_import", "data")
