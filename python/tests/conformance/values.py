"""Values as the scenarios write them."""

from __future__ import annotations

import re

from .scenarios import Wrong

#: In milliseconds.
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def span(text: str) -> float:
    """A duration, in seconds."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    if found is None:
        raise Wrong(f"{text!r} is no duration")
    return int(found[1]) * _UNITS[found[2]] / 1000


def some_span(text: str | None) -> float | None:
    """A duration, if there is one."""
    return None if text is None else span(text)


def body(text: str) -> bytes:
    """The bytes of a body."""
    return bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
