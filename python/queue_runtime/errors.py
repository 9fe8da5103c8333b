"""Errors: one class for each kind, all under `QueueError`.

The kinds are the same in every language. A class that says more exactly what another one says is
under it: who catches `InvalidReceiptError` catches `LockLostError` too.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from queue_runtime._data import moment

if TYPE_CHECKING:
    from queue_runtime._write_behind_data import CloseReport


class QueueError(Exception):
    """What every error of this package is. Its text says what happened, where, and what to do."""

    #: The kind, such as `lock_lost`: the same in every language.
    kind: ClassVar[str] = "provider"
    #: The provider's own code.
    code: str | None = None
    #: The queue concerned.
    queue: str | None = None
    #: The operation that failed.
    operation: str | None = None
    #: The argument, option or field at fault.
    field: str | None = None
    #: The capability that is missing.
    capability: str | None = None
    #: Whether the same call may succeed later.
    retryable: bool = False
    #: When to try again at the earliest, in seconds from the failure.
    retry_after: float | None = None
    #: Until when what stands in the way does, such as the lock of a session somebody holds.
    until: datetime | None = None
    #: The bytes of what is too large.
    size: int | None = None
    #: The bytes it may have.
    limit: int | None = None


class InvalidArgumentError(QueueError, ValueError):
    """An argument is wrong: `field` names it."""

    kind = "invalid_argument"


class InvalidConfigError(QueueError, ValueError):
    """An option is wrong: `field` names it."""

    kind = "invalid_config"


class InvalidMessageError(QueueError, ValueError):
    """A message cannot be sent as it is: `field` names what is wrong."""

    kind = "invalid_message"


class MessageTooLargeError(QueueError, ValueError):
    """A message is larger than the provider takes: `size` and `limit`, in bytes."""

    kind = "message_too_large"


class ClosedError(QueueError):
    """The client or the runtime was closed."""

    kind = "closed"


class ForkedError(QueueError):
    """The object belongs to the parent of this process: connect again after a fork."""

    kind = "forked"


class CancelledError(QueueError):
    """The operation was cancelled inside the library. A task that is cancelled gets asyncio's."""

    kind = "cancelled"


class WouldDeadlockError(QueueError):
    """Waiting here would wait for the calling thread itself."""

    kind = "would_deadlock"


class UnsupportedError(QueueError):
    """The provider cannot do this: `capability` names what."""

    kind = "unsupported"


class QueueNotFoundError(QueueError):
    """There is no queue of this name."""

    kind = "queue_not_found"


class AlreadyExistsError(QueueError):
    """There is a queue of this name already."""

    kind = "already_exists"


class UnauthenticatedError(QueueError):
    """The credentials were not accepted."""

    kind = "unauthenticated"


class PermissionDeniedError(QueueError):
    """The credentials do not allow this."""

    kind = "permission_denied"


class InvalidReceiptError(QueueError):
    """The delivery was settled before, or is not of this queue."""

    kind = "invalid_receipt"


class LockLostError(InvalidReceiptError):
    """The lock of the delivery ran out."""

    kind = "lock_lost"


class SessionLockedError(QueueError):
    """Somebody else holds the session: `until` when, if that is known."""

    kind = "session_locked"


class SessionLockLostError(InvalidReceiptError):
    """The lock of the session ran out."""

    kind = "session_lock_lost"


class TimeoutError(QueueError, builtins.TimeoutError):
    """Not done in time."""

    kind = "timeout"


class ThrottledError(QueueError):
    """The provider asks to slow down."""

    kind = "throttled"


class UnavailableError(QueueError):
    """The provider cannot be reached."""

    kind = "unavailable"


class CircuitOpenError(QueueError):
    """The circuit breaker is open."""

    kind = "circuit_open"


class FullError(QueueError):
    """A bound is reached."""

    kind = "full"


class IoError(QueueError):
    """The file system failed."""

    kind = "io"


class CorruptError(QueueError):
    """A store holds something that cannot be read."""

    kind = "corrupt"


class ProviderError(QueueError):
    """The provider failed in a way of its own: `code` is what it says."""

    kind = "provider"


class PanicError(QueueError):
    """A bug of this library."""

    kind = "panic"


class BatchError(QueueError):
    """Some of a batch failed. Raised by `raise_for_errors`; `results` are all of the results."""

    kind = "batch"

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.results: Sequence[Any] = results


class UnwrittenError(QueueError):
    """A write-behind was closed by the end of its block before everything was written: `report` has
    the entries, which are the program's to keep."""

    kind = "unwritten"

    def __init__(self, message: str, report: CloseReport | None = None) -> None:
        super().__init__(message)
        self.report = report


_KINDS: dict[str, type[QueueError]] = {
    cls.kind: cls
    for cls in list(globals().values())
    if isinstance(cls, type)
    and issubclass(cls, QueueError)
    and cls not in (QueueError, BatchError, UnwrittenError)
}


def _make(
    kind: str,
    message: str,
    code: str | None,
    queue: str | None,
    operation: str | None,
    field: str | None,
    capability: str | None,
    retryable: bool,
    retry_after_ms: int | None,
    until_ms: int | None,
    size: tuple[int, int] | None,
) -> QueueError:
    """The exception for an error of the library. Called by the native module."""
    error = _KINDS.get(kind, ProviderError)(message)
    error.code = code
    error.queue = queue
    error.operation = operation
    error.field = field
    error.capability = capability
    error.retryable = retryable
    error.retry_after = None if retry_after_ms is None else retry_after_ms / 1000
    error.until = None if until_ms is None else moment(until_ms)
    if size is not None:
        error.size, error.limit = size
    return error


def _invalid_argument(field: str, problem: str) -> InvalidArgumentError:
    """The exception for an argument. Called by the native module."""
    error = InvalidArgumentError(f"{field} {problem}")
    error.field = field
    return error


def _raise_for_errors(results: Sequence[Any]) -> NoReturn:
    """Raises for a batch in which something failed. Called by the native module."""
    errors = [result.error for result in results if result.error is not None]
    message = f"{len(errors)} of {len(results)} failed; the first: {errors[0]}"
    raise BatchError(message, results) from errors[0]
