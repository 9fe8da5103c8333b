"""Batch handlers and producers, on event loops and in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import queue_runtime as qr
from queue_runtime import sync


def texts(batch: list[Any]) -> list[str]:
    return [delivery.text() for delivery in batch]


async def test_failed_messages_leave_their_batch_and_come_again() -> None:
    async with qr.connect("memory:") as client:
        orders = client.queue("orders", retry="none")
        await orders.send_many(["a", "bad", "c", "broken"])
        seen = []
        worker = qr.Worker(client, classify={KeyError: "permanent"})

        @worker.batch_handler(orders, batch_size=4, batch_linger=0.01)
        async def on_orders(batch: list[qr.Delivery]) -> dict[int, Exception | None]:
            seen.append(texts(batch))
            if len(batch) < 4:
                worker.stop()
                return {}
            return {0: None, 1: ValueError("once"), 3: KeyError("never")}

        await asyncio.wait_for(worker.run(), 30)
        assert seen == [["a", "bad", "c", "broken"], ["bad"]]
        assert [letter.text() for letter in await orders.dead_letters()] == ["broken"]
        assert (await orders.statistics()).depth == 0


@pytest.mark.parametrize("end", ["raises", "names another", "gives too few", "is cancelled"])
async def test_a_handler_that_fails_fails_all(end: str) -> None:
    async with qr.connect("memory:") as client:
        orders = client.queue("orders", retry="none", budget=1)
        await orders.send_many(["a", "b"])
        worker = qr.Worker(client)

        @worker.batch_handler(orders, batch_size=2)
        async def on_orders(batch: list[qr.Delivery]) -> Any:
            worker.stop()
            if end == "raises":
                raise qr.Failure.retry("all of it")
            if end == "is cancelled":
                raise asyncio.CancelledError
            return {7: ValueError("of another batch")} if end == "names another" else [None]

        await asyncio.wait_for(worker.run(), 30)
        assert [letter.text() for letter in await orders.dead_letters()] == ["a", "b"]


async def test_plain_functions_handle_batches_in_threads() -> None:
    async with qr.connect("memory:") as client:
        orders = client.queue("orders")
        await orders.send_many(["a", "b", "c"])
        worker = qr.Worker(client)
        loop = asyncio.get_running_loop()
        threads = []

        @worker.batch_handler(orders, batch_size=3, batch_linger=10)
        def on_orders(batch: list[qr.Delivery]) -> None:
            threads.append((texts(batch), threading.current_thread() is threading.main_thread()))
            loop.call_soon_threadsafe(worker.stop)

        await asyncio.wait_for(worker.run(), 30)
        assert (await orders.statistics()).depth == 0
        assert threads == [(["a", "b", "c"], False)]


async def test_a_batch_waits_by_the_runtimes_clock() -> None:
    runtime = qr.Runtime(virtual_clock=True)
    async with qr.connect("memory:", runtime=runtime) as client:
        orders = client.queue("orders")
        await orders.send_many(["a", "b"])
        async with orders.consume(batch_size=3, batch_linger=10) as consumer:
            batch = asyncio.ensure_future(consumer.next_batch())
            await asyncio.sleep(0.01)
            assert not batch.done()
            runtime.advance(10)
            assert texts(await batch) == ["a", "b"]


async def test_options_of_batches_are_named() -> None:
    async with qr.connect("memory:") as client:
        orders = client.queue("orders")
        with pytest.raises(qr.errors.InvalidArgumentError, match="min_batch_size"):
            orders.consume(batch_size=2, min_batch_size=3, target_batch_duration=1)
        with pytest.raises(ValueError, match="batch_concurrency"):
            qr.Worker(client).batch_handler(orders, batch_concurrency=0)
        with pytest.raises(qr.errors.InvalidArgumentError, match="max_pending"):
            orders.producer(max_pending=0)
        with pytest.raises(qr.errors.InvalidArgumentError, match="on_full"):
            orders.producer(on_full="perhaps")  # type: ignore[arg-type]


def test_threads_handle_batches() -> None:
    with sync.connect("memory:") as client:
        orders = client.queue("orders", retry="none")
        orders.send_many(["a", "bad", "c"])
        worker = sync.Worker(client)
        seen = []

        @worker.batch_handler(orders, batch_size=3, batch_linger=0.01)
        def on_orders(batch: list[sync.Delivery]) -> list[Exception | None] | None:
            seen.append(texts(batch))
            if len(batch) == 3:
                return [None, ValueError("once"), None]
            worker.stop()
            return None

        worker.run(signals=False)
        assert seen == [["a", "bad", "c"], ["bad"]]
        assert orders.statistics().depth == 0


async def test_a_producer_sends_in_batches() -> None:
    async with qr.connect("memory:") as client:
        orders = client.queue("orders")
        async with orders.producer(batch_size=10, linger=60) as producer:
            sent = await asyncio.gather(*(producer.send(str(number)) for number in range(10)))
            assert len({result.id for result in sent}) == 10
            late = asyncio.ensure_future(producer.try_send(qr.Message("late", headers={"x": "y"})))
            # So that it is accepted before.
            await asyncio.sleep(0)
            await producer.flush()
            assert (await late).is_duplicate is False
            report = await producer.close()
        assert (report.sent, report.failed, report.unsent) == (11, 0, [])
        received = await orders.receive(11)
        assert texts(received) == [*map(str, range(10)), "late"]


async def test_what_is_not_sent_comes_back() -> None:
    async with qr.connect("memory:") as client:
        orders = client.queue("orders", max_messages=1)
        producer = orders.producer(batch_size=1, max_pending=2, on_full="error")
        await producer.send("a")
        b = asyncio.ensure_future(producer.send("b"))
        c = asyncio.ensure_future(producer.send(qr.Message("c", headers={"x": "y"})))
        await asyncio.sleep(0)
        with pytest.raises(qr.errors.FullError):
            await producer.send("d")
        report = await producer.close(0)
        assert report.sent == 1
        assert [message.text() for message in report.unsent] == ["b", "c"]
        assert report.unsent[1].headers == {"x": "y"}
        for unsent in (b, c):
            with pytest.raises(qr.errors.ClosedError):
                await unsent


def test_threads_produce() -> None:
    with sync.connect("memory:") as client:
        orders = client.queue("orders")
        with orders.producer(linger=0.001) as producer:
            assert producer.send("a").id
            assert producer.try_send("b").id
            producer.flush()
        assert orders.statistics().depth == 2
