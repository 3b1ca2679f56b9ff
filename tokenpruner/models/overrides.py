"""An attribute of one object replaced for a while, the class and all other objects untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Wrap = Callable[[Callable[..., object]], Callable[..., object]]


@contextmanager
def attribute_replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """While open, `owner.name` is `value`; afterwards the object's dict is as it was."""
    was_own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if was_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def method_wrapped(owner: object, name: str, wrap: Wrap) -> AbstractContextManager[None]:
    """While open, `owner.name` is `wrap(the method as it was)`."""
    return attribute_replaced(owner, name, wrap(getattr(owner, name)))
