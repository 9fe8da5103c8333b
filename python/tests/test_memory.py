"""Memory stays where it is, however much is sent and opened."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest
from conftest import PATIENCE, SOAK, until

import queue_runtime as qr
from queue_runtime import sync

MIB = 1 << 20


def resident() -> int:
    """Bytes of memory this process has."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def grows_at_most(bytes_: int, work, times: int) -> None:
    """Does the work once, for what stays after a first time, and then more often."""
    for _ in range(times // 10 + 1):
        work()
    before = resident()
    for _ in range(times):
        work()
    grown = resident() - before
    assert grown <= bytes_, f"{grown / MIB:.1f} MiB more"


def test_messages_leave_nothing_behind(qrt_sync):
    queue = qrt_sync.queue("jobs")
    body = b"x" * 1024

    def work() -> None:
        queue.send(body, session="s", headers={"a": "b"})
        for delivery in queue.receive(5, 0):
            assert delivery.body == body
            assert len(delivery.body_view) == 1024
            delivery.ack()
        queue.send_many([body] * 100).raise_for_errors()
        queue.ack_many(queue.receive(100, 0)).raise_for_errors()

    grows_at_most(8 * MIB, work, 200 * SOAK)


def test_clients_leave_nothing_behind(qrt_clock):
    def work() -> None:
        with sync.connect("memory:", runtime=qrt_clock) as client:
            queue = client.queue("jobs")
            queue.send("x")
            queue.receive_one(0)

    grows_at_most(8 * MIB, work, 200 * SOAK)


def test_runtimes_leave_nothing_behind():
    def work() -> None:
        runtime = qr.Runtime(virtual_clock=True, worker_threads=1)
        with sync.connect("memory:", runtime=runtime) as client:
            client.queue("jobs").send("x")
        runtime.shutdown()

    grows_at_most(8 * MIB, work, 10 * SOAK)


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_waits_leaves_nothing_behind(cancelled, qrt):
    async def waits(queue: qr.Queue) -> None:
        waiting = [asyncio.create_task(queue.receive_one(PATIENCE)) for _ in range(100)]
        await asyncio.sleep(0)
        if cancelled:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        else:
            await queue.send_many([b"x" * 1024] * 100)
            await queue.ack_many(await asyncio.gather(*waiting))

    with asyncio.Runner() as runner:
        queue = qrt.queue("jobs")
        grows_at_most(8 * MIB, lambda: runner.run(waits(queue)), 20 * SOAK)


def receives(queue: sync.Queue) -> None:
    delivery = queue.receive_one(0, keep_lock=True)
    assert delivery is not None
    delivery.release()


def consumes(queue: sync.Queue) -> None:
    with queue.consume(idle=0, prefetch=2) as consumer:
        next(consumer).release()


def consumes_and_forgets(queue: sync.Queue) -> None:
    next(queue.consume(prefetch=2)).release()
    # The engine's one thread ends them in turn, and this one last.
    queue.consume().drain(0)


def holds_a_session(queue: sync.Queue) -> None:
    with queue.session("s") as session:
        next(session.consume(idle=0)).release()


@pytest.mark.parametrize("opens", [receives, consumes, consumes_and_forgets, holds_a_session])
def test_what_is_opened_and_closed_leaves_nothing_behind(opens, qrt_sync):
    queue = qrt_sync.queue("jobs")
    queue.send("x", session="s" if opens is holds_a_session else None)
    grows_at_most(8 * MIB, lambda: opens(queue), 20_000 * SOAK)


async def test_restarts_of_a_worker_handle_everything_once(qrt, qrt_clock):
    """Delayed messages come due while one worker takes the place of the other, again and again."""
    count, restarts, longest = 10_000, 20, 100
    queue = qrt.queue("jobs")
    delays = [number % longest for number in range(count)]
    messages = [qr.Message(str(number), delay=delay) for number, delay in enumerate(delays)]
    (await queue.send_many(messages)).raise_for_errors()
    seen: Counter[str] = Counter()

    async def handle(delivery: qr.Delivery) -> None:
        seen[delivery.text()] += 1
        assert delivery.attempt == 1

    async def run_until(handled: int) -> None:
        worker = qr.Worker(qrt, concurrency=8)
        worker.handler(queue)(handle)
        running = asyncio.create_task(worker.run())
        await until(lambda: seen.total() >= handled)
        worker.stop()
        report = await running
        assert report.abandoned == 0

    before = 0
    for restart in range(1, restarts + 1):
        qrt_clock.advance(longest / restarts)
        due = sum(delay <= restart * longest / restarts for delay in delays)
        # Half of what is due: the next worker takes over the rest.
        await run_until(due - count // restarts // 2 if restart < restarts else count)
        if restart == restarts // 2:
            before = resident()
    grown = resident() - before
    assert grown <= 8 * MIB, f"{grown / MIB:.1f} MiB more"
    assert (len(seen), set(seen.values())) == (count, {1})
    assert (await queue.statistics()).depth == 0


def test_errors_leave_nothing_behind(qrt_sync):
    queue = qrt_sync.queue("jobs")

    def work() -> None:
        for call in (
            lambda: queue.send(5),
            lambda: queue.send("x", session=""),
            lambda: queue.receive(0),
            lambda: qrt_sync.queue("jobs", lokc=1),
        ):
            with pytest.raises((TypeError, qr.QueueError)):
                call()

    grows_at_most(8 * MIB, work, 200 * SOAK)


def test_a_view_keeps_only_its_own_batch(qrt_sync):
    queue = qrt_sync.queue("jobs", max_bytes=64 * MIB)
    body = b"x" * MIB

    def work() -> None:
        queue.send(body)
        kept.append(queue.receive_one(0))
        kept[-1].ack()
        kept[-1] = kept[-1].body_view
        del kept[:-1]

    kept: list = []
    grows_at_most(16 * MIB, work, 50 * SOAK)
    assert kept[0] == body
