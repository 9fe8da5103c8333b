"""Handlers at work, on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from queue_runtime._native import AsyncClient, AsyncConsumer, AsyncDelivery, AsyncQueue
from queue_runtime.errors import QueueError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from queue_runtime._options import QueueOptions

_log = logging.getLogger("queue_runtime.worker")

_Handler = Callable[[AsyncDelivery], Awaitable[object]] | Callable[[AsyncDelivery], object]
_H = TypeVar("_H", bound=_Handler)

#: Seconds until a receive that failed is tried again, unless its error says when.
_PAUSE = 1.0


class Worker:
    """Runs handlers on the messages of queues, several at a time.

        worker = qr.Worker(client, concurrency=16)

        @worker.handler("orders")
        async def on_order(order: qr.Delivery) -> None:
            ...

        await worker.run()

    When a handler returns, its message is acked; when it raises, it is nacked, and comes back as
    the queue's retry policy says until its budget is spent. Messages of one session are handled
    one at a time, in order. Functions that are not `async` run in threads.

    The lock of a message is that of its queue: choose one that is longer than its handler takes.

    Args:
        client: whose queues these are.
        concurrency: handlers that run at one time, for each queue.
    """

    def __init__(self, client: AsyncClient, *, concurrency: int = 16) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self._client = client
        self._concurrency = concurrency
        self._handlers: list[tuple[AsyncQueue, _Handler]] = []
        self._consumers: list[AsyncConsumer] = []
        self._stopped = False
        self._threads: ThreadPoolExecutor | None = None

    def handler(
        self, queue: str | AsyncQueue, **options: Unpack[QueueOptions]
    ) -> Callable[[_H], _H]:
        """Registers the function below as the handler of a queue, opened with these options."""
        if not isinstance(queue, AsyncQueue):
            queue = self._client.queue(queue, **options)

        def register(handler: _H) -> _H:
            self._handlers.append((queue, handler))
            return handler

        return register

    async def run(self) -> None:
        """Works until `stop`, and then until the handlers that run have ended.

        Ends with the error when messages cannot be received for a reason that will not pass.
        Cancelled, it cancels the handlers: their messages go back unblamed.
        """
        self._stopped = False
        threads = sum(not inspect.iscoroutinefunction(handler) for _, handler in self._handlers)
        if threads:
            self._threads = ThreadPoolExecutor(threads * self._concurrency, "queue_runtime")
        tasks = [
            asyncio.create_task(self._work(queue, handler), name=f"{queue.name} {number}")
            for queue, handler in self._handlers
            for number in range(self._concurrency)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._threads is not None:
                self._threads.shutdown(wait=False)

    def stop(self) -> None:
        """Takes no more messages; `run` ends when the handlers that run have ended.

        May be called from a handler, or by a signal:
        `loop.add_signal_handler(signal.SIGTERM, worker.stop)`.
        """
        self._stopped = True
        for consumer in self._consumers:
            consumer.close()

    async def _work(self, queue: AsyncQueue, handler: _Handler) -> None:
        """Handles one message after the other."""
        while not self._stopped:
            consumer = queue.consume()
            self._consumers.append(consumer)
            try:
                async for delivery in consumer:
                    await self._handle(delivery, handler)
            except QueueError as error:
                if not error.retryable:
                    raise
                _log.warning("receiving from %r failed and is tried again: %s", queue.name, error)
                await asyncio.sleep(_PAUSE if error.retry_after is None else error.retry_after)
            finally:
                self._consumers.remove(consumer)

    async def _handle(self, delivery: AsyncDelivery, handler: _Handler) -> None:
        failed = False
        try:
            async with delivery:
                try:
                    await self._call(delivery, handler)
                except Exception:
                    failed = True
                    _log.exception("the handler of %r failed", delivery)
                    raise
        except Exception as error:
            # Most likely the lock ended before the handler: somebody else has the message now.
            if not failed:
                _log.warning("%r was not settled: %s", delivery, error)

    async def _call(self, delivery: AsyncDelivery, handler: _Handler) -> None:
        if inspect.iscoroutinefunction(handler):
            await handler(delivery)
            return
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        called = loop.run_in_executor(self._threads, context.run, handler, delivery)
        try:
            await asyncio.shield(called)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: its message stays in hand until it has ended.
            if not called.cancelled():
                await asyncio.wait([called])
            raise
