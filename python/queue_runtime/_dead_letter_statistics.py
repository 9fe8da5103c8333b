"""Statistics of dead letters: how many died of what, since when, and from which queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from queue_runtime._data import moment


@dataclass(frozen=True)
class DeadLetterGroup:
    """Dead letters of one reason, or of one queue."""

    #: The reason, or the queue.
    name: str
    #: How many.
    count: int
    #: When the first of them was given up.
    oldest: datetime
    #: When the last of them was given up.
    newest: datetime


@dataclass(frozen=True)
class DeadLetterAge:
    """Dead letters that were given up about as long ago."""

    #: As many seconds ago at most, and longer than the group before; None: longer than all of them.
    up_to: float | None
    #: How many.
    count: int


@dataclass(frozen=True)
class DeadLetterStatistics:
    """How many dead letters there are, why, since when, and from which queue."""

    #: Dead letters.
    count: int
    #: Bytes of their bodies.
    bytes: int
    #: When the first of them was given up; None when there are none.
    oldest: datetime | None
    #: When the last of them was given up; None when there are none.
    newest: datetime | None
    #: By their reason, the most frequent first, then by name. The first 1,000 reasons met, of 1 MiB
    #: together, have a group each; all others are in one named `(others)`.
    by_reason: list[DeadLetterGroup]
    #: By the queue they were sent to, as `by_reason`. The providers there are list the dead letters
    #: of one queue, which is then the only group.
    by_source: list[DeadLetterGroup]
    #: By the time since they were given up: up to a minute, an hour, a day, a week, and longer.
    by_age: list[DeadLetterAge]


_Group = tuple[str, int, int, int]


def dead_letter_statistics(
    count: int,
    bytes: int,
    oldest_ms: int | None,
    newest_ms: int | None,
    by_reason: Sequence[_Group],
    by_source: Sequence[_Group],
    by_age: Sequence[tuple[float | None, int]],
) -> DeadLetterStatistics:
    """Called by the native module."""
    return DeadLetterStatistics(
        count,
        bytes,
        None if oldest_ms is None else moment(oldest_ms),
        None if newest_ms is None else moment(newest_ms),
        [_group(*group) for group in by_reason],
        [_group(*group) for group in by_source],
        [DeadLetterAge(*age) for age in by_age],
    )


def _group(name: str, count: int, oldest_ms: int, newest_ms: int) -> DeadLetterGroup:
    return DeadLetterGroup(name, count, moment(oldest_ms), moment(newest_ms))
