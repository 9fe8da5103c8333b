"""Workers: the calls of a handler are seen by the scenario, which says how each ends."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError as NotYet
from typing import TYPE_CHECKING, Any

import queue_runtime
from queue_runtime import Failure

from . import check
from .consumers import OPTIONS, eventually, options, same
from .scenarios import Step, Wrong
from .values import body, span
from .world import World

if TYPE_CHECKING:
    from typing_extensions import Self

_BATCHES: dict[str, Callable[[Any], Any]] = {
    "batch_size": same,
    "batch_bytes": same,
    "batch_linger": span,
    "batch_concurrency": same,
    "min_batch_size": same,
    "target_batch_duration": span,
}

#: How often a thread looks whether it is to stop.
_LOOK = 0.01


class Call:
    """A call of a handler. It ends when it is told the positions of the messages that failed."""

    def __init__(self, messages: list[Any]) -> None:
        self.messages = messages
        self.failed: Future[list[int]] = Future()

    def place(self, text: str) -> int | None:
        """Where the message with this body is."""
        bodies = [message.body for message in self.messages]
        return bodies.index(body(text)) if body(text) in bodies else None


class _AtWork:
    """A worker that runs, looked at as a consumer is."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    async def started(self, running: asyncio.Future[Any]) -> Self:
        """Waits until it has begun, or could not."""

        def look() -> None:
            if not self.worker.status() and not running.done():
                raise Wrong("it does not begin")

        self._running = running
        await eventually(look)
        if running.done():
            await running
        return self

    async def end(self) -> None:
        self.worker.stop(0)
        await asyncio.wait([self._running])

    def called(self, messages: list[Any]) -> Call:
        """Lets the scenario see a call, on whichever thread."""
        call = Call(messages)
        self._loop.call_soon_threadsafe(self.calls.put_nowait, call)
        return call

    def status(self) -> Any:
        (status,) = self.worker.status().values()
        return status

    def drain(self, deadline: float) -> Any:
        return self.worker.drain(deadline)

    def pause(self) -> None:
        self.worker.pause()

    def resume(self) -> None:
        self.worker.resume()

    def reset_breaker(self) -> None:
        self.worker.reset_breaker()


class _InTasks(_AtWork):
    """With handlers on the event loop."""

    async def handle(self, message: Any) -> None:
        for failure in (await self.handle_batch([message])).values():
            raise failure

    async def handle_batch(self, messages: list[Any]) -> dict[int, Exception]:
        return _outcome(await asyncio.wrap_future(self.called(messages).failed))

    async def start(self) -> Self:
        return await self.started(asyncio.create_task(self.worker.run(signals=False)))


class _InThreads(_AtWork):
    """With handlers in threads."""

    def handle(self, message: Any) -> None:
        for failure in self.handle_batch([message]).values():
            raise failure

    def handle_batch(self, messages: list[Any]) -> dict[int, Exception]:
        call = self.called(messages)
        # A thread cannot be cancelled: it looks.
        while any(message.cancelled is None for message in messages):
            try:
                return _outcome(call.failed.result(_LOOK))
            except NotYet:
                pass
        return {}

    async def start(self) -> Self:
        run = functools.partial(self.worker.run, signals=False)
        return await self.started(self._loop.run_in_executor(None, run))


def _outcome(failed: list[int]) -> dict[int, Exception]:
    return {position: Failure.retry("as the scenario says") for position in failed}


def work(world: World, queue: Any, step: Step) -> Any:
    """Starts a worker."""
    client = world.clients[step.table.get("client", "a")]
    kind = _InTasks if world.api is queue_runtime else _InThreads
    at_work = kind(world.api.Worker(client, **options(step, OPTIONS)))
    batches = options(step, _BATCHES)
    if batches:
        at_work.worker.batch_handler(queue, **batches)(at_work.handle_batch)
    else:
        at_work.worker.handler(queue)(at_work.handle)
    return at_work.start()


def prepare(world: World, step: Step) -> Callable[[], Any]:
    """The call that a step makes."""
    if step.verb == "return":
        return lambda: _return(world, step)
    at_work = world.named(world.consumers, step.argument)
    return lambda: at_work.calls.get()


def called(world: World, step: Step, call: Call) -> None:
    """Fails unless a call is as expected; keeps it until it is to end."""
    if "count" in step.table:
        check.equal("the number of messages", step.table["count"], len(call.messages))
    if "expect" in step.table:
        check.seen(step.table["expect"], call.messages, False, world.context)
    world.calls.append(call)


def _return(world: World, step: Step) -> None:
    for call in world.calls:
        if call.place(step.argument) is not None:
            break
    else:
        raise Wrong(f"no call has the message {step.argument!r}")
    world.calls.remove(call)
    failed = [call.place(text) for text in step.table.get("failed", [])]
    if call.failed.cancelled() or None in failed:
        raise Wrong("the handler was cancelled, or what failed is not its message")
    call.failed.set_result(failed)
