"""Batches: what their handlers are given, and how each message ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from queue_runtime._data import Settlement
from queue_runtime._failure import Classify, failure_of

if TYPE_CHECKING:
    from queue_runtime import sync
    from queue_runtime._native import AsyncDelivery
    from queue_runtime._options import ConsumerOptions

_Delivery = TypeVar("_Delivery", bound="AsyncDelivery | sync.Delivery")

#: What a batch handler returns: nothing, failures by position, or one result for each message.
Outcome = Mapping[int, Exception | None] | Sequence[Exception | None] | None


class Batch(list[_Delivery]):
    """Messages that are handled together, at most one of each session."""

    #: Those whose cancelling was told of.
    told: set[int]

    def __init__(self, deliveries: Sequence[_Delivery]) -> None:
        super().__init__(deliveries)
        self.told = set()

    @property
    def cancelled(self) -> str | None:
        """Why work on all of them is to stop, if it is; `cancelled` of each tells of that one."""
        causes = [delivery.cancelled for delivery in self]
        return None if None in causes else causes[0]

    def newly_cancelled(self) -> list[tuple[_Delivery, str]]:
        """Those that nobody was told of, and why."""
        found: list[tuple[_Delivery, str]] = []
        for position, delivery in enumerate(self):
            cause = None if position in self.told else delivery.cancelled
            if cause is not None:
                self.told.add(position)
                found.append((delivery, cause))
        return found


def consumer_options(
    options: ConsumerOptions,
    *,
    batch_size: int,
    batch_bytes: int,
    batch_linger: float | timedelta,
    batch_concurrency: int,
    min_batch_size: int | None,
    target_batch_duration: float | timedelta | None,
) -> Any:
    """The options of a consumer for batches, as `Queue.consume` takes them."""
    if batch_concurrency < 1:
        raise ValueError("batch_concurrency must be at least 1")
    return {
        "concurrency": batch_size * batch_concurrency,
        **options,
        "batch_size": batch_size,
        "batch_bytes": batch_bytes,
        "batch_linger": batch_linger,
        "min_batch_size": min_batch_size,
        "target_batch_duration": target_batch_duration,
    }


def ends(batch: Batch[Any], outcome: object, classify: Classify) -> list[Settlement[Any]]:
    """How the messages end that a handler did not settle itself, after what it returned."""
    errors = _errors(len(batch), outcome)
    return [
        Settlement.ack(delivery)
        if error is None
        else failure_of(error, classify).settlement(delivery)
        for delivery, error in zip(batch, errors, strict=True)
        if _is_open(delivery)
    ]


def all_failed(batch: Batch[Any], error: Exception, classify: Classify) -> list[Settlement[Any]]:
    """How they end when their handler failed as a whole."""
    failure = failure_of(error, classify)
    return [failure.settlement(delivery) for delivery in batch if _is_open(delivery)]


def all_released(batch: Batch[Any]) -> list[Settlement[Any]]:
    return [Settlement.release(delivery) for delivery in batch if _is_open(delivery)]


def _is_open(delivery: Any) -> bool:
    # What a drain took it has given back.
    return not delivery.settled and delivery.cancelled != "drained"


def _errors(count: int, outcome: object) -> Sequence[Exception | None]:
    if outcome is None:
        return [None] * count
    if isinstance(outcome, Mapping):
        strangers = [position for position in outcome if position not in range(count)]
        if strangers:
            raise ValueError(f"the handler named message {strangers[0]!r} of {count}")
        return [outcome.get(position) for position in range(count)]
    if isinstance(outcome, Sequence) and not isinstance(outcome, (str, bytes)):
        if len(outcome) != count:
            raise ValueError(f"the handler gave {len(outcome)} results for {count} messages")
        return outcome
    kind = type(outcome).__name__
    raise TypeError(f"a batch handler returns nothing, a mapping or a sequence, not {kind}")
