"""A method of one object replaced for a while, the class and all other objects untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Wrap = Callable[[Callable[..., object]], Callable[..., object]]


@contextmanager
def overridden(owner: object, name: str, wrap: Wrap) -> Iterator[None]:
    """While open, `owner.name` is `wrap(the method as it was)`; afterwards the object's dict is as it was."""
    was_own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        if was_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)
