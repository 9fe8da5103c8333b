"""Write-behind, in threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from queue_runtime._native import (
    Runtime,
    SettleResults,
    SyncQueue,
    SyncWriteBehind,
    WriteBatch,
    open_write_behind_sync,
)
from queue_runtime._options import to_json
from queue_runtime._write_behind_data import (
    CloseReport,
    Enqueued,
    Entry,
    RejectedEntry,
    Sink,
    WriteBehindMetrics,
    blame,
    body_of,
    check_written,
    is_async,
    pair_of,
    refusals,
)
from queue_runtime.errors import QueueError

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from queue_runtime._write_behind_data import WriteBehindOptions

_log = logging.getLogger("queue_runtime.write_behind")


class WriteBehind:
    """Accepts entries at once and writes them in batches: into the table of a database, or to a
    function of the program. Nothing that was accepted is dropped. Made by `open`. Any thread may
    use it.

    What was accepted and is in no journal lives in this process: `close` it before the program
    ends.
    """

    __slots__ = ("_native",)

    def __init__(self, native: SyncWriteBehind) -> None:
        """Private: use `open`."""
        self._native = native

    @classmethod
    def open(
        cls,
        sink: str | Sink,
        /,
        *,
        runtime: Runtime | None = None,
        **options: Unpack[WriteBehindOptions],
    ) -> WriteBehind:
        """Opens a write-behind. Into a table: `sink` is the URL of its database, such as
        `postgres://app@db/app` or `sqlite:/path/to/file.db`, and `InvalidConfigError` says what
        does not fit the table. Into the program: `sink` is a function that writes a list of
        `Entry`.

        The function returns nothing when all are written, or a list with `None` or an exception
        for each. `InvalidMessageError`, `MessageTooLargeError`, `InvalidArgumentError` and a
        `ProviderError` that is not retryable say that an entry is bad: it is given up. When it
        raises one of these, something in the batch is bad, which then comes in halves until that is
        alone. Any other exception says that the sink is in trouble: its entries come again, as
        `retry` says, until they are written.

        A plain function runs in a thread of its own, in as many as there are `writers`; an `async`
        one on the event loop that opens this, which `queue_runtime.sync` has not.

        Used as a context, it is closed at the end of the block; `UnwrittenError` gives what could
        not be written then.

        Args:
            sink: the URL of a database, or a function.
            runtime: threads and time to stand on; without it those that all clients share.
            options: the table, its key, sizes and times.
        """
        if isinstance(sink, str):
            config = to_json({**options, "sink": sink})
            return cls(open_write_behind_sync(config, False, runtime))
        if not callable(sink):
            raise TypeError(f"sink must be a URL or a function, not {type(sink).__name__}")
        if is_async(sink):
            raise TypeError("an async sink needs queue_runtime.WriteBehind")
        native = open_write_behind_sync(to_json(options), True, runtime)
        for number in range(options.get("writers", 1)):
            # Not one that a program waits for at its end: it is woken by the close.
            threading.Thread(
                target=_run, args=(native, sink), name=f"write-behind {number}", daemon=True
            ).start()
        return cls(native)

    def enqueue(self, entry: Enqueued, /, *, key: bytes | str | None = None) -> None:
        """Accepts an entry; waits while the bounds are reached. With a journal it is durable then.

        A mapping is a row by its columns, and goes as JSON: beside what JSON has, dates, times,
        `Decimal`, `UUID` and bytes are written as columns take them. Bytes and text go as they are.
        Entries of one `key` keep their order; for a table it is in the entry.
        """
        self._native.enqueue(body_of(entry), key)

    def try_enqueue(self, entry: Enqueued, /, *, key: bytes | str | None = None) -> None:
        """As `enqueue`, but raises `FullError` instead of waiting."""
        self._native.try_enqueue(body_of(entry), key)

    def enqueue_many(self, entries: Iterable[Enqueued | Entry], /) -> SettleResults:
        """Accepts entries in their order, waiting while the bounds are reached: result i belongs
        to entry i. One with a key is an `Entry`."""
        return self._native.enqueue_many([pair_of(entry) for entry in entries])

    def flush(self) -> None:
        """Writes what was accepted before this, and ends when it is written or given up: while the
        sink is away, that is as long as it takes."""
        self._native.flush()

    def feed(self, queue: SyncQueue, /) -> None:
        """Writes the messages of a queue, each acked after the sink's commit, until this is closed
        or the feed is cancelled. A message that can never be written goes to `dead_letter`, or
        without that to the queue's own dead letters. What is not written in the end goes back."""
        self._native.feed(queue)

    def close(self, deadline: float | timedelta = 30.0) -> CloseReport:
        """Accepts nothing more and writes what was accepted. What is not written after so many
        seconds is in the report, goes back to the queue that fed it, or stays in the journal. Again
        gives an empty report."""
        return self._native.close(deadline)

    def take_rejected(self) -> list[RejectedEntry]:
        """Takes the entries that were given up and kept because there is no dead-letter queue.
        Until they are taken they count against the bounds."""
        return self._native.take_rejected()

    def metrics(self) -> WriteBehindMetrics:
        """Counts, all of one moment."""
        return self._native.metrics()

    @property
    def breaker_state(self) -> Literal["closed", "half_open", "open"]:
        """Whether writing goes on (`closed`), or pauses because the sink stays away."""
        return self._native.breaker_state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        typ: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        check_written(self.close())

    def __repr__(self) -> str:
        return f"<WriteBehind with {self.metrics().current_queue_depth} entries>"


def _run(native: SyncWriteBehind, sink: Sink) -> None:
    """Has a function write one batch after the other, until there is none any more."""
    try:
        while (batch := native.next()) is not None:
            _write(batch, sink)
    except QueueError as error:
        # The runtime has ended, and nothing is written any more.
        _log.debug("no more batches: %s", error)


def _write(batch: WriteBatch, sink: Sink) -> None:
    try:
        batch.finish(refusals(len(batch.entries), sink(batch.entries)))
    except BaseException as error:
        # Also SystemExit, by which this thread would end and leave its entries to nobody.
        _log.warning("%d entries were not written", len(batch.entries), exc_info=error)
        batch.fail(*blame(error))
