"""Optional dependencies: imported where they are used, and missing ones name the line that installs them."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, extra: str = "data") -> ModuleType:
    """Import `module`; raises ImportError with the install line where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        package = module.partition(".")[0]
        raise ImportError(f'this needs {package}: pip install "prunekit[{extra}]"') from missing
