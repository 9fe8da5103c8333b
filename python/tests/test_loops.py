"""Several event loops, of several kinds, one after the other and at one time."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
import weakref

import pytest
import uvloop
from conftest import PATIENCE

import queue_runtime as qr
from queue_runtime import sync

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(new_loop, coroutine):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(coroutine)


async def ping(queue: qr.Queue, text: str) -> str:
    """Waits for a message that comes after it has begun to wait."""
    waiting = asyncio.create_task(queue.receive_one(PATIENCE))
    await asyncio.sleep(0)
    await queue.send(text)
    delivery = await waiting
    await delivery.ack()
    return delivery.text()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_one_client_serves_one_loop_after_the_other(new_loop, qrt):
    queue = qrt.queue("jobs")
    for number in range(10):
        assert run(new_loop, ping(queue, str(number))) == str(number)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_loops_in_several_threads_share_a_client(new_loop, qrt):
    queues = [qrt.queue(f"jobs-{number}") for number in range(4)]
    seen = []

    async def many(queue: qr.Queue) -> None:
        for number in range(50):
            seen.append(await ping(queue, str(number)))

    threads = [threading.Thread(target=run, args=(new_loop, many(queue))) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 200


@pytest.mark.parametrize("new_loop", LOOPS)
def test_many_operations_end_at_one_time(new_loop, qrt):
    async def main() -> None:
        queue = qrt.queue("jobs")
        waiting = [asyncio.create_task(queue.receive_one(PATIENCE)) for _ in range(1000)]
        await asyncio.sleep(0)
        await queue.send_many([str(number) for number in range(1000)])
        texts = [delivery.text() for delivery in await asyncio.gather(*waiting)]
        assert sorted(texts, key=int) == [str(number) for number in range(1000)]

    run(new_loop, main())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_loop_that_is_closed_leaves_nothing_behind(new_loop, qrt):
    queue = qrt.queue("jobs")
    loop = new_loop()

    async def wait() -> None:
        await queue.receive_one(PATIENCE)

    waiting = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    before = _descriptors()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop.call_exception_handler = lambda context: None
        loop.close()
        gone = weakref.ref(waiting)
        # The next loop that waits finds the closed one.
        assert run(new_loop, ping(queue, "x")) == "x"
        del waiting, loop
        gc.collect()
    assert gone() is None
    assert run(new_loop, ping(queue, "y")) == "y"
    assert _descriptors() <= before


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_runtime_that_goes_is_watched_no_more(new_loop):
    async def main() -> None:
        before = None
        for _ in range(20):
            runtime = qr.Runtime(virtual_clock=True, worker_threads=1)
            client = await qr.connect("memory:", runtime=runtime)
            assert await ping(client.queue("jobs"), "x") == "x"
            runtime.shutdown()
            del runtime, client
            gc.collect()
            if before is None:
                before = _descriptors()
        assert _descriptors() <= before

    run(new_loop, main())


def test_a_runtime_may_go_in_another_thread_than_its_loop(qrt_clock):
    runtime = qr.Runtime(virtual_clock=True, worker_threads=1)
    client = sync.connect("memory:shared", runtime=runtime)
    held = [runtime, client]
    del runtime, client

    async def main() -> None:
        client = await qr.connect("memory:shared", runtime=held[0])
        assert await ping(client.queue("jobs"), "x") == "x"
        del client
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=lambda: (held.clear(), loop.call_soon_threadsafe(gone.set))).start()
        await gone.wait()
        # The loop still works: nothing stale is watched.
        reader, writer = os.pipe()
        readable = asyncio.Event()
        loop.add_reader(reader, readable.set)
        os.write(writer, b"x")
        await asyncio.wait_for(readable.wait(), PATIENCE)
        loop.remove_reader(reader)
        os.close(reader)
        os.close(writer)

    asyncio.run(main(), debug=True)


def test_what_ends_at_once_needs_no_loop(qrt):
    queue = qrt.queue("jobs")
    assert list(queue.send("x").__await__()) == []
    call = queue.receive_one(0)
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    assert ended.value.value.text() == "x"
    with pytest.raises(RuntimeError, match="no running event loop"):
        queue.receive_one(PATIENCE).send(None)


def _descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
