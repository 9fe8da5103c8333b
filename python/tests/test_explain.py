"""When messages are tried again, as it is explained."""

from __future__ import annotations

from datetime import timedelta

import pytest

import queue_runtime as qr
import queue_runtime.sync
from queue_runtime import errors


async def test_a_schedule(qrt):
    queue = qrt.queue("jobs", budget=3, retry="exponential:100ms,2,30s,jitter", lock=10)
    said = await queue.explain()
    assert isinstance(said, qr.Explanation)
    assert (said.queue, said.provider, said.dead_letters) == ("jobs", "memory", "jobs")
    assert (said.budget, said.budget_from, said.max_receives) == (3, "queue", None)
    assert said.waits == [(0, 0.1), (0, 0.2)]
    assert (said.lock, said.longest_wait, said.on_failure) == (10, None, "block")
    assert said.retry == "exponential:100ms,2,30s,jitter"
    assert not said.failures["release"].uses_attempt
    assert str(said) == said.text
    assert "after attempt 2: 0s to 200ms later" in str(said)
    assert repr(said) == "<Explanation of jobs>"


async def test_where_a_message_stands(qrt, qrt_clock):
    queue = qrt.queue("jobs", budget=2, retry="fixed:4s", lock=10)
    await queue.send("x", id="m", session="s")
    await queue.send("y", id="n", session="s", ttl=60)
    delivery = await queue.receive_one(0)
    said = await queue.explain_message("m")
    assert isinstance(said, qr.MessageExplanation)
    assert (said.standing, said.attempts, said.budget, said.session) == ("in_flight", 1, 2, "s")
    assert said.until == said.now + timedelta(seconds=10)
    assert said.earliest == said.now + timedelta(seconds=4)
    assert said.latest == said.now + timedelta(seconds=14)
    await delivery.nack()
    said = await queue.explain_message("n")
    assert said.expires_at == said.now + timedelta(minutes=1)
    assert said.behind is not None
    assert (said.behind.id, said.behind.standing) == ("m", "delayed")
    assert said.earliest == said.behind.until == said.now + timedelta(seconds=4)
    assert "behind m, which comes back in 4s" in str(said)
    qrt_clock.advance(4)
    await (await queue.receive_one(0)).nack("no milk")
    said = await queue.explain_message("m")
    assert said.standing == "dead"
    assert said.death is not None
    assert (said.death.reason, said.death.description) == ("max_attempts", "no milk")
    assert said.death.at == said.now
    assert (await queue.explain_message("nobody")).standing == "gone"
    assert repr(said) == "<MessageExplanation of m: dead>"
    with pytest.raises(errors.InvalidArgumentError, match="id"):
        await queue.explain_message("")


def test_in_threads():
    with qr.sync.connect("memory:") as client:
        queue = client.queue("jobs")
        assert "5 attempts" in str(queue.explain())
        queue.send("x", id="m")
        assert queue.explain_message("m").standing == "ready"
