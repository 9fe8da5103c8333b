"""What is sent comes as it was sent."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

import queue_runtime as qr
from queue_runtime import errors


@pytest.mark.parametrize(
    ("body", "bytes_"),
    [
        (b"bytes", b"bytes"),
        ("grüße", "grüße".encode()),
        (bytearray(b"array"), b"array"),
        (memoryview(b"xviewx")[1:5], b"view"),
        (b"", b""),
        ("", b""),
        (b"\0\xff", b"\0\xff"),
    ],
)
async def test_bodies_are_bytes(qrt, body, bytes_):
    queue = qrt.queue("jobs")
    await queue.send(body)
    delivery = await queue.receive_one(0)
    assert delivery.body == bytes_
    assert bytes(delivery.body_view) == bytes_
    assert delivery.content_type is None


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "ü"]}, None, [], "text", 0, True])
async def test_any_value_is_sent_as_json(qrt, value):
    queue = qrt.queue("jobs")
    await queue.send(json=value)
    delivery = await queue.receive_one(0)
    assert delivery.json() == value
    assert json.loads(delivery.text()) == value
    assert delivery.content_type == "application/json"


async def test_everything_said_of_a_message_travels_with_it(qrt, qrt_clock):
    queue = qrt.queue("jobs")
    sent = await queue.send(
        "x",
        id="m-1",
        headers={"b": "2", "a": "1"},
        session="s",
        correlation_id="c",
        content_type="text/x",
        ttl=timedelta(minutes=1),
        delay=1.5,
        dedup_id="d",
    )
    assert (sent.id, sent.is_duplicate, sent.error) == ("m-1", False, None)
    assert (await queue.send("x", dedup_id="d")).is_duplicate
    assert await queue.receive_one(0) is None
    qrt_clock.advance(1.5)
    delivery = await queue.receive_one(0)
    assert (delivery.id, delivery.session, delivery.attempt) == ("m-1", "s", 1)
    assert delivery.headers == {"a": "1", "b": "2"}
    assert (delivery.correlation_id, delivery.content_type) == ("c", "text/x")
    assert delivery.dedup_id == "d"
    assert delivery.locked_until - delivery.enqueued_at == timedelta(seconds=31.5)
    assert delivery.locked_until.tzinfo is timezone.utc
    assert delivery.sequence > 0


async def test_a_message_is_made_once_and_sent_often(qrt):
    message = qr.Message(json={"n": 1}, session="s", headers={"h": "v"}, ttl=60, delay=0)
    assert (message.id, message.session, message.headers) == (None, "s", {"h": "v"})
    assert (message.body, message.text(), message.json()) == (b'{"n":1}', '{"n":1}', {"n": 1})
    assert (message.ttl, message.delay) == (60.0, 0.0)
    queue = qrt.queue("jobs")
    first, second = await queue.send(message), await queue.send(message)
    assert first.id != second.id
    assert len(await queue.receive(10, 0)) == 2
    with pytest.raises(TypeError, match="sent as it is"):
        queue.send(message, session="t")


async def test_a_batch_has_a_result_for_each(qrt):
    queue = qrt.queue("jobs", max_message_bytes=10)
    results = await queue.send_many([b"a", "b", qr.Message("c", id="m"), b"x" * 11])
    assert len(results) == 4
    assert [result.error is None for result in results] == [True, True, True, False]
    assert results[2].id == "m"
    assert (results[-1].id, results[-1].is_duplicate) == (None, False)
    assert isinstance(results[-1].error, errors.MessageTooLargeError)
    assert (results[-1].error.size, results[-1].error.limit) == (11, 10)
    assert [result.id for result in results[1:3]] == [results[1].id, "m"]
    with pytest.raises(IndexError):
        results[4]
    with pytest.raises(errors.BatchError, match="1 of 4 failed") as raised:
        results.raise_for_errors()
    assert raised.value.results is results
    assert isinstance(raised.value.__cause__, errors.MessageTooLargeError)
    (await queue.send_many([b"a"])).raise_for_errors()
    assert len(await queue.send_many([])) == 0


async def test_deliveries_end_in_four_ways(qrt):
    queue = qrt.queue("jobs", retry="none", budget=2)
    await queue.send_many(["ack", "nack", "release", "dead"])
    acked, nacked, released, dead = await queue.receive(4, 0)
    await acked.ack()
    await nacked.nack("because")
    await released.release()
    await dead.dead_letter("poison", "at length")
    assert all(delivery.settled for delivery in (acked, nacked, released, dead))
    again = {delivery.text(): delivery.attempt for delivery in await queue.receive(4, 0)}
    assert again == {"nack": 2, "release": 1}
    (letter,) = await queue.dead_letters()
    assert (letter.text(), letter.reason, letter.description) == ("dead", "poison", "at length")
    with pytest.raises(errors.InvalidReceiptError, match="settled before"):
        await acked.ack()


async def test_many_deliveries_end_at_once(qrt, qrt_clock):
    queue = qrt.queue("jobs", retry="none", lock=30)
    await queue.send_many(["a", "b", "c", "d"])
    a, b, c, d = await queue.receive(4, 0)
    assert [result.error for result in await queue.extend_many([a, b], 60)] == [None, None]
    qrt_clock.advance(30)
    with pytest.raises(errors.LockLostError):
        await c.ack()
    c, d = await queue.receive(4, 0)
    assert (c.text(), d.text()) == ("c", "d")
    results = await queue.settle(
        [
            qr.Settlement.ack(a),
            qr.Settlement.nack(b, "why", delay=timedelta(seconds=1)),
            qr.Settlement.release(c, delay=1),
            qr.Settlement.dead_letter(d, "poison", "at length"),
            qr.Settlement.ack(a),
        ]
    )
    assert [type(result.error) for result in results][:4] == [type(None)] * 4
    assert isinstance(results[4].error, errors.InvalidReceiptError)
    statistics = await queue.statistics()
    assert (statistics.ready, statistics.delayed, statistics.dead) == (0, 2, 1)


async def test_what_is_acked_together_is_gone(qrt):
    queue = qrt.queue("jobs")
    await queue.send_many([b"x"] * 100)
    deliveries = await queue.receive(100, 0)
    results = await queue.ack_many(deliveries)
    results.raise_for_errors()
    assert len(results) == 100
    assert (await queue.statistics()).depth == 0


async def test_a_view_keeps_its_memory_and_cannot_be_written(qrt):
    queue = qrt.queue("jobs")
    await queue.send(bytes(range(256)) * 1000)
    delivery = await queue.receive_one(0)
    view = delivery.body_view
    await delivery.ack()
    del delivery
    assert view == bytes(range(256)) * 1000
    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 1


async def test_a_lock_is_kept(qrt, qrt_clock):
    queue = qrt.queue("jobs", lock=timedelta(seconds=10))
    await queue.send("x")
    delivery = await queue.receive_one(0)
    qrt_clock.advance(9)
    await delivery.extend(10)
    qrt_clock.advance(9)
    await delivery.ack()
    await queue.send("y")
    lost = await queue.receive_one(0, lock=1)
    qrt_clock.advance(1)
    with pytest.raises(errors.LockLostError):
        await lost.ack()


async def test_sessions_are_held_by_one(qrt):
    queue = qrt.queue("jobs")
    await queue.send_many([qr.Message(str(n), session="s") for n in range(3)])
    async with queue.session("s") as session:
        assert session.id == "s"
        with pytest.raises(errors.SessionLockedError) as raised:
            await queue.session("s")
        assert raised.value.until in (None, session.locked_until)
        assert await session.state() is None
        await session.set_state("half")
        async for delivery in session.consume(2, idle=0):
            assert delivery.text() == "0"
            await delivery.ack()
            break
        assert (await session.receive_one(0)).text() == "1"
        await session.renew(120)
    # Let go at the end of the block, and what was not settled is back.
    again = await queue.next_session(0)
    assert await again.state() == b"half"
    await again.set_state(None)
    assert await again.state() is None
    assert (await again.receive_one(0)).attempt == 2
    assert len(await again.receive(5, 0)) == 1
    await again.close()
    assert await queue.next_session(0) is not None


async def test_queues_are_looked_at(qrt, qrt_clock):
    queue = qrt.queue("jobs", budget=1, retry="none")
    start = qrt_clock.now()
    await queue.send_many([qr.Message(c, headers={"h": c}, session=f"s{c}") for c in "abc"])
    qrt_clock.advance(1)
    a, b, c = await queue.receive(3, 0)
    peeked = await queue.peek(2)
    assert [(m.text(), m.state, m.attempts) for m in peeked] == [
        ("a", "in_flight", 1),
        ("b", "in_flight", 1),
    ]
    assert [m.text() for m in await queue.peek(after=peeked[-1].sequence)] == ["c"]
    assert peeked[0].enqueued_at == start
    for delivery in (a, b):
        await delivery.nack("broken")
    await c.dead_letter("poison")
    letters = await queue.dead_letters()
    assert [letter.reason for letter in letters] == ["max_attempts", "max_attempts", "poison"]
    assert (letters[0].description, letters[0].source, letters[0].attempts) == ("broken", "jobs", 1)
    assert letters[0].dead_lettered_at == letters[0].first_delivered_at == qrt_clock.now()
    assert (letters[0].session, letters[0].headers) == ("sa", {"h": "a"})
    only = [
        await queue.dead_letters(reason="poison"),
        await queue.dead_letters(session="sc"),
        await queue.dead_letters(header=("h", "c")),
        await queue.dead_letters(ids=[letters[2].id]),
        await queue.dead_letters(after=letters[1].number),
    ]
    assert [[letter.text() for letter in listed] for listed in only] == [["c"]] * 5
    assert await queue.dead_letters(since=qrt_clock.now() + timedelta(seconds=1)) == []
    assert await queue.dead_letters(until=datetime(2000, 1, 1, tzinfo=timezone.utc)) == []
    dry = await queue.redrive(dry_run=True)
    assert (dry.matched, dry.redriven, dry.failed) == (3, 0, {})
    report = await queue.redrive(max_messages=1, per_second=100)
    assert (report.redriven, report.last) == (1, letters[0].number)
    assert await queue.purge_dead_letters(reason="max_attempts") == 1
    statistics = await queue.statistics()
    assert (statistics.ready, statistics.dead) == (1, 1)
    assert statistics.oldest_age == 0.0


async def test_capabilities_are_data(qrt):
    capabilities = qrt.capabilities()
    assert capabilities.provider == "memory"
    assert capabilities.supports("sessions")
    assert not capabilities.supports("defer")
    with pytest.raises(KeyError):
        capabilities.supports("telepathy")
    async with qr.connect("memory:", require=["sessions", "delay"]):
        pass
    with pytest.raises(errors.UnsupportedError) as raised:
        await qr.connect("memory:", require=["defer"])
    assert raised.value.capability == "defer"


async def test_a_client_opens_by_await_and_as_a_context(qrt_clock):
    client = await qr.connect("memory:", runtime=qrt_clock, lock="10s", budget=2)
    await client.queue("jobs").send("x")
    await client.close()
    await client.close()
    with pytest.raises(errors.ClosedError):
        await client.queue("jobs").send("x")
    async with qr.connect("memory:", runtime=qrt_clock) as client:
        queue = client.queue("jobs")
        async with client:
            await queue.send("x")
        with pytest.raises(errors.ClosedError):
            await queue.send("x")


async def test_the_url_may_come_from_the_environment(monkeypatch, qrt_clock):
    monkeypatch.setenv("QUEUE_RUNTIME_URL", "memory:?lock=7s")
    async with qr.connect(runtime=qrt_clock) as client:
        queue = client.queue("jobs")
        await queue.send("x")
        delivery = await queue.receive_one(0)
        assert delivery.locked_until - client.runtime.now() == timedelta(seconds=7)


def test_metrics_are_text(qrt_sync, qrt_clock):
    qrt_sync.queue("jobs").send("x")
    assert "queue_runtime_messages" in qrt_clock.metrics()
    assert qrt_clock.metrics().endswith("# EOF\n")


def test_no_body_is_shown(qrt_sync):
    queue = qrt_sync.queue("jobs")
    queue.send("secret", session="s")
    shown = [repr(qr.Message("secret", session="s")), repr(queue.peek())]
    delivery = queue.receive_one(0)
    shown += [repr(delivery), repr(queue), repr(queue.session), repr(qrt_sync)]
    delivery.dead_letter("r")
    shown += [repr(queue.dead_letters())]
    assert not [text for text in shown if "secret" in text]
    assert delivery.id in shown[2]
