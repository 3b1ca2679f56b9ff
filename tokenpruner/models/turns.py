"""Whose turn it is: of several that work on one module, each in threads of its own, the one that acts in this thread.

A thread has what it has entered itself. One that has entered nothing has what was entered first: a model that is pruned
is so for all threads, until one of them wants it otherwise for itself.
"""

from __future__ import annotations

import threading


class Turns:
    """Who has entered, in which thread, in order."""

    def __init__(self) -> None:
        self._entered: tuple[tuple[int, object], ...] = ()

    def enter(self, who: object) -> None:
        """`who` acts in this thread from now on."""
        self._entered = (*self._entered, (threading.get_ident(), who))

    def leave(self, who: object) -> None:
        """`who` acts no more, in whichever thread this is called."""
        self._entered = tuple(entry for entry in self._entered if entry[1] is not who)

    @property
    def is_over(self) -> bool:
        """True where all have left."""
        return not self._entered

    @property
    def is_mine(self) -> bool:
        """True where this thread has entered something itself."""
        return any(thread == threading.get_ident() for thread, _ in self._entered)

    def now(self) -> object:
        """Who acts in this thread."""
        caller, entered = threading.get_ident(), self._entered
        own = [who for thread, who in entered if thread == caller]
        return own[-1] if own else entered[0][1] if entered else None
