"""When messages are tried again, and why then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from queue_runtime._data import moment


@dataclass(frozen=True)
class Consequence:
    """What follows from a way to fail."""

    #: Whether the attempt is used up.
    uses_attempt: bool
    #: What becomes of the message.
    then: str


@dataclass(frozen=True, repr=False)
class Explanation:
    """When failed messages of a queue are tried again, as it is in force. `print` it."""

    #: All of it, for people; `str` gives it.
    text: str
    #: The queue.
    queue: str
    #: Its provider.
    provider: str
    #: Attempts at a message; `None` where it comes back until it is acked.
    budget: int | None
    #: Who says so.
    budget_from: Literal["queue", "client", "provider"]
    #: After how many receives the provider itself gives a message up, where it counts them.
    max_receives: int | None
    #: Seconds that each delivery is locked.
    lock: float
    #: The retry policy of this client.
    retry: str
    #: Seconds at least and at most between a failed attempt and the next, that after the first one
    #: first. Of a large budget the first 100.
    waits: list[tuple[float, float]]
    #: The most seconds that the provider keeps a message away.
    longest_wait: float | None
    #: The queue whose dead letters messages become when the last attempt has failed.
    dead_letters: str | None
    #: What a failed message does to those after it in its session; `None` without sessions.
    on_failure: Literal["block", "skip", "park"] | None
    #: What follows from each way to fail: `transient`, `throttled`, `release`, `permanent` and
    #: `lock_lost`.
    failures: dict[str, Consequence]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Explanation of {self.queue}>"


@dataclass(frozen=True)
class Behind:
    """A message that another one of its session waits for."""

    #: Its id.
    id: str
    #: How it stands.
    standing: Literal["ready", "delayed", "fetched", "in_flight", "dead", "gone"]
    #: When its delay or its lock ends.
    until: datetime | None


@dataclass(frozen=True)
class Death:
    """Why and when a message was given up."""

    #: Why, in a word.
    reason: str
    #: Why, at length.
    description: str | None
    #: When.
    at: datetime


@dataclass(frozen=True, repr=False)
class MessageExplanation:
    """Where a message stands, and when the next attempt at it comes. `print` it."""

    #: All of it, for people; `str` gives it.
    text: str
    #: The queue.
    queue: str
    #: The message.
    id: str
    #: When this was so.
    now: datetime
    #: How it stands: `fetched` is ahead of work on it, `gone` is not in the queue.
    standing: Literal["ready", "delayed", "fetched", "in_flight", "dead", "gone"]
    #: Attempts it has used, with the one that goes on.
    attempts: int
    #: Attempts it may use.
    budget: int | None
    #: The session it is of.
    session: str | None
    #: When its delay, or unless that is kept its lock, ends.
    until: datetime | None
    #: When it expires, unless somebody has it in hand then.
    expires_at: datetime | None
    #: What it waits for in its session, first of all.
    behind: Behind | None
    #: Until when its session is held by who accepted it, unless the lock is kept.
    session_held_until: datetime | None
    #: Whether its session waits until no dead letter of it is left.
    parked: bool
    #: Why and when it was given up.
    death: Death | None
    #: The next attempt does not begin before; `None` when there will be none, or when that has no
    #: time.
    earliest: datetime | None
    #: It is back at the latest then, if nobody keeps its lock; `None` when that depends on others.
    latest: datetime | None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<MessageExplanation of {self.id}: {self.standing}>"


def explanation(text: str) -> Explanation:
    """Called by the native module."""
    said = json.loads(text)
    said["lock"] = said.pop("lock_ms") / 1000
    longest = said.pop("longest_wait_ms")
    said["longest_wait"] = None if longest is None else longest / 1000
    said["waits"] = [(w["least_ms"] / 1000, w["most_ms"] / 1000) for w in said["waits"]]
    said["failures"] = {
        f["failure"]: Consequence(f["uses_attempt"], f["then"]) for f in said["failures"]
    }
    return Explanation(**said)


def message_explanation(text: str) -> MessageExplanation:
    """Called by the native module."""
    said = json.loads(text)
    _moments(said, "now", "until", "expires_at", "session_held_until", "earliest", "latest")
    if said["behind"] is not None:
        said["behind"] = Behind(**_moments(said["behind"], "until"))
    if said["death"] is not None:
        said["death"] = Death(**_moments(said["death"], "at"))
    return MessageExplanation(**said)


def _moments(said: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        if said[name] is not None:
            said[name] = moment(said[name])
    return said
