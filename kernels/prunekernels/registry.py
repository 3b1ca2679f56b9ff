"""The folder is the registry: a file's name is the method's name, and the one class in it is the method.

Other distributions add methods through an entry-point group of the package's name, say
`[project.entry-points."datapruner.scorers"]`.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import TypeVar

Kind = TypeVar("Kind")


def names(package: str) -> list[str]:
    """The methods of the folder `package` (say "datapruner.scorers") and of its entry points, sorted."""
    folder = importlib.import_module(package)
    files = [module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_")]
    return sorted({*files, *entry_points(group=package).names})


def load(package: str, name: str, kind: type[Kind]) -> type[Kind]:
    """The class `name` of `package`, a subclass of `kind`; raises ValueError with the known names."""
    if name not in names(package):
        raise ValueError(f"{package} has no {name!r}; it has {', '.join(names(package))}")
    third_party = [point for point in entry_points(group=package) if point.name == name]
    if third_party:
        return third_party[0].load()
    module = importlib.import_module(f"{package}.{name}")
    found = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
    methods = [item for item in found if issubclass(item, kind)]
    if len(methods) != 1:
        raise TypeError(f"{module.__name__} wants one class of kind {kind.__name__}, got {len(methods)}")
    return methods[0]
