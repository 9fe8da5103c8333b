"""What is seen of queues: plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from queue_runtime import sync
    from queue_runtime._native import AsyncDelivery, Message
    from queue_runtime.errors import QueueError

    _Delivery = TypeVar("_Delivery", AsyncDelivery, sync.Delivery)
else:
    _Delivery = TypeVar("_Delivery")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def dump_json(value: Any) -> str:
    """A value as JSON, without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class _Seen:
    """A message that was looked at."""

    #: Its id.
    id: str
    #: Its body.
    body: bytes
    #: Names and values that travel with it.
    headers: dict[str, str]
    #: The ordered group it belongs to.
    session: str | None
    #: What it answers or belongs to.
    correlation_id: str | None
    #: The media type of its body.
    content_type: str | None
    #: The dedup id it was sent with.
    dedup_id: str | None

    def text(self) -> str:
        """The body as text; `UnicodeDecodeError` when it is none."""
        return self.body.decode()

    def json(self) -> Any:
        """The value of the body's JSON; `json.JSONDecodeError` when it is none."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        # Never the body.
        return f"<{type(self).__name__} {self.id}>"


@dataclass(frozen=True, repr=False)
class PeekedMessage(_Seen):
    """A message that was looked at, not taken."""

    #: How it stands: `ready`, `delayed` or `in_flight`.
    state: Literal["ready", "delayed", "in_flight"]
    #: Its place in the order of the queue: where a listing goes on.
    sequence: int
    #: Attempts made so far.
    attempts: int
    #: When it was sent.
    enqueued_at: datetime


@dataclass(frozen=True, repr=False)
class DeadLetter(_Seen):
    """A message that was given up."""

    #: Why, in a word.
    reason: str
    #: Why, at length.
    description: str | None
    #: Attempts made.
    attempts: int
    #: The queue it was sent to.
    source: str
    #: Where a listing goes on.
    number: int
    #: When it was sent.
    enqueued_at: datetime
    #: When it was first received.
    first_delivered_at: datetime | None
    #: When it was given up.
    dead_lettered_at: datetime


_SeenFields = tuple[
    str, bytes, dict[str, str], "str | None", "str | None", "str | None", "str | None"
]


def peeked_message(
    seen: _SeenFields,
    state: Literal["ready", "delayed", "in_flight"],
    sequence: int,
    attempts: int,
    enqueued_ms: int,
) -> PeekedMessage:
    """Called by the native module."""
    return PeekedMessage(*seen, state, sequence, attempts, moment(enqueued_ms))


def dead_letter(
    seen: _SeenFields,
    reason: str,
    description: str | None,
    attempts: int,
    source: str,
    number: int,
    enqueued_ms: int,
    first_delivered_ms: int | None,
    dead_lettered_ms: int,
) -> DeadLetter:
    """Called by the native module."""
    first = None if first_delivered_ms is None else moment(first_delivered_ms)
    times = moment(enqueued_ms), first, moment(dead_lettered_ms)
    return DeadLetter(*seen, reason, description, attempts, source, number, *times)


@dataclass(frozen=True)
class Statistics:
    """Counts and ages of a queue at one moment."""

    #: Messages to be received now.
    ready: int
    #: Messages in somebody's hands.
    in_flight: int
    #: Messages that appear later.
    delayed: int
    #: All messages but the dead letters.
    depth: int
    #: Dead letters.
    dead: int
    #: Bytes of all messages but the dead letters.
    bytes: int
    #: Sessions that have messages, a holder or a state.
    sessions: int
    #: Seconds since the oldest message that is not a dead letter was sent.
    oldest_age: float | None


@dataclass(frozen=True)
class RedriveReport:
    """What a redrive did."""

    #: How many matched.
    matched: int
    #: How many are back in the queue.
    redriven: int
    #: The number of the last one looked at: where to go on.
    last: int
    #: Those that could not be sent back and stay: why, by their ids.
    failed: dict[str, str]


@dataclass(frozen=True)
class DrainReport:
    """What became of the messages that a consumer or a worker had when its drain began."""

    #: In hand, and settled in time.
    finished: int = 0
    #: Given back with their attempts restored.
    released: int = 0
    #: Neither: dropped unsettled, or lost. They come back when their locks end.
    abandoned: int = 0

    def __add__(self, other: DrainReport) -> DrainReport:
        return DrainReport(
            self.finished + other.finished,
            self.released + other.released,
            self.abandoned + other.abandoned,
        )


@dataclass(frozen=True)
class ProducerReport:
    """What became of everything that a producer accepted."""

    #: Stored.
    sent: int
    #: Answered with an error.
    failed: int
    #: Not answered by the deadline, in their order. The batch that was on its way then may have
    #: been stored all the same.
    unsent: list[Message]


@dataclass(frozen=True)
class ConsumerStatus:
    """How a consumer goes."""

    #: Whether its last receive succeeded, or none has ended yet, and it has not ended.
    ready: bool
    #: When a receive last succeeded, with or without messages.
    last_receive: datetime | None
    #: What the last receive failed with, until one succeeds.
    failure: QueueError | None
    #: Messages fetched ahead and not begun.
    prefetched: int
    #: Messages in hand.
    in_hand: int
    #: How many may be in hand now.
    concurrency: int
    #: Whether it was paused by hand.
    paused: bool
    #: Whether it waits since the process has more memory than the runtime's `memory_limit`.
    over_memory: bool
    #: Where its breaker stands.
    breaker: Literal["closed", "half_open", "open"]
    #: Until when its breaker is open, if it is.
    open_until: datetime | None
    #: Sessions held, by a consumer with `max_sessions` or of a session.
    sessions: int


def _failure(kind: str, message: str, retryable: bool) -> QueueError:
    # These are made of what is here.
    from queue_runtime.errors import _make

    return _make(kind, message, None, None, None, None, None, retryable, None, None, None)


def consumer_status(text: str) -> ConsumerStatus:
    """Called by the native module."""
    said = json.loads(text)
    last, failure, until = said["last_receive"], said["failure"], said["open_until"]
    return ConsumerStatus(
        ready=said["ready"],
        last_receive=None if last is None else moment(last),
        failure=None if failure is None else _failure(**failure),
        prefetched=said["prefetched"],
        in_hand=said["in_hand"],
        concurrency=said["concurrency"],
        paused=said["paused"],
        over_memory=said["over_memory"],
        breaker=said["breaker"],
        open_until=None if until is None else moment(until),
        sessions=said["sessions"],
    )


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do."""

    #: Its name.
    provider: str
    #: How it does what, by the names of capabilities.
    support: dict[str, Literal["native", "emulated", "unsupported"]]
    #: Its limits, where it has any.
    limits: dict[str, int | None]

    def supports(self, capability: str) -> bool:
        """Whether it can do this at all. `KeyError` for a name that is no capability."""
        return self.support[capability] != "unsupported"


def capabilities(text: str) -> Capabilities:
    """Called by the native module."""
    return Capabilities(**json.loads(text))


@dataclass(frozen=True)
class Settlement(Generic[_Delivery]):
    """How a delivery ends, for `Queue.settle`. Made by the methods named as the verbs are."""

    delivery: _Delivery
    verb: Literal["ack", "nack", "release", "dead_letter"]
    reason: str | None = None
    description: str | None = None
    delay: float | timedelta | None = None

    @classmethod
    def ack(cls, delivery: _Delivery) -> Settlement[_Delivery]:
        """Done; gone for good."""
        return cls(delivery, "ack")

    @classmethod
    def nack(
        cls,
        delivery: _Delivery,
        reason: str | None = None,
        *,
        delay: float | timedelta | None = None,
    ) -> Settlement[_Delivery]:
        """This attempt failed, as `Delivery.nack`."""
        return cls(delivery, "nack", reason=reason, delay=delay)

    @classmethod
    def release(
        cls, delivery: _Delivery, *, delay: float | timedelta | None = None
    ) -> Settlement[_Delivery]:
        """Given back unblamed, as `Delivery.release`."""
        return cls(delivery, "release", delay=delay)

    @classmethod
    def dead_letter(
        cls, delivery: _Delivery, reason: str, description: str | None = None
    ) -> Settlement[_Delivery]:
        """To the dead-letter queue now, as `Delivery.dead_letter`."""
        return cls(delivery, "dead_letter", reason=reason, description=description)
