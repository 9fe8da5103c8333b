"""Handlers at work, in threads."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from queue_runtime._native import SyncClient, SyncConsumer, SyncDelivery, SyncQueue
from queue_runtime.errors import QueueError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from queue_runtime._options import QueueOptions

_log = logging.getLogger("queue_runtime.worker")

_Handler = Callable[[SyncDelivery], object]
_H = TypeVar("_H", bound=_Handler)

#: Seconds until a receive that failed is tried again, unless its error says when.
_PAUSE = 1.0


class Worker:
    """Runs handlers on the messages of queues, each in a thread of its own.

        worker = qr.Worker(client, concurrency=16)

        @worker.handler("orders")
        def on_order(order: qr.Delivery) -> None:
            ...

        worker.run()

    When a handler returns, its message is acked; when it raises, it is nacked, and comes back as
    the queue's retry policy says until its budget is spent. Messages of one session are handled
    one at a time, in order.

    The lock of a message is that of its queue: choose one that is longer than its handler takes.

    Args:
        client: whose queues these are.
        concurrency: handlers that run at one time, for each queue.
    """

    def __init__(self, client: SyncClient, *, concurrency: int = 16) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self._client = client
        self._concurrency = concurrency
        self._handlers: list[tuple[SyncQueue, _Handler]] = []
        self._consumers: list[SyncConsumer] = []
        self._stopped = threading.Event()
        self._failure: BaseException | None = None

    def handler(
        self, queue: str | SyncQueue, **options: Unpack[QueueOptions]
    ) -> Callable[[_H], _H]:
        """Registers the function below as the handler of a queue, opened with these options."""
        if not isinstance(queue, SyncQueue):
            queue = self._client.queue(queue, **options)

        def register(handler: _H) -> _H:
            if inspect.iscoroutinefunction(handler):
                raise TypeError("an async handler needs queue_runtime.Worker")
            self._handlers.append((queue, handler))
            return handler

        return register

    def run(self) -> None:
        """Works until `stop`, and then until the handlers that run have ended.

        Ends with the error when messages cannot be received for a reason that will not pass. Ctrl-C
        stops it: the handlers that run are waited for.
        """
        self._stopped.clear()
        self._failure = None
        threads = [
            threading.Thread(
                target=self._work, args=(queue, handler), name=f"{queue.name} {number}"
            )
            for queue, handler in self._handlers
            for number in range(self._concurrency)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self.stop()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Takes no more messages; `run` ends when the handlers that run have ended.

        May be called from a handler, from another thread, or in the handler of a signal.
        """
        self._stopped.set()
        for consumer in list(self._consumers):
            consumer.close()

    def _work(self, queue: SyncQueue, handler: _Handler) -> None:
        """Handles one message after the other."""
        while not self._stopped.is_set():
            consumer = queue.consume()
            self._consumers.append(consumer)
            if self._stopped.is_set():
                # It was stopped meanwhile, and may not have seen this consumer.
                consumer.close()
            try:
                for delivery in consumer:
                    self._handle(delivery, handler)
            except QueueError as error:
                if not error.retryable:
                    self._failure = error
                    self.stop()
                    return
                _log.warning("receiving from %r failed and is tried again: %s", queue.name, error)
                self._stopped.wait(_PAUSE if error.retry_after is None else error.retry_after)
            finally:
                self._consumers.remove(consumer)

    def _handle(self, delivery: SyncDelivery, handler: _Handler) -> None:
        failed = False
        try:
            with delivery:
                try:
                    handler(delivery)
                except Exception:
                    failed = True
                    _log.exception("the handler of %r failed", delivery)
                    raise
        except Exception as error:
            # Most likely the lock ended before the handler: somebody else has the message now.
            if not failed:
                _log.warning("%r was not settled: %s", delivery, error)
