"""Options by name: the same names as in a URL and in the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict

#: A duration: seconds, a `timedelta`, or text with a unit as in a URL, such as `"1h 30m"`.
Span = float | timedelta | str


class QueueOptions(TypedDict, total=False):
    """Options of a queue. What is not said is as the client's, the URL's or the default."""

    #: How long a delivery or a session is locked: 1 ms to 12 h.
    lock: Span
    #: Deliveries a message may use.
    budget: int
    #: When a nacked message comes back: `exponential:100ms,2,30s,jitter`, `linear:1s,1s,1m`,
    #: `fixed:5s`, `none`.
    retry: str
    #: Time to live of messages that have none of their own.
    ttl: Span
    #: What becomes of expired messages.
    on_expiry: Literal["drop", "dead_letter"]
    #: How long a dedup id is remembered.
    dedup_window: Span
    #: What a failed message of a session does to those after it.
    on_failure: Literal["block", "skip", "park"]
    #: Messages a queue holds.
    max_messages: int
    #: Bytes a queue holds.
    max_bytes: int
    #: Bytes of one message.
    max_message_bytes: int
    #: What a send does when the queue is full.
    on_full: Literal["wait", "error"]
    #: Whether the queue is made at its first use, where the provider makes queues.
    create: Literal["first_use", "never"]
    #: When sending pauses since the provider is away: `5,30s,3` for failures in a row, pause and
    #: successes in a row, or `none`; for providers across a network.
    breaker: str
    #: Whether the sessions of messages are groups that share the queue fairly, without order.
    fair_groups: bool


class ConsumerOptions(TypedDict, total=False):
    """Options of a consumer, as `Queue.consume` takes them. Durations are seconds or a
    `timedelta`."""

    #: Messages in hand at one time; 16.
    concurrency: int
    #: Scales: begins with so many in hand, and moves between this number and `concurrency`.
    min_concurrency: int
    #: How long each limit of a consumer that scales stays; 5 seconds.
    scale_cooldown: float | timedelta
    #: Messages fetched ahead; as many as may be in hand.
    prefetch: int
    #: Nothing more is fetched ahead while it has this many bytes; 64 MiB.
    prefetch_bytes: int
    #: Messages of one receive; as many as are wanted.
    max_messages: int
    #: How long each receive waits at the provider; 20 seconds.
    wait: float | timedelta
    #: How long messages are locked, and locked again; as long as the queue says.
    lock: float | timedelta
    #: For how long a lock is kept; 10 minutes.
    max_lock_renewal: float | timedelta
    #: When a receive that failed is tried again; `exponential:100ms,2,30s,jitter`.
    reconnect: str
    #: When to leave messages alone since their handlers fail: `5,30s,3` for failures in a row,
    #: pause and successes in a row; never.
    breaker: str
    #: Works through held sessions, at most so many at a time.
    max_sessions: int
    #: For how long a session that has nothing is held while no other one waits; 60 seconds.
    session_idle: float | timedelta
    #: After so many messages a session makes room for another one.
    session_max_messages: int
    #: After so long a time a session makes room for another one.
    session_max_time: float | timedelta
    #: Of one group at most so many messages are in hand; for queues with fair groups.
    max_in_flight_per_group: int


class RuntimeOptions(TypedDict, total=False):
    """Options of a runtime."""

    #: Threads that run the engine: 1 to 1024.
    worker_threads: int
    #: Threads for blocking work: 1 to 65,536.
    max_blocking_threads: int
    #: Bytes of each thread's stack.
    thread_stack_size: int
    #: Threads are named by this and a number.
    thread_name: str
    #: Processors that threads are pinned to in turn.
    cpu_affinity: list[int]
    #: Bytes of memory kept for message bodies; 0 keeps none.
    body_pool_bytes: int
    #: Bytes of memory of the process above which consumers pause; 0, no limit.
    memory_limit: int


#: Options that are durations.
_SPANS = {"lock", "ttl", "dedup_window", "flush_interval"}


def to_json(options: Mapping[str, Any]) -> str:
    """Options as the library reads them; `None` says nothing."""
    return json.dumps({name: _value(name, v) for name, v in options.items() if v is not None})


def _value(name: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif name not in _SPANS or isinstance(value, str):
        return value
    if not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a number of seconds, a timedelta or text, not {kind}")
    return f"{round(value * 1000)}ms"
