"""Handlers at work, in threads."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from queue_runtime._batch import Batch, Outcome, all_failed, all_released, consumer_options, ends
from queue_runtime._data import ConsumerStatus, DrainReport, Settlement
from queue_runtime._failure import Classify, Failure, failure_of
from queue_runtime._native import SyncClient, SyncConsumer, SyncDelivery, SyncQueue
from queue_runtime._signals import on_end
from queue_runtime.errors import ClosedError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from queue_runtime._options import ConsumerOptions, QueueOptions

_log = logging.getLogger("queue_runtime.worker")

_Handler = Callable[[SyncDelivery], object]
_H = TypeVar("_H", bound=_Handler)
_BatchHandler = Callable[[list[SyncDelivery]], Outcome]
_B = TypeVar("_B", bound=_BatchHandler)
_OnCancel = Callable[[SyncDelivery, str], object]

#: Seconds that handlers which are to stop may take to do so, before they are left behind.
_GRACE = 1.0


class Worker:
    """Runs handlers on the messages of queues, each in a thread of its own.

        worker = qr.Worker(client, concurrency=16)

        @worker.handler("orders")
        def on_order(order: qr.Delivery) -> None:
            ...

        worker.run()

    When a handler returns, its message is acked; when it raises, it is nacked, and comes back as
    the queue's retry policy says until its budget is spent. A handler that knows better raises a
    `Failure`. Messages of one session are handled one at a time, in order.

    The engine keeps the lock of a message while its handler runs. Should it be lost all the same,
    or the handler take longer than `max_lock_renewal`, `delivery.cancelled` says so: a thread
    cannot be cancelled.

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
        client: SyncClient,
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
        # The one thing that a signal may interrupt itself at, and still do.
        self._stopping: SimpleQueue[float | timedelta] = SimpleQueue()
        self._stopped: Future[DrainReport] | None = None

    def handler(
        self, queue: str | SyncQueue, **options: Unpack[QueueOptions]
    ) -> Callable[[_H], _H]:
        """Registers the function below as the handler of a queue, opened with these options."""
        if not isinstance(queue, SyncQueue):
            queue = self._client.queue(queue, **options)

        def register(handler: _H) -> _H:
            if inspect.iscoroutinefunction(handler):
                raise TypeError("an async handler needs queue_runtime.Worker")
            self._starts.append(lambda: _Crew(self, queue, self._options, handler))
            return handler

        return register

    def batch_handler(
        self,
        queue: str | SyncQueue,
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
        lock of one is lost, `cancelled` of that delivery says so, and `on_cancel` is told.

        Args:
            queue: which queue, opened with the options.
            batch_size: messages of a batch, at most; as many are handed over at once.
            batch_bytes: their bytes, at most (one message may have more).
            batch_linger: how long a batch waits for more, from its first message on.
            batch_concurrency: batches that are handled at one time.
            min_batch_size: the least size, where sizes adapt; 1.
            target_batch_duration: sizes adapt so that a batch takes about so long.
        """
        if not isinstance(queue, SyncQueue):
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
            if inspect.iscoroutinefunction(handler):
                raise TypeError("an async handler needs queue_runtime.Worker")
            self._starts.append(
                lambda: _BatchCrew(self, queue, consuming, handler, batch_concurrency)
            )
            return handler

        return register

    def run(self, *, signals: bool = True) -> DrainReport:
        """Works until `stop`, or the end of the client, and then until the handlers that run have
        ended. Answers with what became of the messages it had when it was to stop.

        On the main thread the first SIGTERM or SIGINT (Ctrl-C) stops it, the next one does what it
        did before; not with `signals=False`. A handler that goes on for more than a second after it
        was to stop is left behind: it ends with the program.
        """
        stopping = self._stopping = SimpleQueue()
        stopped = self._stopped = Future()
        report = None
        try:
            with on_end(self.stop, wanted=signals):
                for start in self._starts:
                    self._crews.append(start())
                threads = [thread for crew in self._crews for thread in crew.threads]
                last = _Countdown(len(threads), lambda: stopping.put(self._drain))
                for crew in self._crews:
                    crew.start(last)
                if threads:
                    deadline = stopping.get()
                    report = _drain(self._crews, deadline)
                    _join(threads)
        finally:
            crews, self._crews = self._crews, []
            for crew in crews:
                crew.consumer.close()
            report = DrainReport() if report is None else report
            stopped.set_result(report)
        return report

    def stop(self, deadline: float | timedelta | None = None) -> None:
        """Takes no more messages, and gives back what was fetched ahead. Handlers may go on for
        `deadline` seconds (the worker's `drain` unless said), then they are cancelled and their
        messages go back unblamed; `run` ends when all have ended.

        May be called from a handler, from another thread, or in the handler of a signal.
        """
        self._stopping.put(self._drain if deadline is None else deadline)

    def drain(self, deadline: float | timedelta | None = None) -> DrainReport:
        """Stops it, and waits for the end of `run`: answers with the same. Not for handlers, which
        would wait for themselves.
        """
        self.stop(deadline)
        return DrainReport() if self._stopped is None else self._stopped.result()

    def pause(self) -> None:
        """Starts no handler until `resume`, also when it is yet to run: nothing is received, and
        what was fetched ahead goes back unblamed. Handlers that run go on. Again does nothing more.
        """
        self._paused = True
        for crew in list(self._crews):
            crew.consumer.pause()

    def resume(self) -> None:
        """Ends a pause."""
        self._paused = False
        for crew in list(self._crews):
            crew.consumer.resume()

    def reset_breaker(self) -> None:
        """Closes the breakers over the handlers of its queues by hand, and forgets what failed."""
        for crew in list(self._crews):
            crew.consumer.reset_breaker()

    def status(self) -> dict[str, ConsumerStatus]:
        """How it goes, by the names of queues; nothing when it does not run."""
        return {crew.queue.name: crew.consumer.status() for crew in list(self._crews)}


class _Countdown:
    """Does something when the last of several has ended."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._left = count
        self._then = then
        self._lock = threading.Lock()

    def end(self) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._then()


def _drain(crews: list[_Crew], deadline: float | timedelta) -> DrainReport:
    """Drains all of them at one time."""
    if len(crews) == 1:
        return crews[0].consumer.drain(deadline)
    with ThreadPoolExecutor(len(crews), "queue_runtime drain") as pool:
        return sum(pool.map(lambda crew: crew.consumer.drain(deadline), crews), DrainReport())


def _join(threads: list[threading.Thread]) -> None:
    until = time.monotonic() + _GRACE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    left = sum(thread.is_alive() for thread in threads)
    if left:
        _log.warning("%d handlers go on after they were cancelled, and are left behind", left)


class _Lane:
    """A thread that handles one message after the other."""

    __slots__ = ("alarmed", "delivery")

    def __init__(self) -> None:
        #: What its handler works on.
        self.delivery: SyncDelivery | Batch[SyncDelivery] | None = None
        #: What it worked on when the alarm was raised.
        self.alarmed: SyncDelivery | None = None


class _Crew:
    """The threads of one queue."""

    def __init__(
        self,
        worker: Worker,
        queue: SyncQueue,
        options: ConsumerOptions,
        handler: Callable[..., object],
        lanes: int | None = None,
    ) -> None:
        self.queue = queue
        self.consumer: SyncConsumer = queue.consume(**options)
        if worker._paused:
            self.consumer.pause()
        self._handler = handler
        self._classify = worker._classify
        self._on_cancel = worker._on_cancel
        self._lanes = [_Lane() for _ in range(lanes or options.get("concurrency", 16))]
        # Daemons, since a handler that does not stop must not keep the program.
        self.threads = [
            threading.Thread(
                target=self._run, args=(lane,), name=f"{queue.name} {number}", daemon=True
            )
            for number, lane in enumerate(self._lanes)
        ]
        self._watching = threading.Thread(
            target=self._watch, name=f"{queue.name} watch", daemon=True
        )

    def start(self, last: _Countdown) -> None:
        self._last = last
        for thread in (*self.threads, self._watching):
            thread.start()

    def _run(self, lane: _Lane) -> None:
        try:
            self._work(lane)
        except ClosedError:
            _log.debug("the runtime of %r was shut down", self.queue.name)
        finally:
            self._last.end()

    def _work(self, lane: _Lane) -> None:
        for delivery in self.consumer:
            lane.delivery = delivery
            if delivery.cancelled is None:
                self._handle(delivery)
            # Not to be held while the next one is waited for.
            lane.delivery = lane.alarmed = None
            del delivery

    def _handle(self, delivery: SyncDelivery) -> None:
        try:
            self._handler(delivery)
        except Exception as error:
            if isinstance(error, Failure):
                _log.info("the handler of %r failed: %s", delivery, error)
            else:
                _log.exception("the handler of %r failed", delivery)
            if not delivery.settled:
                _settle(delivery, failure_of(error, self._classify)._settle)
        except BaseException:
            # It ends its thread, which is no fault of the message.
            _settle(delivery, SyncDelivery.release)
            raise
        else:
            if not delivery.settled:
                _settle(delivery, SyncDelivery.ack)

    def _watch(self) -> None:
        """Raises the alarm for handlers that are to stop, and logs failing receives."""
        failure: str | None = None
        while True:
            try:
                self.consumer.wait_changed()
            except ClosedError:
                return
            self._alarm()
            error = self.consumer.status().failure
            before, failure = failure, None if error is None else str(error)
            if failure is not None and failure != before:
                _log.warning("receiving from %r fails: %s", self.queue.name, failure)

    def _alarm(self) -> None:
        for lane in self._lanes:
            at_work = lane.delivery
            if isinstance(at_work, Batch):
                for delivery, why in at_work.newly_cancelled():
                    self._tell(delivery, why)
                continue
            cause = None if at_work is None else at_work.cancelled
            if at_work is None or cause is None or lane.alarmed is at_work:
                continue
            lane.alarmed = at_work
            self._tell(at_work, cause)

    def _tell(self, delivery: SyncDelivery, cause: str) -> None:
        _log.warning("the handler of %r is to stop: %s", delivery, cause)
        if self._on_cancel is not None:
            try:
                self._on_cancel(delivery, cause)
            except Exception:
                _log.exception("on_cancel failed")


class _BatchCrew(_Crew):
    """The threads of one queue whose messages are handled in batches."""

    def _work(self, lane: _Lane) -> None:
        while deliveries := self.consumer.next_batch():
            lane.delivery = batch = Batch(deliveries)
            self._handle_all(batch)
            # Not to be held while the next ones are waited for.
            lane.delivery = None
            del batch, deliveries

    def _handle_all(self, batch: Batch[SyncDelivery]) -> None:
        try:
            settlements = ends(batch, self._handler(batch), self._classify)
        except Exception as error:
            if isinstance(error, Failure):
                _log.info("the handler of %d messages failed: %s", len(batch), error)
            else:
                _log.exception("the handler of %d messages failed", len(batch))
            settlements = all_failed(batch, error, self._classify)
        except BaseException:
            # It ends its thread, which is no fault of the messages.
            self._settle_all(all_released(batch))
            raise
        self._settle_all(settlements)

    def _settle_all(self, settlements: list[Settlement[SyncDelivery]]) -> None:
        if not settlements:
            return
        try:
            results = self.queue.settle(settlements)
        except Exception as error:
            _log.warning("%d messages were not settled: %s", len(settlements), error)
            return
        for settlement, result in zip(settlements, results, strict=True):
            if result.error is not None:
                _log.warning("%r was not settled: %s", settlement.delivery, result.error)


def _settle(delivery: SyncDelivery, how: Callable[[SyncDelivery], object]) -> None:
    try:
        how(delivery)
    except Exception as error:
        # Most likely the lock ended before the handler: somebody else has the message now.
        _log.warning("%r was not settled: %s", delivery, error)
