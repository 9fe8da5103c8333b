"""Fixtures for pytest: a fresh engine for each test, and its clock. They are there where this
package is installed; nothing has to be imported.

    async def test_a_reminder_comes_after_an_hour(qrt, qrt_clock):
        reminders = qrt.queue("reminders")
        await reminders.send("wake up", delay=3600)
        assert await reminders.receive_one(0) is None
        qrt_clock.advance(3600)
        assert (await reminders.receive_one(0)).text() == "wake up"

Time stands still until `qrt_clock.advance` moves it: locks, delays, retries and waits follow it, so
that no test has to sleep. A receive of a queue that stays empty waits for ever there: look once,
with `wait=0`, where nothing is expected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from queue_runtime import Client, Runtime, sync

#: The engine of a test: all clients of its runtime share it.
URL = "memory:test"


@pytest.fixture
def qrt_clock() -> Iterator[Runtime]:
    """The clock of the test's engine: `advance(seconds)`, and `now()`. It is the engine's runtime,
    for who connects to it in a way of their own: `connect(testing.URL, runtime=qrt_clock)`.
    """
    # Not before it is asked for: tests that do not use it need not load the engine.
    from queue_runtime import Runtime

    runtime = Runtime(virtual_clock=True, worker_threads=1)
    yield runtime
    runtime.shutdown()


@pytest.fixture
def qrt(qrt_clock: Runtime) -> Client:
    """A client for asyncio, with an engine of the test's own."""
    from queue_runtime import connect

    # This engine opens at once: no event loop is needed, and any plugin may run the test's.
    try:
        next(connect(URL, runtime=qrt_clock).__await__())
    except StopIteration as opened:
        client: Client = opened.value
        return client
    raise RuntimeError("memory: did not open at once")


@pytest.fixture
def qrt_sync(qrt_clock: Runtime) -> Iterator[sync.Client]:
    """A client for threads, with the same engine as `qrt`."""
    from queue_runtime import sync

    with sync.connect(URL, runtime=qrt_clock) as client:
        yield client
