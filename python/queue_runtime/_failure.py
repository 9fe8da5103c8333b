"""What becomes of a message whose handler failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from queue_runtime._data import Settlement
from queue_runtime.errors import CircuitOpenError, QueueError, ThrottledError

if TYPE_CHECKING:
    from typing_extensions import Self

    from queue_runtime import sync
    from queue_runtime._native import AsyncDelivery

#: What the classes of exceptions are; the most special one counts. `transient`: another attempt may
#: succeed. `permanent`: none will. `throttled`: it is too early, which is not the message's fault.
Classify = Mapping[type[Exception], Literal["transient", "permanent", "throttled"]]

#: Seconds until a throttled message comes back, unless its exception says `retry_after`.
_PAUSE = 1.0

#: The most characters of an exception that go into the description of a dead letter.
_REASON_CHARS = 1000


class Failure(Exception):
    """Raised by a handler that knows what is to become of its message. Made by the methods named as
    what is done: `raise qr.Failure.permanent("bad_address", "there is no such street")`.
    """

    def __init__(
        self,
        verb: Literal["nack", "release", "dead_letter"],
        reason: str,
        description: str | None = None,
        delay: float | timedelta | None = None,
    ) -> None:
        super().__init__(reason if description is None else f"{reason}: {description}")
        self._verb = verb
        self._reason = reason
        self._description = description
        self._delay = delay

    @classmethod
    def retry(cls, reason: str) -> Self:
        """The attempt failed; another one follows as the queue's retry policy says, while the
        budget lasts. So does any other exception."""
        return cls("nack", reason)

    @classmethod
    def retry_after(cls, reason: str, delay: float | timedelta) -> Self:
        """The attempt failed; another one follows after so many seconds."""
        return cls("nack", reason, delay=delay)

    @classmethod
    def release(cls, delay: float | timedelta) -> Self:
        """Not the message's fault: it comes back after so many seconds, and the attempt does not
        count."""
        return cls("release", "released", delay=delay)

    @classmethod
    def permanent(cls, reason: str, description: str | None = None) -> Self:
        """No attempt will ever succeed: to the dead letters, with the reason in a word and at
        length."""
        return cls("dead_letter", reason, description)

    def settlement(self, delivery: Any) -> Settlement[Any]:
        """How the delivery ends, for `Queue.settle`."""
        if self._verb == "nack":
            return Settlement.nack(delivery, self._reason, delay=self._delay)
        if self._verb == "release":
            return Settlement.release(delivery, delay=self._delay)
        return Settlement.dead_letter(delivery, self._reason, self._description)

    def _settle(self, delivery: AsyncDelivery | sync.Delivery) -> Any:
        """Settles the delivery: to be awaited where deliveries are."""
        if self._verb == "nack":
            return delivery.nack(self._reason, delay=self._delay)
        if self._verb == "release":
            return delivery.release(delay=self._delay)
        return delivery.dead_letter(self._reason, self._description)


def failure_of(error: Exception, classify: Classify) -> Failure:
    """What an exception of a handler means for its message."""
    if isinstance(error, Failure):
        return error
    said = f"{type(error).__name__}: {error}"[:_REASON_CHARS]
    kind = _class_of(error, classify)
    if kind == "permanent":
        return Failure.permanent("permanent", said)
    if kind == "throttled":
        after = getattr(error, "retry_after", None)
        return Failure.release(after if isinstance(after, (int, float, timedelta)) else _PAUSE)
    return Failure.retry(said)


def _class_of(error: Exception, classify: Classify) -> str:
    for cls in type(error).__mro__:
        kind = classify.get(cls)
        if kind is not None:
            return kind
    throttled = isinstance(error, (ThrottledError, CircuitOpenError))
    if throttled or (isinstance(error, QueueError) and error.retry_after is not None):
        return "throttled"
    return "transient"
