"""The folder is the registry: a file's name is the method's name, and the one class in it is the method.

Other distributions add methods through an entry-point group of the package's name, say
`[project.entry-points."datapruner.scorers"]`. They add, and never replace: a name of the folder is the folder's, and
a name that two of them take is nobody's. One that fails on import stops nobody who does not ask for it.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

Kind = TypeVar("Kind")


class Methods(NamedTuple, Generic[Kind]):
    """The methods of a package by their names, and for the entry points that are none the reason in one line."""

    found: dict[str, type[Kind]]
    failed: dict[str, str]


def names(package: str) -> list[str]:
    """The methods of the folder `package` (say "datapruner.scorers") and of its entry points, sorted."""
    return sorted({*_files(package), *_third_party(package)})


def load(package: str, name: str, kind: type[Kind]) -> type[Kind]:
    """The class `name` of `package`, a subclass of `kind`.

    Raises ValueError with the known names, or with what is wrong with the entry point of this name.
    """
    if name in _files(package):
        return _built_in(package, name, kind)
    points = _third_party(package).get(name)
    if points is None:
        raise ValueError(f"{package} has no {name!r}; it has {', '.join(names(package))}")
    return _added(package, points, kind)


def name_of(package: str, method: type) -> str:
    """The name by which `load` finds the class `method` in `package`; of any other class its module and name.

    Of a script that runs the module is called as its file, "my_script.Readability": two scripts are two.
    """
    module = method.__module__
    folder, _, own = module.rpartition(".")
    if folder == package and own in _files(package):
        return own
    for name, points in _third_party(package).items():
        if len(points) == 1 and _is_of(points[0], method):
            return name
    script = getattr(sys.modules.get(module), "__file__", None) if module in ("__main__", "__mp_main__") else None
    return f"{Path(script).stem if script else module}.{method.__qualname__}"


def methods(package: str, kind: type[Kind]) -> Methods[Kind]:
    """All methods of `package`, for lists of them; entry points that cannot be loaded are named and passed over."""
    found: dict[str, type[Kind]] = {}
    failed: dict[str, str] = {}
    built_in = _files(package)
    for name in names(package):
        try:
            found[name] = load(package, name, kind)
        except ValueError as error:
            failed[name] = str(error)
    for point in _points(package):
        if point.name in built_in:
            failed[f"{point.name} of {_origin(point)}"] = f"{package} has a {point.name!r} of its own, which stays"
    return Methods(found, failed)


def _files(package: str) -> list[str]:
    folder = importlib.import_module(package)
    return [module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_")]


def _points(package: str) -> tuple[EntryPoint, ...]:
    """The entry points of the group `package`."""
    return _read_points(entry_points, package, tuple(sys.path))


@lru_cache(maxsize=64)
def _read_points(read: Callable[..., Iterable[EntryPoint]], package: str, _: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # a file of every distribution is opened for it: once is enough as long as Python looks in the same places
    return tuple(read(group=package))


def _third_party(package: str) -> dict[str, list[EntryPoint]]:
    """The entry points that add to the folder; several where they are at odds about a name."""
    built_in = _files(package)
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in _points(package):
        if point.name not in built_in:
            # one distribution is often found on two ways
            found.setdefault(point.name, {})[_origin(point), point.value] = point
    return {name: [*points.values()] for name, points in found.items()}


def _built_in(package: str, name: str, kind: type[Kind]) -> type[Kind]:
    module = importlib.import_module(f"{package}.{name}")
    found = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
    classes = [item for item in found if issubclass(item, kind)]
    if len(classes) != 1:
        raise TypeError(f"{module.__name__} wants one class of kind {kind.__name__}, got {len(classes)}")
    return classes[0]


def _added(package: str, points: list[EntryPoint], kind: type[Kind]) -> type[Kind]:
    point = points[0]
    told = f"{package}: {point.name!r}, an entry point of {_origin(point)},"
    if len(points) > 1:
        others = " and ".join(sorted(_origin(point) for point in points))
        raise ValueError(f"{package}: the name {point.name!r} is taken by {others}: want one of them installed")
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what others run on import may raise anything
        reason = next(iter(str(error).splitlines()), "")
        raise ValueError(f"{told} fails on import: {type(error).__name__}: {reason:.200}") from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ValueError(f"{told} wants to be a class of kind {kind.__name__}, got {found!r:.80}")
    return found


def _is_of(point: EntryPoint, method: type) -> bool:
    """Whether `point` stands for the class `method`, by its own name or by one that another module gives it."""
    if point.value == f"{method.__module__}:{method.__qualname__}":
        return True
    try:
        # whose module is not imported yet was not asked for this class
        return attrgetter(point.attr)(sys.modules[point.module]) is method
    except (KeyError, AttributeError):
        return False


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
