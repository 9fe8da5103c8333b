"""Handlers at work, on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from queue_runtime._batch import Batch, Outcome, all_failed, all_released, consumer_options, ends
from queue_runtime._data import ConsumerStatus, DrainReport, Settlement
from queue_runtime._failure import Classify, Failure, failure_of
from queue_runtime._native import AsyncClient, AsyncConsumer, AsyncDelivery, AsyncQueue
from queue_runtime._signals import on_end
from queue_runtime.errors import ClosedError, QueueError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from queue_runtime._options import ConsumerOptions, QueueOptions

_log = logging.getLogger("queue_runtime.worker")

_Handler = Callable[[AsyncDelivery], Awaitable[object]] | Callable[[AsyncDelivery], object]
_H = TypeVar("_H", bound=_Handler)
_BatchHandler = (
    Callable[[list[AsyncDelivery]], Awaitable[Outcome]] | Callable[[list[AsyncDelivery]], Outcome]
)
_B = TypeVar("_B", bound=_BatchHandler)
_OnCancel = Callable[[AsyncDelivery, str], object]

#: After so many messages in a row a lane gives the event loop a turn: handlers that never wait
#: would keep it from everybody else.
_TURN = 64


class Worker:
    """Runs handlers on the messages of queues, several at a time.

        worker = qr.Worker(client, concurrency=16)

        @worker.handler("orders")
        async def on_order(order: qr.Delivery) -> None:
            ...

        await worker.run()

    When a handler returns, its message is acked; when it raises, it is nacked, and comes back as
    the queue's retry policy says until its budget is spent. A handler that knows better raises a
    `Failure`. Messages of one session are handled one at a time, in order. Functions that are not
    `async` run in threads.

    The engine keeps the lock of a message while its handler runs. Should it be lost all the same,
    or the handler take longer than `max_lock_renewal`, the handler is cancelled; one in a thread
    cannot be, and sees it in `delivery.cancelled`.

    Args:
        client: whose queues these are.
        drain: how long handlers may go on once the worker is to stop, unless `stop` says.
        classify: what exceptions of handlers are: `transient` (nacked, as what is not named),
            `permanent` (to the dead letters), or `throttled` (back unblamed after the exception's
            `retry_after`, or a second; so are errors of this library that say when to try again).
        on_cancel: an alarm: told, with the cause, that work on a message is to stop.
        options: options of the consumer of each queue, as `Queue.consume` takes them; `concurrency`
            is how many handlers run at one time, for each queue.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        drain: float | timedelta = 30.0,
        classify: Classify | None = None,
        on_cancel: _OnCancel | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._client = client
        self._drain = drain
        self._classify = {} if classify is None else classify
        self._on_cancel = on_cancel
        self._options = options
        self._starts: list[Callable[[], _Crew]] = []
        self._crews: list[_Crew] = []
        self._paused = False
        self._stopping: asyncio.Future[float | timedelta] | None = None
        self._stopped: asyncio.Future[DrainReport] | None = None

    def handler(
        self, queue: str | AsyncQueue, **options: Unpack[QueueOptions]
    ) -> Callable[[_H], _H]:
        """Registers the function below as the handler of a queue, opened with these options."""
        if not isinstance(queue, AsyncQueue):
            queue = self._client.queue(queue, **options)

        def register(handler: _H) -> _H:
            self._starts.append(lambda: _Crew(self, queue, self._options, handler))
            return handler

        return register

    def batch_handler(
        self,
        queue: str | AsyncQueue,
        *,
        batch_size: int = 100,
        batch_bytes: int = 4 * 1024 * 1024,
        batch_linger: float | timedelta = 0.005,
        batch_concurrency: int = 1,
        min_batch_size: int | None = None,
        target_batch_duration: float | timedelta | None = None,
        **options: Unpack[QueueOptions],
    ) -> Callable[[_B], _B]:
        """Registers the function below as the handler of batches of a queue: it is given a list of
        deliveries, at most one of each session.

        When it returns nothing, all are acked. It may return failures by position, or one result
        for each message: an exception fails that message, as if a handler had raised it, and it
        comes again alone. When it raises, all have failed. All is settled with one call. When the
        lock of one is lost, `cancelled` of that delivery says so and `on_cancel` is told; when work
        on all of them is to stop, the handler is cancelled.

        Args:
            queue: which queue, opened with the options.
            batch_size: messages of a batch, at most; as many are handed over at once.
            batch_bytes: their bytes, at most (one message may have more).
            batch_linger: how long a batch waits for more, from its first message on.
            batch_concurrency: batches that are handled at one time.
            min_batch_size: the least size, where sizes adapt; 1.
            target_batch_duration: sizes adapt so that a batch takes about so long.
        """
        if not isinstance(queue, AsyncQueue):
            queue = self._client.queue(queue, **options)
        consuming = consumer_options(
            self._options,
            batch_size=batch_size,
            batch_bytes=batch_bytes,
            batch_linger=batch_linger,
            batch_concurrency=batch_concurrency,
            min_batch_size=min_batch_size,
            target_batch_duration=target_batch_duration,
        )

        def register(handler: _B) -> _B:
            self._starts.append(
                lambda: _BatchCrew(self, queue, consuming, handler, batch_concurrency)
            )
            return handler

        return register

    async def run(self, *, signals: bool = True) -> DrainReport:
        """Works until `stop`, or the end of the client, and then until the handlers that run have
        ended. Answers with what became of the messages it had when it was to stop.

        On the main thread the first SIGTERM or SIGINT (Ctrl-C) stops it, the next one does what it
        did before; not with `signals=False`. Cancelled, it cancels the handlers: their messages go
        back unblamed.
        """
        loop = asyncio.get_running_loop()
        stopping = self._stopping = loop.create_future()
        stopped = self._stopped = loop.create_future()

        def end() -> None:
            loop.call_soon_threadsafe(self.stop)

        try:
            with on_end(end, wanted=signals):
                for start in self._starts:
                    self._crews.append(start())
                lanes = [lane.task for crew in self._crews for lane in crew.lanes]
                at_work = set(lanes)
                while at_work and not stopping.done():
                    waited_for = [stopping, *at_work]
                    done, _ = await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                    at_work -= done
                deadline = stopping.result() if stopping.done() else self._drain
                drained = await asyncio.gather(*(crew.drain(deadline) for crew in self._crews))
                await asyncio.gather(*lanes)
                report = sum(drained, DrainReport())
                stopped.set_result(report)
                return report
        finally:
            stopped.cancel()
            crews, self._crews = self._crews, []
            await asyncio.gather(*(crew.end() for crew in crews))

    def stop(self, deadline: float | timedelta | None = None) -> None:
        """Takes no more messages, and gives back what was fetched ahead. Handlers may go on for
        `deadline` seconds (the worker's `drain` unless said), then they are cancelled and their
        messages go back unblamed; `run` ends when all have ended.

        May be called from a handler; of another thread by `loop.call_soon_threadsafe`.
        """
        if self._stopping is not None and not self._stopping.done():
            self._stopping.set_result(self._drain if deadline is None else deadline)

    async def drain(self, deadline: float | timedelta | None = None) -> DrainReport:
        """Stops it, and waits for the end of `run`: answers with the same. Not for handlers, which
        would wait for themselves.
        """
        self.stop(deadline)
        return DrainReport() if self._stopped is None else await asyncio.shield(self._stopped)

    def pause(self) -> None:
        """Starts no handler until `resume`, also when it is yet to run: nothing is received, and
        what was fetched ahead goes back unblamed. Handlers that run go on. Again does nothing more.
        """
        self._paused = True
        for crew in self._crews:
            crew.consumer.pause()

    def resume(self) -> None:
        """Ends a pause."""
        self._paused = False
        for crew in self._crews:
            crew.consumer.resume()

    def reset_breaker(self) -> None:
        """Closes the breakers over the handlers of its queues by hand, and forgets what failed."""
        for crew in self._crews:
            crew.consumer.reset_breaker()

    def status(self) -> dict[str, ConsumerStatus]:
        """How it goes, by the names of queues; nothing when it does not run."""
        return {crew.queue.name: crew.consumer.status() for crew in self._crews}


class _Lane:
    """A task that handles one message after the other."""

    __slots__ = ("delivery", "interrupted", "task")

    task: asyncio.Task[None]

    def __init__(self) -> None:
        #: What its handler works on.
        self.delivery: AsyncDelivery | Batch[AsyncDelivery] | None = None
        #: Whether its handler was cancelled because of that.
        self.interrupted = False


class _Crew:
    """The lanes of one queue."""

    def __init__(
        self,
        worker: Worker,
        queue: AsyncQueue,
        options: ConsumerOptions,
        handler: Callable[..., object],
        lanes: int | None = None,
    ) -> None:
        self.queue = queue
        self.consumer: AsyncConsumer = queue.consume(**options)
        if worker._paused:
            self.consumer.pause()
        self._handler = handler
        self._classify = worker._classify
        self._on_cancel = worker._on_cancel
        self._over = False
        self.lanes = [_Lane() for _ in range(lanes or options.get("concurrency", 16))]
        self._is_async = inspect.iscoroutinefunction(handler)
        self._threads = (
            None if self._is_async else ThreadPoolExecutor(len(self.lanes), "queue_runtime")
        )
        for number, lane in enumerate(self.lanes):
            lane.task = asyncio.create_task(self._work(lane), name=f"{queue.name} {number}")
        self._watching = asyncio.create_task(self._watch(), name=f"{queue.name} watch")

    async def drain(self, deadline: float | timedelta) -> DrainReport:
        """Ends the consumer, and then the handlers that are not done in time."""
        report = await self.consumer.drain(deadline)
        self._interrupt()
        return report

    async def end(self) -> None:
        """Ends whatever is left of it."""
        self._over = True
        tasks = [self._watching, *(lane.task for lane in self.lanes)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        await self.consumer.close()

    async def _work(self, lane: _Lane) -> None:
        handled = 0
        async for delivery in self.consumer:
            if delivery.cancelled is None:
                await self._handle(lane, delivery)
            # Not to be held while the next one is waited for.
            del delivery
            handled += 1
            if handled % _TURN == 0:
                await asyncio.sleep(0)

    async def _handle(self, lane: _Lane, delivery: AsyncDelivery) -> None:
        try:
            await self._call(lane, delivery)
        except asyncio.CancelledError:
            if self._over:
                await _settle(delivery, delivery.release())
                raise
            await self._give_up(delivery)
        except Exception as error:
            if isinstance(error, Failure):
                _log.info("the handler of %r failed: %s", delivery, error)
            else:
                _log.exception("the handler of %r failed", delivery)
            if not delivery.settled:
                await _settle(delivery, failure_of(error, self._classify)._settle(delivery))
        else:
            if not delivery.settled:
                await _settle(delivery, delivery.ack())

    async def _give_up(self, delivery: AsyncDelivery) -> None:
        """Lets go of the message of a handler that was cancelled."""
        cause = delivery.cancelled
        if cause == "drained":
            # The drain has given it back.
            return
        settlement = delivery.nack(f"the handler was cancelled: {cause}")
        if cause is None:
            # By itself.
            await _settle(delivery, settlement)
            return
        with contextlib.suppress(QueueError):
            # It fails where the message is somebody else's by now: then it is not in hand any more.
            await settlement

    async def _call(self, lane: _Lane, delivery: AsyncDelivery | Batch[AsyncDelivery]) -> object:
        """Runs the handler, which may be interrupted meanwhile."""
        lane.delivery = delivery
        try:
            if self._is_async:
                return await self._handler(delivery)  # type: ignore[misc]
            return await self._call_in_thread(delivery)
        finally:
            lane.delivery = None
            if lane.interrupted:
                lane.interrupted = False
                # Python 3.10 does not count.
                uncancel = getattr(lane.task, "uncancel", None)
                if uncancel is not None:
                    uncancel()

    async def _call_in_thread(self, delivery: AsyncDelivery | Batch[AsyncDelivery]) -> object:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        called = loop.run_in_executor(self._threads, context.run, self._handler, delivery)
        try:
            return await asyncio.shield(called)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: its message stays in hand until it has ended, unless a
            # drain has given it back.
            if not called.cancelled() and delivery.cancelled != "drained":
                await asyncio.wait([called])
            raise

    async def _watch(self) -> None:
        """Cancels handlers that are to stop, and logs failing receives."""
        failure: str | None = None
        while True:
            try:
                await self.consumer.wait_changed()
            except ClosedError:
                return
            self._interrupt()
            error = self.consumer.status().failure
            before, failure = failure, None if error is None else str(error)
            if failure is not None and failure != before:
                _log.warning("receiving from %r fails: %s", self.queue.name, failure)

    def _interrupt(self) -> None:
        for lane in self.lanes:
            at_work = lane.delivery
            if at_work is None or lane.interrupted:
                continue
            cause = at_work.cancelled
            if cause is not None:
                lane.interrupted = True
                lane.task.cancel(cause)
            if isinstance(at_work, Batch):
                for delivery, why in at_work.newly_cancelled():
                    self._alarm(delivery, why)
            elif cause is not None:
                self._alarm(at_work, cause)

    def _alarm(self, delivery: AsyncDelivery, cause: str) -> None:
        _log.warning("the handler of %s is cancelled: %s", repr(delivery), cause)
        if self._on_cancel is not None:
            try:
                self._on_cancel(delivery, cause)
            except Exception:
                _log.exception("on_cancel failed")


class _BatchCrew(_Crew):
    """The lanes of one queue whose messages are handled in batches."""

    async def _work(self, lane: _Lane) -> None:
        while deliveries := await self.consumer.next_batch():
            await self._handle_all(lane, Batch(deliveries))
            # Not to be held while the next ones are waited for.
            del deliveries
            # Handlers that never wait would keep the event loop from everybody else.
            await asyncio.sleep(0)

    async def _handle_all(self, lane: _Lane, batch: Batch[AsyncDelivery]) -> None:
        try:
            settlements = ends(batch, await self._call(lane, batch), self._classify)
        except asyncio.CancelledError:
            if self._over:
                await self._settle_all(all_released(batch))
                raise
            failure = Failure.retry(f"the handler was cancelled: {batch.cancelled}")
            settlements = all_failed(batch, failure, self._classify)
        except Exception as error:
            if isinstance(error, Failure):
                _log.info("the handler of %d messages failed: %s", len(batch), error)
            else:
                _log.exception("the handler of %d messages failed", len(batch))
            settlements = all_failed(batch, error, self._classify)
        await self._settle_all(settlements)

    async def _settle_all(self, settlements: list[Settlement[AsyncDelivery]]) -> None:
        if not settlements:
            return
        try:
            results = await self.queue.settle(settlements)
        except Exception as error:
            _log.warning("%d messages were not settled: %s", len(settlements), error)
            return
        for settlement, result in zip(settlements, results, strict=True):
            if result.error is not None:
                _log.warning("%r was not settled: %s", settlement.delivery, result.error)


async def _settle(delivery: AsyncDelivery, settlement: Awaitable[None]) -> None:
    try:
        await settlement
    except Exception as error:
        # Most likely the lock ended before the handler: somebody else has the message now.
        _log.warning("%r was not settled: %s", delivery, error)
