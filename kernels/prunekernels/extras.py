"""Optional dependencies: imported where they are used, and missing ones name the line that installs them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

# modules whose import has come back
_imported: set[str] = set()


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which comes with prunekit's `extra`; where it is missing an ImportError has the install line.

    Of a package that is there and broken it says also what that lacks.
    """
    # asked for each row or file, the import system takes longer than many a use; what is there may be half imported
    # by another thread, unless an import of it has come back
    known = sys.modules.get(module)
    if known is not None and module in _imported:
        return known
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = getattr(error, "name", None)
        reason = "" if missing in (None, module, package) else f" ({error})"
        raise ImportError(f'this needs {package}: pip install "prunekit[{extra}]"{reason}', name=missing) from error
    _imported.add(module)
    return found
