"""Dead letters are counted by reason, source and age, in both modes."""

from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

import queue_runtime as qr

DAY = timedelta(days=1)


async def test_they_say_what_died_why_and_since_when(qrt, qrt_clock):
    queue = qrt.queue("jobs")
    await queue.send_many(["a", "bb", "ccc"])
    deliveries = {d.text(): d for d in await queue.receive(3, 0)}
    first = qrt_clock.now()
    await deliveries["a"].dead_letter("poison")
    qrt_clock.advance(5)
    await deliveries["bb"].dead_letter("late")
    await deliveries["ccc"].dead_letter("late")
    last = qrt_clock.now()

    said = await queue.dead_letter_statistics()
    assert (said.count, said.bytes, said.oldest, said.newest) == (3, 6, first, last)
    assert said.by_reason == [
        qr.DeadLetterGroup("late", 2, last, last),
        qr.DeadLetterGroup("poison", 1, first, first),
    ]
    assert said.by_source == [qr.DeadLetterGroup("jobs", 3, first, last)]
    qrt_clock.advance(58)
    ages = [(age.up_to, age.count) for age in (await queue.dead_letter_statistics()).by_age]
    assert ages == [(60.0, 2), (3600.0, 1), (86400.0, 0), (604800.0, 0), (None, 0)]
    with pytest.raises(FrozenInstanceError):
        said.count = 0


async def test_only_what_all_the_filters_match_is_counted(qrt, qrt_clock):
    queue = qrt.queue("jobs")
    await queue.send_many([qr.Message(c, headers={"h": c}, session=f"s{c}") for c in "abc"])
    for delivery in await queue.receive(3, 0):
        await delivery.dead_letter("late" if delivery.text() == "b" else "poison")
    a, b, _ = await queue.dead_letters()
    only = [
        await queue.dead_letter_statistics(reason="late"),
        await queue.dead_letter_statistics(session="sb"),
        await queue.dead_letter_statistics(header=("h", "b")),
        await queue.dead_letter_statistics(ids=[b.id]),
        await queue.dead_letter_statistics(reason="late", since=b.dead_lettered_at),
    ]
    assert [said.count for said in only] == [1] * 5
    none = await queue.dead_letter_statistics(until=a.dead_lettered_at)
    assert (none.count, none.bytes, none.oldest, none.newest) == (0, 0, None, None)
    assert (none.by_reason, none.by_source, len(none.by_age)) == ([], [], 5)


def test_sync_has_the_same(qrt_sync):
    queue = qrt_sync.queue("jobs")
    queue.send("a")
    queue.receive_one(0).dead_letter("poison")
    said = queue.dead_letter_statistics(reason="poison")
    assert isinstance(said, qr.sync.DeadLetterStatistics)
    assert [(group.name, group.count) for group in said.by_reason] == [("poison", 1)]
