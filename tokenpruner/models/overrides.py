"""An attribute of one object replaced for a while, the class and all other objects untouched.

Several may replace one attribute at a time, and leave in any order: each wraps what those before it have left.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from torch import nn

# the attribute of a module that is being worked on
MARK = "being_pruned"
Wrap = Callable[[Callable[..., object]], Callable[..., object]]
Change = Callable[[object], object]


@dataclass
class Replaced:
    """An attribute of `owner` as it was, and what is made of it, change by change."""

    owner: object
    name: str
    was_own: bool
    before: object
    original: object
    changes: list[Change] = field(default_factory=list)

    def put(self) -> None:
        """Set the attribute anew, or as it was where no change is left."""
        if not self.changes:
            if self.was_own:
                setattr(self.owner, self.name, self.before)
            else:
                delattr(self.owner, self.name)
            return
        value = self.original
        for change in self.changes:
            value = change(value)
        setattr(self.owner, self.name, value)


# by object and attribute, for as long as it is replaced
_REPLACED: dict[tuple[int, str], Replaced] = {}
_GUARD = threading.Lock()


@contextmanager
def attribute_changed(owner: object, name: str, change: Change) -> Iterator[None]:
    """While open, `owner.name` is `change` of what it was; afterwards the object's dict is as it was."""
    key = (id(owner), name)
    with _GUARD:
        own = vars(owner)
        fresh = Replaced(owner, name, name in own, own.get(name), getattr(owner, name, None))
        replaced = _REPLACED.setdefault(key, fresh)
        replaced.changes.append(change)
        replaced.put()
    try:
        yield
    finally:
        with _GUARD:
            place = next(number for number, one in enumerate(replaced.changes) if one is change)
            del replaced.changes[place]
            replaced.put()
            if not replaced.changes:
                del _REPLACED[key]


def attribute_replaced(owner: object, name: str, value: object) -> AbstractContextManager[None]:
    """While open, `owner.name` is `value`."""
    return attribute_changed(owner, name, lambda _: value)


def method_wrapped(owner: object, name: str, wrap: Wrap) -> AbstractContextManager[None]:
    """While open, `owner.name` is `wrap(the method as it was)`."""
    return attribute_changed(owner, name, wrap)  # type: ignore[arg-type]


def forward_replaced(
    module: nn.Module,
    acts: Callable[[], bool],
    run: Callable[[Callable[..., object], dict[str, object]], object],
) -> AbstractContextManager[None]:
    """While open, forward passes where it `acts` are `run(forward as it was, its arguments by name)`."""

    def wrap(original: Callable[..., object]) -> Callable[..., object]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(*args: object, **kwargs: object) -> object:
            if not acts():
                return original(*args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            return run(original, {**given, **given.pop("kwargs", {})})

        return wrapped

    return method_wrapped(module, "forward", wrap)


class NotCopied:
    """What stands in a model for a while and says no to a copy, whose hooks would work on the model itself."""

    def __deepcopy__(self, memo: dict[int, object]) -> NotCopied:
        raise ValueError("this model is being pruned: copy it before `with prune(...)`, or behind it")


def not_copied(module: object) -> AbstractContextManager[None]:
    """While open, `module` and what holds it cannot be copied."""
    return attribute_replaced(module, MARK, NotCopied())
