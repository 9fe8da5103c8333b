"""Signals that ask a process to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Who is told.
_listeners: list[Callable[[], None]] = []
#: What the signals did before.
_before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}


@contextmanager
def on_end(tell: Callable[[], None], *, wanted: bool) -> Iterator[None]:
    """Has `tell` called, within the block, at the first SIGTERM or SIGINT; the next one does what
    it did before. Only on the main thread, where Python has its signals handled, and if wanted.
    """
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    if not _listeners:
        for number in _SIGNALS:
            _before[number] = signal.signal(number, _told)
    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.remove(tell)
        if not _listeners:
            _restore()


def _told(number: int, frame: FrameType | None) -> None:
    _restore()
    for tell in tuple(_listeners):
        tell()


def _restore() -> None:
    for number, handler in _before.items():
        # Who has set one of his own meanwhile keeps it.
        if signal.getsignal(number) is _told:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    _before.clear()
