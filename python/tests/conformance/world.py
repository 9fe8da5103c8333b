"""A scenario while it runs: its clients and queues, and what later steps call by name."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from queue_runtime import QueueError, Runtime, connect
from queue_runtime.errors import AlreadyExistsError

from .check import Context
from .scenarios import Scenario, Step, Table, Wrong
from .target import Target

#: How long anything may take in real time before its step has failed.
PATIENCE = 30.0


class TooLate(Exception):
    """A send was done before it could be cancelled: nothing was shown."""


class Background:
    """A verb that goes on while later steps run. It moves only when it was woken: one that is
    forgotten stays pending and is found out."""

    def __init__(self, step: Step, call: Any) -> None:
        self.step = step
        self._call = call
        #: What it waits for.
        self._future = self._step(lambda: call.send(None))

    def _step(self, step: Callable[[], Any]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            return cast("asyncio.Future[None]", step())
        except StopIteration as end:
            self._call = end.value
        except StopAsyncIteration:
            self._call = None
        except (QueueError, asyncio.CancelledError) as error:
            self._call = error
        future.set_result(None)
        return future

    def is_pending(self) -> bool:
        return not self._future.done()

    async def join(self) -> Any:
        """What came of it."""
        while hasattr(self._call, "send"):
            await asyncio.wait([self._future])
            self._future = self._step(lambda: self._call.send(None))
        if isinstance(self._call, BaseException):
            raise self._call
        return self._call

    async def cancel(self) -> None:
        """Ends it, as a task does that is cancelled: before anything else has its turn."""
        if hasattr(self._call, "throw"):
            self._future = self._step(lambda: self._call.throw(asyncio.CancelledError()))
        with contextlib.suppress(QueueError, asyncio.CancelledError):
            await self.join()


async def awaited(value: Any) -> Any:
    """What a verb gives: of `queue_runtime` it is awaited, of `queue_runtime.sync` it is there."""
    try:
        return await value if inspect.isawaitable(value) else value
    except StopAsyncIteration:
        return None


class World:
    """A fresh runtime, with an empty store, and what a scenario has there."""

    def __init__(
        self, api: ModuleType, target: Target, scenario: Scenario, *, virtual_clock: bool
    ) -> None:
        self.api = api
        self.target = target
        self.store = target.store()
        self.scenario = scenario
        self.virtual_clock = virtual_clock
        # Of one thread, background work is done in its order: `pending` sees all that is due.
        self.runtime = Runtime(virtual_clock=virtual_clock, worker_threads=1, **scenario.runtime)
        self.context = Context(self.runtime.now(), self.store.queue_name)
        self.clients: dict[str, Any] = {}
        self.options: dict[str, Table] = {}
        self.queues: dict[tuple[str, str], Any] = {}
        self.deliveries: dict[str, Any] = {}
        self.sessions: dict[str, Any] = {}
        #: Consumers and workers.
        self.consumers: dict[str, Any] = {}
        #: Calls of handlers that go on.
        self.calls: list[Any] = []
        self.producers: dict[str, Any] = {}
        self.background: dict[str, Background] = {}
        #: Where nothing ever comes, of a client of its own: whichever API is looked at.
        self._turn: Any = None
        #: Ids that no sender chose.
        self.made: set[str] = set()
        #: Where listings go on, by the body of what was listed.
        self.cursors: dict[bytes, int] = {}

    async def close(self) -> None:
        for left in self.background.values():
            await left.cancel()
        for call in self.calls:
            call.failed.cancel()
        for consumer in self.consumers.values():
            if hasattr(consumer, "end"):
                await consumer.end()
        self.runtime.shutdown(PATIENCE)
        self.store.remove()

    async def client(self, name: str) -> Any:
        """The client of a name, opened at its first use."""
        if name not in self.clients:
            self.clients[name] = await awaited(
                self.api.connect(self.store.url, runtime=self.runtime)
            )
        return self.clients[name]

    async def connect(self, step: Step) -> None:
        """Opens a client in a way of its own; its queues are opened anew."""
        url = step.table.get("url", self.store.url)
        if "url_options" in step.table:
            url += ("&" if "?" in url else "?") + step.table["url_options"]
        require = step.table.get("require", ())
        connecting = self.api.connect(url, require=require, runtime=self.runtime)
        self.clients[step.argument] = await awaited(connecting)
        self.forget_queues(step.argument)

    def configure(self, step: Step) -> None:
        """From here on this client opens its queues anew, with these options."""
        self.options[step.argument] = step.table["options"]
        self.forget_queues(step.argument)

    def forget_queues(self, client: str) -> None:
        self.queues = {key: queue for key, queue in self.queues.items() if key[0] != client}

    async def queue(self, step: Step) -> Any:
        """The queue of a step, opened, and created, at its first use."""
        client, name = step.table.get("client", "a"), step.table.get("queue", "jobs")
        if (client, name) not in self.queues:
            options = self.options.get(client, self.scenario.options)
            opener = await self.client(client)
            opened = opener.queue(self.store.queue_name(name), **options)
            # Where its first use does not.
            by_itself = opener.capabilities().supports("create_at_first_use")
            if not by_itself and options.get("create") != "never":
                with contextlib.suppress(AlreadyExistsError):
                    await awaited(opened.create())
            self.queues[client, name] = opened
        return self.queues[client, name]

    async def turn(self) -> None:
        """Lets the runtime do what is due, and the event loop hear of it."""
        # A wait that is cancelled ends on the runtime's one thread, after all that was woken
        # before.
        if self._turn is None:
            client = await connect(self.store.url, runtime=self.runtime)
            self._turn = client.queue("turn")
        waiting = asyncio.create_task(self._turn.receive_one(PATIENCE))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    async def check_unsent(self, step: Step) -> None:
        """Of a send that was cancelled: it had not been done before."""
        if step.verb == "send":
            peeked = await awaited((await self.queue(step)).peek(100))
            if step.argument.encode() in [message.body for message in peeked]:
                raise TooLate

    def named(self, things: dict[str, Any], name: str) -> Any:
        if name not in things:
            raise Wrong(f"nothing is named {name!r}")
        return things[name]

    def cursor(self, body: str | None) -> int:
        """Where a listing goes on; 0 from the first."""
        if body is None:
            return 0
        if body.encode() not in self.cursors:
            raise Wrong(f"nothing was listed with the body {body!r}")
        return self.cursors[body.encode()]
