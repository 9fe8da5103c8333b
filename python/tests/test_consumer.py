"""Consumers and the workers on them: locks that hold, failures, and an end that adds up."""

from __future__ import annotations

import asyncio
import ctypes
import json
import random
import signal
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
from conftest import PATIENCE, SOAK, until, until_in_threads

import queue_runtime as qr
from queue_runtime import errors, sync

LOCK = 10


async def pass_time(clock: qr.Runtime, deliveries: list[qr.Delivery], halves: int) -> None:
    """Moves the clock by half a lock, again and again; each time the locks are renewed."""
    for _ in range(halves):
        clock.advance(LOCK / 2)
        end = clock.now() + timedelta(seconds=LOCK)
        await until(lambda end=end: all(d.locked_until == end for d in deliveries))


async def test_locks_are_kept_in_hand_and_in_the_buffer(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock=LOCK)
    await queue.send_many(["a", "b"])
    async with queue.consume(prefetch=2) as consumer:
        await until(lambda: consumer.status().prefetched == 2)
        first = await anext(consumer)
        await pass_time(qrt_clock, [first], 6)
        assert (await queue.statistics()).in_flight == 2
        await first.ack()
        second = await anext(consumer)
        assert (second.text(), second.attempt) == ("b", 1)
        await second.ack()


async def test_a_receive_keeps_locks_when_it_is_asked_to(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock=LOCK)
    await queue.send_many(["a", "b"])
    kept = await queue.receive_one(0, keep_lock=True)
    (lost,) = await queue.receive(1, 0)
    await pass_time(qrt_clock, [kept], 4)
    await kept.ack()
    with pytest.raises(errors.LockLostError):
        await lost.ack()
    assert lost.cancelled is None


async def test_no_more_is_in_hand_than_may_be(qrt):
    queue = qrt.queue("jobs")
    await queue.send_many([str(n) for n in range(4)])
    async with queue.consume(concurrency=2, prefetch=1) as consumer:
        first, second = await anext(consumer), await anext(consumer)
        waiting = asyncio.ensure_future(anext(consumer))
        await until(lambda: consumer.status().prefetched == 1)
        assert not waiting.done()
        assert consumer.status().in_hand == 2
        await first.ack()
        assert (await waiting).text() == "2"
        await second.ack()


async def test_a_failing_receive_is_seen_and_tried_again(qrt, qrt_clock):
    queue = qrt.queue("nowhere", create="never")
    async with queue.consume(reconnect="fixed:1s") as consumer:
        await asyncio.wait_for(consumer.wait_changed(), PATIENCE)
        status = consumer.status()
        assert not status.ready
        assert isinstance(status.failure, errors.QueueNotFoundError)
        await qrt.queue("nowhere").send("x")
        while not consumer.status().ready:
            qrt_clock.advance(1)
            await asyncio.sleep(0)
        assert (await anext(consumer)).text() == "x"
    with pytest.raises(errors.ClosedError):
        while True:
            await consumer.wait_changed()


async def test_a_lost_lock_cancels_the_handler_with_a_reason(qrt, qrt_clock):
    alarms = []
    worker = qr.Worker(
        qrt, concurrency=1, on_cancel=lambda delivery, cause: alarms.append((delivery.id, cause))
    )
    queue = qrt.queue("jobs", lock=LOCK)
    seen = []

    @worker.handler(queue)
    async def handle(delivery: qr.Delivery) -> None:
        if delivery.attempt == 2:
            # The task that was cancelled goes on as if nothing had been.
            async with asyncio.TaskGroup() if hasattr(asyncio, "TaskGroup") else asyncio.Lock():
                await asyncio.sleep(0)
            worker.stop()
            return
        qrt_clock.advance(3 * LOCK)
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError as error:
            seen.append((error.args, delivery.cancelled, delivery.id))
            raise

    await queue.send("x")
    await asyncio.wait_for(worker.run(), PATIENCE)
    ((reason, cancelled, message),) = seen
    assert (reason, cancelled) == (("lock_lost",), "lock_lost")
    assert alarms == [(message, "lock_lost")]
    assert (await queue.statistics()).depth == 0


async def test_a_stalled_handler_raises_an_alarm(qrt, qrt_clock):
    alarms = []
    worker = qr.Worker(
        qrt,
        concurrency=1,
        max_lock_renewal=LOCK / 2,
        on_cancel=lambda delivery, cause: alarms.append(cause),
    )
    queue = qrt.queue("jobs", lock=LOCK)
    started = asyncio.Event()

    @worker.handler(queue)
    async def handle(delivery: qr.Delivery) -> None:
        if delivery.attempt == 1:
            started.set()
            await asyncio.sleep(PATIENCE)

    await queue.send("x")
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(started.wait(), PATIENCE)
    qrt_clock.advance(LOCK / 2)
    await until(lambda: alarms == ["stalled"])
    # Its lock ends, and another attempt is made.
    while (await queue.statistics()).depth:
        qrt_clock.advance(LOCK)
        await asyncio.sleep(0.001)
    await worker.drain()
    await running


async def test_what_a_handler_says_becomes_of_the_message(qrt, qrt_clock):
    worker = qr.Worker(
        qrt, classify={LookupError: "permanent", KeyError: "transient", OSError: "throttled"}
    )
    queue = qrt.queue("jobs", retry="none", budget=2)
    seen = Counter()

    class TooEarly(OSError):
        retry_after = 5.0

    failures = {
        "retry": qr.Failure.retry("why"),
        "retry_after": qr.Failure.retry_after("why", timedelta(seconds=3)),
        "release": qr.Failure.release(7),
        "permanent": qr.Failure.permanent("bad", "no such street"),
        "mapped": IndexError("mapped"),
        "more special": KeyError("special"),
        "other": ValueError("other"),
        "too early": TooEarly("early"),
        "throttled": errors.ThrottledError("slow down"),
    }

    @worker.handler(queue)
    async def handle(delivery: qr.Delivery) -> None:
        seen[delivery.text(), delivery.attempt] += 1
        raise failures[delivery.text()]

    await queue.send_many(list(failures))
    running = asyncio.create_task(worker.run())
    # What came back at once is dead by now; what comes back later is delayed.
    delayed = {"retry_after", "release", "too early", "throttled"}

    async def quiet() -> bool:
        left = await queue.statistics()
        return (left.dead, left.delayed) == (5, len(delayed))

    await until(quiet)
    letters = {d.text(): (d.reason, d.description) for d in await queue.dead_letters()}
    assert letters == {
        "retry": ("max_attempts", "why"),
        "permanent": ("bad", "no such street"),
        "mapped": ("permanent", "IndexError: mapped"),
        "more special": ("max_attempts", "KeyError: 'special'"),
        "other": ("max_attempts", "ValueError: other"),
    }
    before = seen.copy()
    for _ in range(7):
        qrt_clock.advance(1)
        await asyncio.sleep(0)
    await until(lambda: {text for text, _ in seen - before} == delayed)
    await worker.drain()
    await running
    # An attempt that was given back is made again, the others were counted.
    assert {text for text, attempt in seen if attempt == 2} == {
        *("retry", "more special", "other", "retry_after")
    }


async def test_a_drain_adds_up(qrt, qrt_clock):
    worker = qr.Worker(qrt, concurrency=3, prefetch=2)
    queue = qrt.queue("jobs", lock=3600)
    started, may_end, causes = [], asyncio.Event(), []

    @worker.handler(queue)
    async def handle(delivery: qr.Delivery) -> None:
        started.append(delivery.text())
        if delivery.text() == "0":
            await may_end.wait()
            return
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            causes.append(delivery.cancelled)
            raise

    running = asyncio.create_task(worker.run())
    # So that all lanes ask, and what is fetched is fetched for them and ahead of them.
    await asyncio.sleep(0.01)
    await queue.send_many([str(n) for n in range(6)])
    await until(lambda: len(started) == 3 and worker.status()["jobs"].prefetched == 2)
    draining = asyncio.create_task(worker.drain(60))

    async def left(ready: int, depth: int) -> bool:
        statistics = await queue.statistics()
        return (statistics.ready, statistics.depth) == (ready, depth)

    # What was fetched ahead goes back at once.
    await until(lambda: left(3, 6))
    may_end.set()
    await until(lambda: left(3, 5))
    assert not draining.done()
    qrt_clock.advance(60)
    report = await asyncio.wait_for(draining, PATIENCE)
    assert report == qr.DrainReport(finished=1, released=4, abandoned=0)
    assert await running == report
    assert causes == ["drained", "drained"]
    assert [d.attempt for d in await queue.receive(10, 0)] == [1] * 5
    assert worker.status() == {}
    assert await worker.drain() == report


async def test_a_drain_does_not_wait_for_a_thread_that_goes_on(qrt, qrt_clock):
    worker = qr.Worker(qrt, concurrency=1)
    queue = qrt.queue("jobs")
    started, may_end, seen = threading.Event(), threading.Event(), []

    @worker.handler(queue)
    def handle(delivery: qr.Delivery) -> None:
        started.set()
        may_end.wait(PATIENCE)
        seen.append(delivery.cancelled)

    await queue.send("x")
    running = asyncio.create_task(worker.run())
    await until(started.is_set)
    worker.stop(0)
    assert await asyncio.wait_for(running, PATIENCE) == qr.DrainReport(released=1)
    assert (await queue.receive_one(0)).attempt == 1
    may_end.set()
    await until(lambda: seen == ["drained"])


def test_threads_see_that_they_are_to_stop(qrt_sync, qrt_clock, caplog):
    alarms = []
    worker = sync.Worker(
        qrt_sync, concurrency=2, drain=0, on_cancel=lambda delivery, cause: alarms.append(cause)
    )
    queue = qrt_sync.queue("jobs", lock=LOCK)
    seen, started = [], threading.Event()

    @worker.handler(queue)
    def handle(delivery: sync.Delivery) -> None:
        if delivery.text() == "lost" and delivery.attempt == 1:
            qrt_clock.advance(3 * LOCK)
        elif delivery.text() == "drained":
            started.set()
        else:
            return
        until_in_threads(lambda: delivery.cancelled in alarms)
        seen.append((delivery.text(), delivery.cancelled))

    queue.send("lost")
    reports = []
    running = threading.Thread(target=lambda: reports.append(worker.run()))
    running.start()
    until_in_threads(lambda: seen)
    until_in_threads(lambda: queue.statistics().depth == 0)
    queue.send("drained")
    started.wait(PATIENCE)
    report = worker.drain()
    running.join(PATIENCE)
    assert reports == [report] == [sync.DrainReport(released=1)]
    assert seen == [("lost", "lock_lost"), ("drained", "drained")]
    assert alarms == ["lock_lost", "drained"]
    assert queue.receive_one(0).attempt == 1


def test_a_failure_in_a_thread_says_what_becomes_of_the_message(qrt_sync):
    worker = sync.Worker(qrt_sync, concurrency=1, classify={ArithmeticError: "permanent"})
    queue = qrt_sync.queue("jobs")

    @worker.handler(queue)
    def handle(delivery: sync.Delivery) -> None:
        if delivery.text() == "divide":
            raise ZeroDivisionError("why")
        worker.stop()
        raise sync.Failure.release(60)

    queue.send_many(["divide", "release"])
    assert worker.run().abandoned == 0
    (letter,) = queue.dead_letters()
    assert (letter.reason, letter.description) == ("permanent", "ZeroDivisionError: why")
    assert queue.statistics().delayed == 1


#: In real time, since it is about threads: how long locks last, and a handler holds everything up.
SHORT_LOCK, LONG_WORK = 0.2, 0.7


def hold_the_interpreter() -> None:
    """Sleeps as no well-behaved function does: nobody else runs Python meanwhile."""
    ctypes.PyDLL(None).usleep(int(LONG_WORK * 1e6))


def test_a_handler_that_holds_the_interpreter_keeps_its_message():
    with sync.connect("memory:", lock=SHORT_LOCK) as client:
        worker = sync.Worker(client, concurrency=2)
        attempts = []

        @worker.handler("jobs")
        def handle(delivery: sync.Delivery) -> None:
            attempts.append(delivery.attempt)
            hold_the_interpreter()
            worker.stop()

        client.queue("jobs").send("x")
        assert worker.run().abandoned == 0
        assert (attempts, client.queue("jobs").statistics().depth) == ([1], 0)


async def test_a_handler_that_blocks_the_event_loop_keeps_its_message():
    async with qr.connect("memory:", lock=SHORT_LOCK) as client:
        worker = qr.Worker(client, concurrency=2)
        attempts = []

        @worker.handler("jobs")
        async def handle(delivery: qr.Delivery) -> None:
            attempts.append(delivery.attempt)
            hold_the_interpreter()
            await asyncio.sleep(0.01)
            worker.stop()

        await client.queue("jobs").send("x")
        assert (await worker.run()).abandoned == 0
        assert (attempts, (await client.queue("jobs").statistics()).depth) == ([1], 0)


async def test_random_cancellations_of_those_who_ask_lose_nothing(qrt):
    """Who takes from consumers is cancelled at random moments, and consumers are left: what was
    sent is handed over at its first attempt, and settled once."""
    queue = qrt.queue("jobs", lock="12h")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    count = 2000 * SOAK
    acked: Counter[str] = Counter()

    async def take() -> None:
        while acked.total() < count:
            consumer = queue.consume(
                concurrency=choose.randrange(1, 5), prefetch=choose.randrange(4)
            )
            for _ in range(choose.randrange(1, 30)):
                asking = asyncio.ensure_future(anext(consumer))
                for _ in range(choose.randrange(5)):
                    await asyncio.sleep(0)
                if choose.random() < 0.5:
                    await asyncio.wait([asking], timeout=0.01)
                asking.cancel()
                try:
                    delivery = await asking
                except asyncio.CancelledError:
                    continue
                assert delivery.attempt == 1
                acked[delivery.id] += 1
                await delivery.ack()
            if choose.random() < 0.5:
                await consumer.close()

    async def send() -> None:
        for number in range(count):
            await queue.send(str(number))
            if choose.random() < 0.1:
                await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(send(), *(take() for _ in range(4))), PATIENCE * SOAK)
    assert (await queue.statistics()).depth == 0
    assert (len(acked), set(acked.values())) == (count, {1})


#: Works through more than it can, prints "at work" in the middle of it, and at its end what was
#: done and what is left, as JSON. The handlers of some messages hang.
UNDER_LOAD = """
import asyncio, json, logging, random, sys, threading, time
import queue_runtime as qr
from queue_runtime import sync

COUNT = 5000
client = sync.connect("memory:jobs")
queue = client.queue("jobs")
queue.send_many([str(number) for number in range(COUNT)])
logging.disable()
done, lock = 0, threading.Lock()

def finished():
    global done
    with lock:
        done += 1
        if done == 200:
            print("at work", flush=True)

def hangs(delivery):
    return int(delivery.text()) % 100 == 99

def tell(report):
    left = queue.statistics()
    attempts = {peeked.attempts for peeked in queue.peek(COUNT)}
    print(json.dumps({
        "done": done, "ready": left.ready, "in_flight": left.in_flight, "attempts": [*attempts],
        **report.__dict__,
    }))
"""

LOADS = {
    "asyncio": """
async def main():
    aclient = await qr.connect("memory:jobs")
    worker = qr.Worker(aclient, concurrency=8, drain=0.2)

    @worker.handler("jobs")
    async def handle(delivery):
        await asyncio.sleep(60 if hangs(delivery) else random.random() * 0.002)
        finished()

    tell(await worker.run())

asyncio.run(main())
""",
    "threads": """
worker = sync.Worker(client, concurrency=8, drain=0.2)

@worker.handler(queue)
def handle(delivery):
    if hangs(delivery):
        while delivery.cancelled is None:
            time.sleep(0.01)
    else:
        time.sleep(random.random() * 0.002)
        finished()

tell(worker.run())
""",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("load", LOADS)
def test_a_signal_under_load_drains_and_the_report_adds_up(load, number, program):
    with program.start(UNDER_LOAD + LOADS[load]) as process:
        assert process.stdout.readline() == "at work\n", process.communicate()
        process.send_signal(number)
        output, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complaints) == (0, "")
    said = json.loads(output)
    assert said["done"] + said["ready"] == 5000
    assert (said["in_flight"], said["abandoned"]) == (0, 0)
    # Eight in hand, and as many fetched ahead, at most.
    assert 0 <= said["finished"] <= 8
    assert 0 < said["released"] <= 16
    assert said["finished"] + said["released"] <= 16
    # What is left was never begun, as far as anybody can tell.
    assert said["attempts"] == [0]


def test_signals_do_afterwards_what_they_did_before(qrt_sync):
    def mine(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        worker = sync.Worker(qrt_sync, concurrency=1)
        seen = []

        @worker.handler("jobs")
        def handle(delivery: sync.Delivery) -> None:
            seen.append(signal.getsignal(signal.SIGTERM) is mine)
            worker.stop()

        for signals in (True, False):
            qrt_sync.queue("jobs").send("x")
            worker.run(signals=signals)
            assert signal.getsignal(signal.SIGTERM) is mine
        assert seen == [False, True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_does_what_it_did_before(program):
    source = """
from queue_runtime import sync
import logging, time
logging.disable()
client = sync.connect("memory:")
worker = sync.Worker(client, concurrency=1)

@worker.handler("jobs")
def handle(delivery):
    print("at work", flush=True)
    time.sleep(60)

client.queue("jobs").send("x")
worker.run()
"""
    with program.start(source) as process:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM


async def test_a_consumer_works_through_held_sessions(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock=LOCK)
    for session in ("a", "b", "c"):
        await queue.send_many([qr.Message(f"{session}{n}", session=session) for n in range(3)])
    seen = []
    async with queue.consume(max_sessions=1, session_idle=60, prefetch=1) as consumer:
        async for delivery in consumer:
            seen.append(delivery.text())
            assert consumer.status().sessions in (1, 2)
            await delivery.ack()
            if len(seen) == 9:
                break
        assert [text[1] for text in seen] == ["0", "1", "2"] * 3
    with pytest.raises(ValueError, match="max_sessions"):
        queue.consume(session_idle=1)
    with pytest.raises(ValueError, match="session_max_messages"):
        queue.consume(max_sessions=1, session_max_messages=0)


async def test_the_consumer_of_a_session_keeps_its_lock_and_tells_its_loss(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock=LOCK)
    await queue.send_many([qr.Message(str(n), session="s") for n in range(3)])
    session = await queue.session("s")
    async with session.consume() as consumer:
        first = await anext(consumer)
        await pass_time(qrt_clock, [first], 4)
        await first.ack()
        async for delivery in session.consume(idle=0):
            await delivery.ack()
        qrt_clock.advance(2 * LOCK)
        with pytest.raises(errors.SessionLockLostError):
            await anext(consumer)


async def test_a_group_has_a_maximum_in_hand(qrt, qrt_clock):
    queue = qrt.queue("jobs", fair_groups=True)
    await queue.send_many([qr.Message(f"a{n}", session="a") for n in range(3)])
    await queue.send("b0", session="b")
    async with queue.consume(max_in_flight_per_group=2, prefetch=0) as consumer:
        hands = [await anext(consumer) for _ in range(3)]
        assert [delivery.text() for delivery in hands] == ["a0", "b0", "a1"]
        third = asyncio.ensure_future(anext(consumer))
        await hands[1].ack()
        await asyncio.sleep(0)
        assert not third.done()
        await hands[0].ack()
        assert (await third).text() == "a2"
    with pytest.raises(errors.UnsupportedError, match="fair_groups"):
        await queue.session("a")
    with pytest.raises(ValueError, match="max_in_flight_per_group"):
        queue.consume(max_in_flight_per_group=0)
    with pytest.raises(errors.UnsupportedError, match="fair_groups"):
        qrt.queue("ordered").consume(max_in_flight_per_group=1)


def test_a_worker_shares_its_hands_among_groups():
    with sync.connect("memory:?fair_groups=true") as client:
        queue = client.queue("jobs")
        for group in "ab":
            queue.send_many([qr.Message(str(n), session=group) for n in range(30)])
        lock, in_hand, done = threading.Lock(), Counter[str | None](), Counter[str | None]()
        worker = sync.Worker(client, concurrency=6, max_in_flight_per_group=2)

        @worker.handler(queue)
        def handle(delivery: sync.Delivery) -> None:
            with lock:
                in_hand[delivery.session] += 1
                assert in_hand[delivery.session] <= 2
            time.sleep(0)
            with lock:
                in_hand[delivery.session] -= 1
                done[delivery.session] += 1
                if done.total() == 60:
                    worker.stop()

        assert worker.run().abandoned == 0
        assert done == {"a": 30, "b": 30}


def test_a_worker_works_through_held_sessions():
    with sync.connect("memory:") as client:
        queue = client.queue("jobs")
        for n in range(20):
            queue.send_many([qr.Message(str(n), session=str(s)) for s in range(5)])
        done: Counter[str | None] = Counter()
        worker = sync.Worker(client, concurrency=4, max_sessions=2)

        @worker.handler(queue)
        def handle(delivery: sync.Delivery) -> None:
            assert int(delivery.text()) == done[delivery.session]
            done[delivery.session] += 1
            if done.total() == 100:
                worker.stop()

        assert worker.run().abandoned == 0
        assert done.total() == 100
