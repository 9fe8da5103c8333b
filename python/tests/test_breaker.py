"""Consumers that are held back: by their breaker, by hand, by the memory of the process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from conftest import PATIENCE, until, until_in_threads

import queue_runtime as qr
from queue_runtime import errors, sync

PAUSE = 60


async def test_a_breaker_opens_tries_one_and_is_closed_by_hand(qrt, qrt_clock):
    queue = qrt.queue("jobs", retry="none")
    await queue.send_many(["a", "b", "c"])
    async with queue.consume(breaker="1,60s,2") as consumer:
        changed = asyncio.ensure_future(consumer.wait_changed())
        first = await anext(consumer)
        second = await anext(consumer)
        await first.nack()
        status = consumer.status()
        assert status.breaker == "open"
        assert status.open_until == qrt_clock.now() + timedelta(seconds=PAUSE)
        await asyncio.wait_for(changed, PATIENCE)
        # In hand when it opened: it comes back unblamed.
        await second.nack("not now")
        qrt_clock.advance(PAUSE)
        await until(lambda: consumer.status().breaker == "half_open")
        probe = await anext(consumer)
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0)
        assert not waiting.done()
        await probe.ack()
        assert consumer.status().breaker == "half_open"
        consumer.reset_breaker()
        assert consumer.status().breaker == "closed"
        seen = [await waiting, await anext(consumer)]
        attempts = {d.text(): d.attempt for d in [probe, *seen]}
        assert attempts == {"a": 2, "b": 1, "c": 1}


async def test_a_worker_with_a_breaker_uses_no_attempt_while_it_is_open(qrt, qrt_clock):
    queue = qrt.queue("jobs", retry="none", budget=2)
    await queue.send_many([str(n) for n in range(5)])
    down, calls, done = True, [], []
    worker = qr.Worker(qrt, concurrency=1, breaker="1,60s,1")

    @worker.handler(queue)
    async def handle(order: qr.Delivery) -> None:
        if down:
            calls.append(order.text())
            raise RuntimeError("the oven is cold")
        done.append((order.text(), order.attempt))

    running = asyncio.ensure_future(worker.run(signals=False))
    for minute in range(10):
        await until(lambda count=minute + 1: len(calls) == count)
        await until(
            lambda: (
                worker.status()["jobs"].breaker == "open" and worker.status()["jobs"].in_hand == 0
            )
        )
        down = minute < 9
        qrt_clock.advance(PAUSE + (0 if down else 1))
    await until(lambda: len(done) == 5)
    assert sorted(done) == [("0", 2), *((str(n), 1) for n in range(1, 5))]
    assert await queue.dead_letters() == []
    worker.reset_breaker()
    await worker.drain()
    await running


async def test_a_paused_worker_starts_nothing(qrt):
    queue = qrt.queue("jobs")
    await queue.send_many(["a", "b"])
    done = []
    worker = qr.Worker(qrt, concurrency=1)

    @worker.handler(queue)
    async def handle(order: qr.Delivery) -> None:
        done.append(order.text())

    worker.pause()
    running = asyncio.ensure_future(worker.run(signals=False))
    await until(lambda: worker.status().get("jobs") is not None and worker.status()["jobs"].paused)
    for _ in range(20):
        await asyncio.sleep(0)
    assert done == []
    worker.resume()
    await until(lambda: len(done) == 2)
    await worker.drain()
    await running


def test_it_is_the_same_in_threads(qrt_sync):
    queue = qrt_sync.queue("jobs", retry="none")
    queue.send_many(["a", "b"])
    with queue.consume(breaker="1,60s,1", prefetch=2, concurrency=1) as consumer:
        consumer.pause()
        assert consumer.status().paused
        until_in_threads(lambda: queue.statistics().ready == 2)
        consumer.resume()
        consumer.resume()
        next(consumer).nack()
        assert consumer.status().breaker == "open"
        consumer.reset_breaker()
        assert next(consumer).text() in {"a", "b"}


def test_options_are_checked(qrt_sync):
    queue = qrt_sync.queue("jobs")
    with pytest.raises(errors.InvalidArgumentError, match="breaker"):
        queue.consume(breaker="sometimes")
    with pytest.raises(errors.InvalidConfigError, match="breaker"):
        qrt_sync.queue("jobs", breaker="5,30s,3")
    assert queue.breaker_state == "closed"
    queue.reset_breaker()


def test_the_whole_client_has_one_if_asked():
    runtime = qr.Runtime(virtual_clock=True, worker_threads=1)
    with sync.connect("memory:", runtime=runtime, client_breaker="5,30s,3") as client:
        client.queue("jobs").send("a")
        assert client.breaker_state == "closed"
        client.reset_breaker()
        state = 'queue_runtime_breaker_state{provider="memory",operation="client"} 0'
        assert state in runtime.metrics()
    with pytest.raises(errors.InvalidConfigError, match=r"client_breaker.*5,30s,3"):
        sync.connect("memory:", runtime=runtime, client_breaker="sometimes")
    with pytest.raises(errors.InvalidConfigError, match="client_breaker"):
        sync.connect("memory:?client_breaker=0,30s,3", runtime=runtime)


def test_consumers_wait_for_memory():
    runtime = qr.Runtime(virtual_clock=True, worker_threads=1, memory_limit=1)
    client = sync.connect("memory:", runtime=runtime)
    with client.queue("jobs").consume() as consumer:
        until_in_threads(lambda: consumer.status().over_memory)
        assert "queue_runtime_memory_over_limit 1" in runtime.metrics()
    client.close()
