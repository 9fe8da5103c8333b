"""What is cancelled takes nothing with it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from conftest import PATIENCE, SOAK, until

import queue_runtime as qr


async def test_a_cancelled_receive_takes_nothing(qrt):
    queue = qrt.queue("jobs")
    waiting = asyncio.create_task(queue.receive_one(PATIENCE))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await queue.send("x")
    assert (await queue.receive_one(0)).attempt == 1


async def test_a_message_that_came_too_late_for_its_receiver_is_back_at_once(qrt):
    queue = qrt.queue("jobs")
    for _ in range(100):
        waiting = asyncio.create_task(queue.receive(5, PATIENCE))
        await asyncio.sleep(0)
        await queue.send("x")
        # The engine has handed it over, or is about to.
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        delivery = await queue.receive_one(0)
        assert delivery.attempt == 1
        await delivery.ack()


async def test_a_session_that_came_too_late_is_free_at_once(qrt):
    queue = qrt.queue("jobs")
    for number in range(100):
        waiting = asyncio.create_task(queue.next_session(PATIENCE))
        await asyncio.sleep(0)
        await queue.send("x", session=f"s{number}")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with queue.session(f"s{number}") as session:
            await (await session.receive_one(0)).ack()


async def test_a_timeout_is_a_cancellation(qrt):
    queue = qrt.queue("jobs")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.receive_one(PATIENCE), 0.01)
    await queue.send("x")
    assert await queue.receive_one(0) is not None


async def test_nothing_happens_before_it_is_awaited(qrt):
    queue = qrt.queue("jobs")
    queue.send("never awaited")
    call = queue.send("closed")
    call.close()
    task = asyncio.create_task(queue.send("cancelled before its first step"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await queue.statistics()).depth == 0
    call = queue.send("awaited")
    await call
    with pytest.raises(RuntimeError, match="already awaited"):
        await call
    assert (await queue.statistics()).depth == 1


async def test_a_second_cancellation_does_not_wait(qrt):
    call = qrt.queue("jobs").receive_one(PATIENCE)
    assert isinstance(call.send(None), asyncio.Future)
    with pytest.raises(asyncio.CancelledError, match=r"first|second"):
        # Unless its operation has ended already, it waits for that.
        assert isinstance(call.throw(asyncio.CancelledError("first")), asyncio.Future)
        call.throw(asyncio.CancelledError("second"))


async def test_any_other_exception_ends_it_at_once(qrt):
    queue = qrt.queue("jobs")
    call = queue.receive_one(PATIENCE)
    call.send(None)
    with pytest.raises(ZeroDivisionError):
        call.throw(ZeroDivisionError)
    await queue.send("x")
    assert (await queue.receive_one(PATIENCE)).attempt == 1


async def test_calls_are_coroutines_to_asyncio(qrt):
    queue = qrt.queue("jobs")
    assert asyncio.iscoroutine(queue.receive())
    sent = await asyncio.gather(*(queue.send(str(n)) for n in range(3)))
    assert len({result.id for result in sent}) == 3
    task = asyncio.create_task(queue.receive(3, 0))
    assert "Queue.receive" in repr(task)
    assert len(await asyncio.shield(task)) == 3


async def test_random_cancellations_lose_nothing(qrt, qrt_clock):
    """Senders and receivers are cancelled at random moments: what was sent is received, at its
    first attempt, and what was received is received once."""
    queue = qrt.queue("jobs", max_messages=5, lock="12h")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    count = 2000 * SOAK
    sent: set[str] = set()
    acked: Counter[str] = Counter()
    over = asyncio.Event()

    async def send() -> None:
        for number in range(count):
            # It waits for room at times. One that is cancelled may have been sent, or not.
            while True:
                sending = asyncio.create_task(queue.send(str(number)))
                for _ in range(choose.randrange(4)):
                    await asyncio.sleep(0)
                if choose.random() < 0.2:
                    sending.cancel()
                try:
                    sent.add((await sending).id)
                    break
                except asyncio.CancelledError:
                    assert sending.cancelled()

    async def receive() -> None:
        while not over.is_set():
            receiving = asyncio.create_task(queue.receive(choose.randrange(1, 5), PATIENCE))
            for _ in range(choose.randrange(6)):
                await asyncio.sleep(0)
            if choose.random() < 0.5:
                receiving.cancel()
            try:
                for delivery in await receiving:
                    assert delivery.attempt == 1
                    acked[delivery.id] += 1
                    await delivery.ack()
            except asyncio.CancelledError:
                assert receiving.cancelled()

    receivers = [asyncio.create_task(receive()) for _ in range(4)]
    await asyncio.wait_for(send(), PATIENCE * SOAK)
    over.set()
    while not all(receiver.done() for receiver in receivers):
        qrt_clock.advance(PATIENCE)
        await asyncio.sleep(0)
    await asyncio.gather(*receivers)
    async for delivery in queue.consume(idle=0):
        assert delivery.attempt == 1
        acked[delivery.id] += 1
        await delivery.ack()
    assert (await queue.statistics()).depth == 0
    assert len(sent) == count
    assert sent <= acked.keys()
    assert set(acked.values()) == {1}


async def test_an_iterator_that_is_left_gives_back_what_it_fetched(qrt):
    queue = qrt.queue("jobs")
    await queue.send_many([str(n) for n in range(10)])
    async for delivery in queue.consume(prefetch=4):
        assert delivery.text() == "0"
        await delivery.ack()
        break
    await _waiting(queue, 9)

    with pytest.raises(ZeroDivisionError):
        async for _ in queue.consume(prefetch=4):
            raise ZeroDivisionError
    # The one in hand when it was left is not settled.
    await _waiting(queue, 8)

    async with queue.consume(prefetch=4) as consumer:
        async for delivery in consumer:
            await delivery.ack()
            break
        await until(lambda: consumer.status().prefetched >= 3)
        assert consumer.status().in_hand == 0
    # A consumer that was closed has given back what it fetched.
    assert (await queue.statistics()).ready == 7
    assert [delivery async for delivery in consumer] == []


async def _waiting(queue: qr.Queue, count: int) -> None:
    async def is_so() -> bool:
        return (await queue.statistics()).ready == count

    await until(is_so)


async def test_a_closed_consumer_tells_who_waits_for_it(qrt):
    queue = qrt.queue("jobs")
    consumer = queue.consume(prefetch=8)

    async def consume() -> list[str]:
        return [delivery.text() async for delivery in consumer]

    waiting = [asyncio.create_task(consume()) for _ in range(3)]
    await asyncio.sleep(0)
    await consumer.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE) == [[], [], []]
    await queue.send("x")
    assert await queue.receive_one(0) is not None


async def test_a_consumer_ends_when_it_was_idle_for_as_long_as_it_may(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock="12h")
    await queue.send_many(["a", "b", "c"])
    assert [d.text() async for d in queue.consume(idle=0)] == ["a", "b", "c"]

    async def consume() -> list[str]:
        return [delivery.text() async for delivery in queue.consume(idle=5)]

    consuming = asyncio.create_task(consume())
    await asyncio.sleep(0)
    qrt_clock.advance(4)
    await queue.send("d")
    while not consuming.done():
        qrt_clock.advance(1)
        await asyncio.sleep(0)
    assert await consuming == ["d"]


async def test_a_block_settles_its_message(qrt):
    queue = qrt.queue("jobs", retry="none", budget=2)
    await queue.send("x")
    with pytest.raises(ValueError, match="why"):
        async with await queue.receive_one(0):
            raise ValueError("why")
    # A cancellation is no fault of the message.
    delivery = await queue.receive_one(0)

    async def handle() -> None:
        async with delivery:
            await asyncio.sleep(PATIENCE)

    handling = asyncio.create_task(handle())
    await asyncio.sleep(0)
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    again = await queue.receive_one(0)
    assert again.attempt == 2
    async with again as entered:
        assert entered is again
        await entered.nack("last")
    (letter,) = await queue.dead_letters()
    assert letter.description == "last"
    await queue.send("y")
    async with await queue.receive_one(0) as last:
        pass
    assert last.settled
    assert (await queue.statistics()).depth == 0


async def test_a_failure_in_a_block_is_not_hidden_by_a_lost_lock(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock=1)
    await queue.send("x")
    with pytest.raises(ValueError, match="mine"):
        async with await queue.receive_one(0):
            qrt_clock.advance(1)
            raise ValueError("mine")
    lost = await queue.receive_one(0)
    qrt_clock.advance(1)
    with pytest.raises(qr.errors.LockLostError):
        async with lost:
            pass
