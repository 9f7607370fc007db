"""Stops a network in the middle of its work once the page that asked for it has closed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_here = threading.local()


class Cancelled(Exception):
    """The work was no longer wanted."""


@contextmanager
def cancellable(event: threading.Event) -> Iterator[None]:
    """In this thread, every module checks `event` before its forward pass and raises `Cancelled` once it is set."""
    _here.event = event
    try:
        if event.is_set():
            raise Cancelled
        yield
    finally:
        del _here.event


def _ask(module: nn.Module, inputs: Any) -> None:
    event = getattr(_here, "event", None)
    if event is not None and event.is_set():
        raise Cancelled


@contextmanager
def cancellation() -> Iterator[None]:
    """While this context lasts, `cancellable` has its effect."""
    handle = nn.modules.module.register_module_forward_pre_hook(_ask)
    try:
        yield
    finally:
        handle.remove()
