"""Write-behind, on an event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal, cast

from queue_runtime._native import (
    AsyncQueue,
    AsyncWriteBehind,
    Runtime,
    SettleResults,
    WriteBatch,
    open_write_behind_async,
)
from queue_runtime._opening import Opening
from queue_runtime._options import to_json
from queue_runtime._write_behind_data import (
    AsyncSink,
    CloseReport,
    Enqueued,
    Entry,
    RejectedEntry,
    WriteBehindMetrics,
    Written,
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

    from queue_runtime._native import Call
    from queue_runtime._write_behind_data import WriteBehindOptions

_log = logging.getLogger("queue_runtime.write_behind")


class WriteBehind:
    """Accepts entries at once and writes them in batches: into the table of a database, or to a
    function of the program. Nothing that was accepted is dropped. Made by `open`. Any thread may
    use it.

    What was accepted and is in no journal lives in this process: `close` it before the program
    ends.
    """

    __slots__ = ("_batches", "_native")

    def __init__(self, native: AsyncWriteBehind, batches: _Batches | None) -> None:
        """Private: use `open`."""
        self._native = native
        self._batches = batches

    @classmethod
    def open(
        cls,
        sink: str | AsyncSink,
        /,
        *,
        runtime: Runtime | None = None,
        **options: Unpack[WriteBehindOptions],
    ) -> Opening[WriteBehind]:
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
        is_url = isinstance(sink, str)
        if not is_url and not callable(sink):
            raise TypeError(f"sink must be a URL or a function, not {type(sink).__name__}")
        config = to_json({**options, "sink": sink if is_url else None})
        opening = open_write_behind_async(config, not is_url, runtime)
        return Opening(cls._open(opening, None if isinstance(sink, str) else sink, options))

    @classmethod
    async def _open(
        cls,
        opening: Awaitable[AsyncWriteBehind],
        sink: AsyncSink | None,
        options: WriteBehindOptions,
    ) -> WriteBehind:
        native = await opening
        if sink is None:
            return cls(native, None)
        return cls(native, _Batches(native, sink, options.get("writers", 1)))

    def enqueue(self, entry: Enqueued, /, *, key: bytes | str | None = None) -> Call[None]:
        """Accepts an entry; waits while the bounds are reached. With a journal it is durable then.

        A mapping is a row by its columns, and goes as JSON: beside what JSON has, dates, times,
        `Decimal`, `UUID` and bytes are written as columns take them. Bytes and text go as they are.
        Entries of one `key` keep their order; for a table it is in the entry.
        """
        return self._native.enqueue(body_of(entry), key)

    def try_enqueue(self, entry: Enqueued, /, *, key: bytes | str | None = None) -> Call[None]:
        """As `enqueue`, but raises `FullError` instead of waiting."""
        return self._native.try_enqueue(body_of(entry), key)

    def enqueue_many(self, entries: Iterable[Enqueued | Entry], /) -> Call[SettleResults]:
        """Accepts entries in their order, waiting while the bounds are reached: result i belongs
        to entry i. One with a key is an `Entry`."""
        return self._native.enqueue_many([pair_of(entry) for entry in entries])

    def flush(self) -> Call[None]:
        """Writes what was accepted before this, and ends when it is written or given up: while the
        sink is away, that is as long as it takes."""
        return self._native.flush()

    def feed(self, queue: AsyncQueue, /) -> Call[None]:
        """Writes the messages of a queue, each acked after the sink's commit, until this is closed
        or the feed is cancelled. A message that can never be written goes to `dead_letter`, or
        without that to the queue's own dead letters. What is not written in the end goes back."""
        return self._native.feed(queue)

    async def close(self, deadline: float | timedelta = 30.0) -> CloseReport:
        """Accepts nothing more and writes what was accepted. What is not written after so many
        seconds is in the report, goes back to the queue that fed it, or stays in the journal. Again
        gives an empty report."""
        report = await self._native.close(deadline)
        if self._batches is not None:
            await self._batches.stop()
        return report

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        typ: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        check_written(await self.close())

    def __repr__(self) -> str:
        return f"<WriteBehind with {self.metrics().current_queue_depth} entries>"


class _Batches:
    """Asks for batches and has a function write them: as many at a time as there are writers."""

    def __init__(self, native: AsyncWriteBehind, sink: AsyncSink, writers: int) -> None:
        self._native = native
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._threads: ThreadPoolExecutor | None = None
        if not is_async(sink):
            self._threads = ThreadPoolExecutor(writers, "queue_runtime")
        self._tasks = [
            self._loop.create_task(self._run(), name=f"write-behind {number}")
            for number in range(writers)
        ]

    async def _run(self) -> None:
        """Writes one batch after the other, until there is none any more."""
        try:
            while (batch := await self._native.next()) is not None:
                await self._write(batch)
        except QueueError as error:
            # The runtime has ended, and nothing is written any more.
            _log.debug("no more batches: %s", error)

    async def _write(self, batch: WriteBatch) -> None:
        # A task of its own: its cancellation is not that of this one.
        writing = self._loop.create_task(self._call(batch.entries))
        try:
            await asyncio.wait([writing])
        except asyncio.CancelledError:
            writing.cancel()
            batch.fail("cancelled", "the program ended before its sink did")
            raise
        try:
            batch.finish(refusals(len(batch.entries), writing.result()))
        except (Exception, asyncio.CancelledError) as error:
            _log.warning("%d entries were not written", len(batch.entries), exc_info=error)
            batch.fail(*blame(error))

    async def _call(self, entries: list[Entry]) -> Written:
        if self._threads is not None:
            called = self._loop.run_in_executor(self._threads, self._sink, entries)
            return cast(Written, await called)
        return await cast(Awaitable[Written], self._sink(entries))

    async def stop(self) -> None:
        """Cancels what still writes: its entries are in the report of the close."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        if asyncio.get_running_loop() is self._loop:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        elif not self._loop.is_closed():
            for task in self._tasks:
                self._loop.call_soon_threadsafe(task.cancel)
