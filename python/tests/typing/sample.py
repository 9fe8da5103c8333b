"""What a program writes, for the type checker. Not run."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Literal

from typing_extensions import assert_type

import queue_runtime as qr
from queue_runtime import sync


async def asyncio_program() -> None:
    options: qr.QueueOptions = {"lock": "10s", "on_failure": "park"}
    runtime = qr.Runtime(virtual_clock=True, worker_threads=1)
    async with qr.connect("memory:", require=["sessions"], runtime=runtime, **options) as client:
        assert_type(client, qr.Client)
    client = await qr.connect("memory:")
    queue = client.queue("orders", budget=3, lock=timedelta(seconds=5), retry="none")
    sent = await queue.send(b"x", session="s", headers={"a": "b"}, delay=1, ttl=timedelta(1))
    assert_type(sent, qr.SendResult)
    assert_type(sent.id, str | None)
    key = qr.SessionKey.first_of(qr.SessionKey.field("a").prefix("a-"), qr.SessionKey.none())
    assert_type(key.of({"a": "b"}), str | None)
    results = await queue.send_many([b"a", "b", qr.Message(json={"c": 1})])
    for result in results:
        assert_type(result, qr.SendResult)
    results.raise_for_errors()
    deliveries = await queue.receive(10, 0.5)
    assert_type(deliveries, list[qr.Delivery])
    assert_type(await queue.receive_one(timedelta(seconds=1)), qr.Delivery | None)
    async for delivery in queue.consume(prefetch=8):
        assert_type(delivery, qr.Delivery)
        async with delivery as entered:
            assert_type(entered, qr.Delivery)
            assert_type(delivery.body, bytes)
            assert_type(delivery.cancelled, Literal["lock_lost", "stalled", "drained"] | None)
            assert_type(delivery.body_view, memoryview)
            assert_type(delivery.locked_until, datetime)
            await delivery.extend(30)
        break
    await queue.settle([qr.Settlement.ack(d) for d in deliveries])
    async with queue.session("s") as session:
        assert_type(session, qr.Session)
        assert_type(await session.state(), bytes | None)
    assert_type(await queue.next_session(0), qr.Session | None)
    assert_type(await queue.statistics(), qr.Statistics)
    assert_type(await queue.dead_letters(reason="poison"), list[qr.DeadLetter])
    dead = await queue.dead_letter_statistics(session="s")
    assert_type(dead, qr.DeadLetterStatistics)
    assert_type(dead.by_reason[0].oldest, datetime)
    assert_type(await queue.peek(), list[qr.PeekedMessage])
    assert_type((await queue.redrive(dry_run=True)).failed, dict[str, str])
    assert_type(await queue.purge_dead_letters(), int)
    task = asyncio.create_task(queue.receive_one())
    assert_type(await task, qr.Delivery | None)
    first, second = await asyncio.gather(queue.send("a"), queue.receive())
    assert_type(first, qr.SendResult)
    assert_type(second, list[qr.Delivery])
    consumer_options: qr.ConsumerOptions = {"concurrency": 4, "reconnect": "fixed:1s"}
    worker = qr.Worker(client, drain=5, classify={ValueError: "permanent"}, **consumer_options)
    async with queue.consume(**consumer_options) as consumer:
        assert_type(await anext(consumer), qr.Delivery)
        assert_type(await consumer.drain(1), qr.DrainReport)
        assert_type(consumer.status().failure, qr.QueueError | None)

    @worker.handler("orders", budget=3)
    async def on_order(order: qr.Delivery) -> None:
        assert_type(order.attempt, int)

    @worker.handler(queue)
    def on_other(order: qr.Delivery) -> str:
        return order.text()

    assert_type(await worker.run(), qr.DrainReport)
    assert_type(worker.status(), dict[str, qr.ConsumerStatus])


async def write(entries: list[qr.Entry]) -> list[Exception | None]:
    return [None for _ in entries]


async def writing_program(queue: qr.Queue) -> None:
    options: qr.WriteBehindOptions = {"table": "t", "flush_interval": timedelta(seconds=1)}
    async with qr.WriteBehind.open("sqlite:x.db", **options) as rows:
        assert_type(rows, qr.WriteBehind)
        await rows.enqueue({"id": 1})
        await rows.enqueue(b"x", key="k")
        asyncio.create_task(rows.try_enqueue("x")).cancel()
        assert_type((await rows.enqueue_many([{"id": 1}, qr.Entry(b"x")]))[0], qr.SettleResult)
        await asyncio.gather(rows.flush(), rows.feed(queue))
        assert_type(rows.metrics().total_enqueued, int)
        assert_type(rows.take_rejected(), list[qr.RejectedEntry])
    rows = await qr.WriteBehind.open(write)
    assert_type(await rows.close(5), qr.CloseReport)
    with sync.WriteBehind.open(lambda entries: None) as written:
        written.enqueue("x")
        assert_type(written.close(timedelta(1)).unwritten, list[sync.Entry])


def threads_program() -> None:
    with sync.connect("memory:", budget=2) as client:
        queue = client.queue("orders")
        assert_type(queue.send("x"), sync.SendResult)
        for delivery in queue.consume(idle=0):
            with delivery:
                assert_type(delivery, sync.Delivery)
        session = queue.session("s")
        with session:
            assert_type(session.receive(), list[sync.Delivery])
        settled = queue.settle([sync.Settlement.nack(d, "why") for d in queue.receive()])
        for result in settled:
            assert_type(result.error, sync.QueueError | None)


def wrong(queue: sync.Queue, client: sync.Client, delivery: qr.Delivery) -> None:
    """Each of these is found by the checker: an ignore that is not needed is an error itself."""
    queue.send(5)  # type: ignore[arg-type]
    queue.send("x", delay="1s")  # type: ignore[arg-type]
    queue.receive("many")  # type: ignore[arg-type]
    client.queue("orders", lokc=5)  # type: ignore[call-arg]
    sync.Worker(client, concurency=5)  # type: ignore[call-arg]
    sync.Worker(client, classify={ValueError: "fatal"})  # type: ignore[dict-item]
    client.queue("orders", on_failure="explode")  # type: ignore[arg-type]
    queue.ack_many([delivery])  # type: ignore[list-item]
    delivery.body = b""  # type: ignore[misc]
    sync.WriteBehind.open(write)  # type: ignore[arg-type]
    qr.WriteBehind.open("x", tabel="t")  # type: ignore[call-arg]
    qr.WriteBehind.open(write).enqueue("x")  # type: ignore[attr-defined]
