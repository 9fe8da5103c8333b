"""Workers: handlers at work, and their end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading

import pytest
from conftest import PATIENCE, until, until_in_threads

import queue_runtime as qr
from queue_runtime import errors, sync


async def test_a_handler_that_returns_acks_and_one_that_raises_nacks(qrt, caplog):
    worker = qr.Worker(qrt, concurrency=4)
    queue = qrt.queue("orders", retry="none", budget=3)
    attempts = []

    @worker.handler(queue)
    async def on_order(order: qr.Delivery) -> None:
        attempts.append((order.text(), order.attempt))
        if order.text() == "bad":
            raise ValueError("why")
        if len([text for text, _ in attempts if text == "good"]) == 5:
            worker.stop()

    await queue.send_many(["bad", *["good"] * 4])
    running = asyncio.create_task(worker.run())
    await until(lambda: len(attempts) == 7)
    await queue.send("good")
    await asyncio.wait_for(running, PATIENCE)
    assert [attempt for text, attempt in attempts if text == "bad"] == [1, 2, 3]
    (letter,) = await queue.dead_letters()
    assert (letter.text(), letter.description) == ("bad", "ValueError: why")
    assert (await queue.statistics()).depth == 0
    assert "ValueError: why" in caplog.text


async def test_handlers_run_side_by_side_but_one_at_a_time_in_a_session(qrt):
    worker = qr.Worker(qrt, concurrency=3)
    going, together, order = set(), set(), []

    @worker.handler("orders")
    async def on_order(delivery: qr.Delivery) -> None:
        assert delivery.session not in going
        going.add(delivery.session)
        together.add(frozenset(going))
        order.append(delivery.text())
        await asyncio.sleep(0.001)
        going.remove(delivery.session)
        if len(order) == 12:
            worker.stop()

    queue = qrt.queue("orders")
    await queue.send_many([qr.Message(f"{s}{n}", session=s) for n in range(4) for s in "abc"])
    await asyncio.wait_for(worker.run(), PATIENCE)
    for session in "abc":
        assert [text for text in order if text[0] == session] == [f"{session}{n}" for n in range(4)]
    assert max(map(len, together)) > 1


async def test_a_stop_lets_handlers_end_and_takes_nothing_more(qrt):
    worker = qr.Worker(qrt, concurrency=2)
    queue = qrt.queue("orders")
    may_end, started = asyncio.Event(), []

    @worker.handler(queue)
    async def on_order(delivery: qr.Delivery) -> None:
        started.append(delivery.text())
        await may_end.wait()

    await queue.send_many(["a", "b", "c"])
    running = asyncio.create_task(worker.run())
    await until(lambda: len(started) == 2)
    worker.stop()
    await asyncio.sleep(0.01)
    assert not running.done()
    may_end.set()
    await asyncio.wait_for(running, PATIENCE)
    left = await queue.statistics()
    assert (left.ready, left.in_flight, sorted(started)) == (1, 0, ["a", "b"])
    # It can go on.
    running = asyncio.create_task(worker.run())
    await until(lambda: len(started) == 3)
    worker.stop()
    await asyncio.wait_for(running, PATIENCE)


async def test_a_worker_that_is_cancelled_gives_its_messages_back_unblamed(qrt):
    worker = qr.Worker(qrt)
    queue = qrt.queue("orders")
    started = asyncio.Event()

    @worker.handler(queue)
    async def on_order(delivery: qr.Delivery) -> None:
        started.set()
        await asyncio.sleep(PATIENCE)

    await queue.send("x")
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(started.wait(), PATIENCE)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await queue.receive_one(0)).attempt == 1


async def test_plain_functions_run_in_threads_with_their_context(qrt):
    worker = qr.Worker(qrt, concurrency=2)
    request = contextvars.ContextVar("request", default="none")
    seen, barrier = [], threading.Barrier(2, timeout=PATIENCE)
    loop = asyncio.get_running_loop()

    @worker.handler("orders")
    def on_order(delivery: qr.Delivery) -> None:
        barrier.wait()
        seen.append((delivery.text(), request.get(), threading.current_thread().name))
        loop.call_soon_threadsafe(worker.stop)

    request.set("mine")
    await qrt.queue("orders").send_many(["a", "b"])
    await asyncio.wait_for(worker.run(), PATIENCE)
    assert sorted(text for text, _, _ in seen) == ["a", "b"]
    assert {context for _, context, _ in seen} == {"mine"}
    assert all(name.startswith("queue_runtime") for _, _, name in seen)
    assert (await qrt.queue("orders").statistics()).depth == 0


async def test_a_thread_that_cannot_be_cancelled_keeps_its_message(qrt):
    worker = qr.Worker(qrt, concurrency=1)
    queue = qrt.queue("orders")
    started, may_end = threading.Event(), threading.Event()

    @worker.handler(queue)
    def on_order(delivery: qr.Delivery) -> None:
        started.set()
        may_end.wait(PATIENCE)

    await queue.send("x")
    running = asyncio.create_task(worker.run())
    await until(started.is_set)
    running.cancel()
    await asyncio.sleep(0.01)
    assert (await queue.statistics()).in_flight == 1
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, PATIENCE)
    assert (await queue.statistics()).ready == 1


async def test_a_worker_ends_with_its_client(qrt):
    worker = qr.Worker(qrt, concurrency=2)

    @worker.handler("orders")
    async def on_order(delivery: qr.Delivery) -> None: ...

    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    await qrt.close()
    assert await asyncio.wait_for(running, PATIENCE) == qr.DrainReport()


async def test_a_lost_lock_is_logged_and_not_the_handlers_fault(qrt, qrt_clock, caplog):
    worker = qr.Worker(qrt, concurrency=1)
    queue = qrt.queue("orders", lock=1)

    @worker.handler(queue)
    async def on_order(delivery: qr.Delivery) -> None:
        if delivery.attempt == 1:
            # So far that nobody could renew it in time.
            qrt_clock.advance(10)
        else:
            worker.stop()

    await queue.send("x")
    with caplog.at_level(logging.WARNING, "queue_runtime.worker"):
        await asyncio.wait_for(worker.run(), PATIENCE)
    assert "was not settled" in caplog.text
    assert (await queue.statistics()).depth == 0


def test_threads_at_work(qrt_sync, caplog):
    worker = sync.Worker(qrt_sync, concurrency=3)
    queue = qrt_sync.queue("orders", retry="none", budget=2)
    attempts, lock = [], threading.Lock()

    @worker.handler(queue)
    def on_order(order: sync.Delivery) -> None:
        with lock:
            attempts.append((order.text(), order.attempt))
        if order.text() == "bad":
            raise ValueError("why")

    queue.send_many(["bad", "good", "good"])
    running = threading.Thread(target=worker.run)
    running.start()
    until_in_threads(lambda: queue.statistics().dead == 1 and len(attempts) == 4)
    worker.stop()
    running.join(PATIENCE)
    assert not running.is_alive()
    assert sorted(attempts) == [("bad", 1), ("bad", 2), ("good", 1), ("good", 1)]
    assert queue.statistics().depth == 0
    assert "ValueError: why" in caplog.text


def test_a_worker_of_threads_may_be_stopped_by_a_handler(qrt_sync):
    worker = sync.Worker(qrt_sync, concurrency=2)

    @worker.handler("orders", lock=30)
    def on_order(order: sync.Delivery) -> None:
        worker.stop()

    qrt_sync.queue("orders").send("x")
    worker.run()
    assert qrt_sync.queue("orders").statistics().depth == 0


def test_a_worker_of_threads_ends_with_its_client(qrt_sync):
    worker = sync.Worker(qrt_sync, concurrency=2)

    @worker.handler("orders")
    def on_order(order: sync.Delivery) -> None: ...

    threading.Timer(0.02, qrt_sync.close).start()
    assert worker.run() == sync.DrainReport()


async def test_what_a_worker_cannot_do_is_refused(qrt, qrt_sync):
    worker, in_threads = qr.Worker(qrt, concurrency=0), sync.Worker(qrt_sync, reconnect="never")
    worker.handler("orders")(lambda order: None)
    in_threads.handler("orders")(lambda order: None)
    with pytest.raises(errors.InvalidArgumentError, match="concurrency"):
        await worker.run()
    with pytest.raises(errors.InvalidArgumentError, match="reconnect"):
        in_threads.run()
    with pytest.raises(TypeError, match="concurency"):
        worker = qr.Worker(qrt, concurency=1)
        worker.handler("orders")(lambda order: None)
        await worker.run()
    with pytest.raises(TypeError, match=r"queue_runtime\.Worker"):

        @sync.Worker(qrt_sync).handler("orders")
        async def on_order(order: sync.Delivery) -> None: ...
