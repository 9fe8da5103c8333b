"""What goes into a write-behind, and what comes out of it: plain values."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, TypedDict
from uuid import UUID

from queue_runtime._data import moment
from queue_runtime._options import Span
from queue_runtime.errors import QueueError, UnwrittenError


class WriteBehindOptions(TypedDict, total=False):
    """Options of a write-behind. What is not said is the default."""

    #: The table, as SQL writes it.
    table: str
    #: The columns of a primary key or unique index that say which row an entry is.
    key: str | Sequence[str]
    #: The columns that are written; all of the table.
    columns: Sequence[str]
    #: The name in metrics, logs and dead letters; the table.
    name: str
    #: Entries that are accepted and not yet written, at most; 100,000.
    max_entries: int
    #: Their bytes at most; 256 MiB.
    max_bytes: int
    #: Entries of a batch; 1000.
    batch_size: int
    #: Bytes of a batch; 4 MiB.
    batch_bytes: int
    #: How long an entry waits for its batch to fill; 100 ms.
    flush_interval: Span
    #: Batches that are written at the same time; 1.
    writers: int
    #: What becomes of an entry when the buffer is full: it waits, or goes into the journal.
    on_full: Literal["wait", "spill"]
    #: What becomes of a key that comes again within a batch.
    on_repeat: Literal["last", "cut"]
    #: When a batch is tried again: `exponential:100ms,2,30s,jitter`.
    retry: str
    #: When writing pauses: failures, how long, successes that end it (`5,30s,3`), or `none`.
    breaker: str
    #: The URL of a provider for entries that can never be written.
    dead_letter: str
    #: Its queue; the name with `-dead-letters`.
    dead_letter_queue: str
    #: The URL of a provider that keeps entries until they are written, or what is spilled.
    journal: str
    #: Its queue; the name with `-journal`.
    journal_queue: str


#: What may be enqueued: a row by its columns; or bytes and text as they are.
Enqueued = Mapping[str, Any] | bytes | bytearray | memoryview | str


@dataclass(frozen=True)
class Entry:
    """Something to be written, as a sink of the program gets it."""

    #: What was enqueued, as bytes.
    body: bytes
    #: Entries of one key keep their order, and the last of them stands for all in a batch.
    key: bytes | None = None

    def text(self) -> str:
        """The body as text; `UnicodeDecodeError` when it is none."""
        return self.body.decode()

    def json(self) -> Any:
        """The value of the body's JSON; `json.JSONDecodeError` when it is none."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        # Never the body.
        return f"<Entry of {len(self.body)} bytes>"


#: What became of the entries of a batch: nothing when all are written, or for each `None`, or the
#: error that kept it from being written.
Written = Sequence[BaseException | None] | None

#: A sink of the program, plain or `async`.
Sink = Callable[[list[Entry]], Written]
AsyncSink = Callable[[list[Entry]], Awaitable[Written]] | Sink


@dataclass(frozen=True)
class RejectedEntry:
    """An entry that can never be written, and why."""

    #: The entry, whole.
    entry: Entry
    #: Why, in a word: the sink's own code, or the error's kind.
    reason: str
    #: Why, at length.
    description: str
    #: How often it was tried.
    attempts: int
    #: When it was accepted.
    enqueued_at: datetime


@dataclass(frozen=True)
class CloseReport:
    """What a close of a write-behind did not write."""

    #: Entries that could not be written in time, in the order of their coming.
    unwritten: list[Entry]
    #: Entries that stay in the journal for the next start.
    left_in_journal: int
    #: Entries that were given up, and kept because there is no dead-letter queue.
    rejected: list[RejectedEntry]


@dataclass(frozen=True)
class WriteBehindMetrics:
    """Counts of a write-behind, all of one moment: `total_enqueued` is always the sum of
    `total_persisted`, `total_failed` and `current_queue_depth`."""

    #: Entries that were accepted.
    total_enqueued: int
    #: Entries that are in the sink, or for which a later one of their key is.
    total_persisted: int
    #: Entries that were given up.
    total_failed: int
    #: How often an entry was tried again.
    total_retries: int
    #: Batches that the sink answered.
    total_batches: int
    #: Entries that were accepted and are neither persisted nor failed.
    current_queue_depth: int
    #: When this was so.
    timestamp: datetime


def check_written(report: CloseReport) -> None:
    """Raises for entries that nobody would have otherwise."""
    unwritten, rejected = len(report.unwritten), len(report.rejected)
    if unwritten + rejected > 0:
        raise UnwrittenError(
            f"{unwritten} entries could not be written and {rejected} were given up: they are in"
            " the report of this error",
            report,
        )


def is_async(sink: Callable[..., object]) -> bool:
    """Whether its calls are to be awaited."""
    # Also an object whose call is `async`.
    return inspect.iscoroutinefunction(sink) or inspect.iscoroutinefunction(type(sink).__call__)


_Pair = tuple[bytes, bytes | None]


def entries(pairs: Iterable[_Pair]) -> list[Entry]:
    """Called by the native module."""
    return [Entry(body, key) for body, key in pairs]


def rejected_entry(
    pair: _Pair, reason: str, description: str, attempts: int, enqueued_ms: int
) -> RejectedEntry:
    """Called by the native module."""
    return RejectedEntry(Entry(*pair), reason, description, attempts, moment(enqueued_ms))


def close_report(
    unwritten: Iterable[_Pair], left_in_journal: int, rejected: list[RejectedEntry]
) -> CloseReport:
    """Called by the native module."""
    return CloseReport(entries(unwritten), left_in_journal, rejected)


def metrics(counts: tuple[int, int, int, int, int, int], timestamp_ms: int) -> WriteBehindMetrics:
    """Called by the native module."""
    return WriteBehindMetrics(*counts, moment(timestamp_ms))


def _as_json(value: Any) -> Any:
    """Values that JSON lacks, as the columns of a table take them."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no JSON")


# Made once: `json.dumps` makes one for each call that asks for anything.
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_json
).encode


def body_of(entry: Enqueued) -> bytes | bytearray | memoryview | str:
    """What is enqueued of an entry."""
    if isinstance(entry, dict):
        return _encode(entry)
    if isinstance(entry, (bytes, str, bytearray, memoryview)):
        return entry
    if isinstance(entry, Mapping):
        return _encode(dict(entry))
    raise TypeError(f"an entry must be a mapping, bytes or str, not {type(entry).__name__}")


def pair_of(entry: Enqueued | Entry) -> tuple[bytes | bytearray | memoryview | str, bytes | None]:
    """An entry of `enqueue_many`."""
    if isinstance(entry, Entry):
        return entry.body, entry.key
    return body_of(entry), None


def refusals(count: int, written: Written) -> list[tuple[int, str, str]]:
    """Of what a sink answers for a batch, the entries that were not written: which, and why."""
    if written is None:
        return []
    if isinstance(written, (str, bytes)) or not isinstance(written, Sequence):
        kind = type(written).__name__
        raise TypeError(f"a sink returns None or a result for each entry, not {kind}")
    if len(written) != count:
        raise ValueError(f"the sink gave {len(written)} results for {count} entries")
    return [(index, *blame(error)) for index, error in enumerate(written) if _is_error(error)]


def _is_error(result: object) -> bool:
    if result is None:
        return False
    if isinstance(result, BaseException):
        return True
    raise TypeError(f"the result of an entry is None or an exception, not {type(result).__name__}")


def blame(error: BaseException | None) -> tuple[str, str]:
    """The kind and the text of an error of a sink. What is no error of this package says that the
    sink is in trouble, and not that an entry is bad."""
    text = str(error) or type(error).__name__
    if not isinstance(error, QueueError) or (error.kind == "provider" and error.retryable):
        return "unavailable", text
    return error.kind, text
