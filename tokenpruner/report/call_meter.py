"""What the calls of a model take as a whole: wall-clock milliseconds, and the peak of the memory on a GPU.

A call is generate(), or a forward pass outside of it that is pruned, image encoder and head included; other passes,
say the steps of one's own decoding loop, are not waited for. The peak is that of CUDA's
allocator, whose counter `torch.cuda.reset_peak_memory_stats` sets back when measuring begins; other devices keep
no such count, so that there is none to report.

Where calls brought images and none was ever seen on its way into what is pruned, something goes round the hooks, and
the numbers would look like those of a model without images: `warn_of_unseen` says so.
"""

from __future__ import annotations

import functools
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from tokenpruner.models.forward_hooks import before_forward
from tokenpruner.models.overrides import NotCopied, method_wrapped
from tokenpruner.models.transformers_api import Kwargs, shows_images
from tokenpruner.report.records import Report
from tokenpruner.report.timing import clock


class Local(threading.local):
    """The call that runs in this thread: whether it is generate(), when its forward pass began, and after how many."""

    is_generating: bool = False
    started: float | None = None
    n_before: int = 0
    shows_images: bool = False


class Meter(NotCopied):
    """Measures one model into one report, in the threads in which it `acts`."""

    def __init__(self, model: nn.Module, report: Report, acts: Callable[[], bool] = lambda: True) -> None:
        self.model, self.report, self.local, self.lock = model, report, Local(), threading.Lock()
        self.acts = acts
        self.device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        # calls that brought images, and passes that saw any
        self.n_shown, self.n_seen = 0, 0

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, every call of the model is measured, whichever thread makes it."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with ExitStack() as stack:
            stack.callback(before_forward(self.model, self._before).remove)
            stack.callback(self.model.register_forward_hook(self._after, always_call=True).remove)
            if hasattr(self.model, "generate"):
                stack.enter_context(method_wrapped(self.model, "generate", self._measured))
            yield

    def warn_of_unseen(self) -> None:
        """Warn where calls brought images and none was seen."""
        if self.n_shown and not self.n_seen:
            kind = type(self.model).__name__
            warnings.warn(
                f"{kind} was called {self.n_shown} times with images and none was seen: nothing was pruned. What goes "
                "round the modules that prune() listens to, say a function compiled inside the `with`?",
                stacklevel=3,
            )

    def _before(self, module: nn.Module, args: tuple[object, ...], kwargs: Kwargs) -> None:
        self.local.shows_images = self.acts() and shows_images(module, args, kwargs)
        # not waiting for the device: whatever was pruned before has been waited for
        self.local.started = None if self.local.is_generating or not self.acts() else time.perf_counter()
        self.local.n_before = self.report.n_passes

    def _after(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        started, self.local.started = self.local.started, None
        seen = self.report.n_passes > self.local.n_before
        # the hook is called without output where the pass raised
        if output is not None:
            with self.lock:
                self.n_shown += self.local.shows_images
                self.n_seen += seen
        if started is not None and output is not None and seen:
            self._note(started)

    def _measured(self, generate: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(generate)
        def measured(*args: object, **kwargs: object) -> object:
            if self.local.is_generating or not self.acts():
                return generate(*args, **kwargs)
            self.local.is_generating, started = True, clock(self.device)
            try:
                output = generate(*args, **kwargs)
            finally:
                self.local.is_generating = False
            self._note(started)
            return output

        return measured

    def _note(self, started: float) -> None:
        milliseconds = 1000 * (clock(self.device) - started)
        with self.lock:
            self.report.add_call(milliseconds)
        if self.device.type == "cuda":
            self.report.peak_bytes = torch.cuda.max_memory_allocated(self.device)
