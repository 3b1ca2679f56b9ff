"""An attribute of one object replaced for a while, the class and all other objects untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# the attribute of a module that is being worked on
MARK = "being_pruned"
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


class NotCopied:
    """What stands in a model for a while and says no to a copy, whose hooks would work on the model itself."""

    def __deepcopy__(self, memo: dict[int, object]) -> NotCopied:
        raise ValueError("this model is being pruned: copy it before `with prune(...)`, or behind it")


def not_copied(module: object) -> AbstractContextManager[None]:
    """While open, `module` and what holds it cannot be copied."""
    return attribute_replaced(module, MARK, NotCopied())


def method_wrapped(owner: object, name: str, wrap: Wrap) -> AbstractContextManager[None]:
    """While open, `owner.name` is `wrap(the method as it was)`."""
    return attribute_replaced(owner, name, wrap(getattr(owner, name)))
