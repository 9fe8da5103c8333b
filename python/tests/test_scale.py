"""Consumers whose concurrency moves with the load."""

from __future__ import annotations

import asyncio
import threading

import pytest
from conftest import PATIENCE, until, until_in_threads

import queue_runtime as qr
from queue_runtime import errors, sync

#: Locks that outlast the time that tests let pass, and short cool-downs.
OPTIONS = {"lock": 3600, "max_lock_renewal": 3600, "scale_cooldown": 0.01}


async def test_a_consumer_grows_while_work_waits_and_shrinks_when_idle(qrt, qrt_clock):
    queue = qrt.queue("jobs")
    await queue.send_many([str(n) for n in range(4)])

    async with queue.consume(min_concurrency=1, concurrency=2, **OPTIONS) as consumer:

        def passes(limit: int) -> bool:
            qrt_clock.advance(0.01)
            return consumer.status().concurrency == limit

        assert consumer.status().concurrency == 1
        first = await anext(consumer)
        waiting = asyncio.ensure_future(anext(consumer))
        await until(lambda: passes(2))
        second = await asyncio.wait_for(waiting, PATIENCE)
        assert "queue_runtime_consumer_concurrency{" in qrt_clock.metrics()
        await first.ack()
        await second.ack()
        for _ in range(2):
            await (await anext(consumer)).ack()
        await until(lambda: passes(1))


async def test_the_lanes_of_a_worker_wait_for_a_hand(qrt, qrt_clock):
    queue = qrt.queue("jobs")
    await queue.send_many([str(n) for n in range(20)])
    at_work, go_on = [], asyncio.Event()
    worker = qr.Worker(qrt, min_concurrency=1, concurrency=4, **OPTIONS)

    @worker.handler(queue)
    async def handle(order: qr.Delivery) -> None:
        at_work.append(order.text())
        await go_on.wait()

    running = asyncio.ensure_future(worker.run(signals=False))
    await until(lambda: len(at_work) == 1)
    for hands in (2, 4):

        def grown(hands: int = hands) -> bool:
            qrt_clock.advance(0.01)
            return worker.status()["jobs"].concurrency == hands

        await until(grown)
        await until(lambda: len(at_work) == worker.status()["jobs"].concurrency)
    go_on.set()
    await until(lambda: len(at_work) == 20)
    report = await worker.drain()
    await running
    assert report.abandoned == 0


def test_it_is_the_same_in_threads(qrt_sync, qrt_clock):
    queue = qrt_sync.queue("jobs")
    queue.send_many([str(n) for n in range(10)])
    at_work, go_on = [], threading.Event()
    worker = sync.Worker(qrt_sync, min_concurrency=1, concurrency=2, **OPTIONS)

    @worker.handler(queue)
    def handle(order: sync.Delivery) -> None:
        at_work.append(order.text())
        go_on.wait(PATIENCE)

    running = threading.Thread(target=worker.run, kwargs={"signals": False})
    running.start()
    until_in_threads(lambda: len(at_work) == 1)

    def grown() -> bool:
        qrt_clock.advance(0.01)
        return worker.status()["jobs"].concurrency == 2

    until_in_threads(grown)
    until_in_threads(lambda: len(at_work) == 2)
    go_on.set()
    until_in_threads(lambda: len(at_work) == 10)
    assert worker.drain().abandoned == 0
    running.join()


def test_options_are_checked(qrt_sync):
    queue = qrt_sync.queue("jobs")
    for options, name in [
        ({"min_concurrency": 0}, "min_concurrency"),
        ({"min_concurrency": 5, "concurrency": 4}, "min_concurrency"),
        ({"scale_cooldown": 1}, "scale_cooldown"),
        ({"min_concurrency": 1, "scale_cooldown": 0}, "scale_cooldown"),
    ]:
        with pytest.raises(errors.InvalidArgumentError, match=name):
            queue.consume(**options)
    with queue.consume(concurrency=3) as consumer:
        assert consumer.status().concurrency == 3
