"""The main job on real input: 329 webhooks as GitHub sends them, through `memory:`, from Python.

Webhooks of one pull request or issue are handled in the order they were sent, one at a time; those
of different ones side by side. One webhook fails on purpose until it is dead-lettered, and its
session waits (`on_failure = park`) until it is sent back. At the end everything must add up, or the
program fails.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import queue_runtime as qr

#: Handlers that take a session and work through it.
SESSION_HANDLERS = 6
#: Handlers that take whatever is ready: what has no session, and sessions nobody holds.
PLAIN_HANDLERS = 2
#: The webhook that cannot be handled before it was redriven.
FAILING = "issues-15"
#: Attempts that a message has, unless its queue says otherwise.
BUDGET = 5


@dataclass(frozen=True)
class Webhook:
    """One webhook to send. `issues-3` is the fourth payload of the event `issues`."""

    id: str
    event: str
    session: str | None
    payload: Any


def load(path: Path) -> list[Webhook]:
    """All webhooks, in the order of the file."""
    return [
        Webhook(f"{event['name']}-{number}", event["name"], session_key(payload), payload)
        for event in json.loads(path.read_bytes())
        for number, payload in enumerate(event["examples"])
    ]


def session_key(payload: Any) -> str | None:
    """What must stay in order: one pull request or issue, else what is left of one repository.
    Events of no repository have no order to keep."""
    name = (payload.get("repository") or {}).get("full_name")
    for subject in ("pull_request", "issue"):
        number = (payload.get(subject) or {}).get("number")
        if name is not None and number is not None:
            return f"{name}#{number}"
    return name


@dataclass(frozen=True)
class Attempt:
    """One attempt at one message, as its handler saw it."""

    id: str
    event: str
    handler: int
    number: int
    handled: bool
    started: float
    ended: float


class Handlers:
    """The handlers, and what they did."""

    def __init__(self, queue: qr.Queue) -> None:
        self._queue = queue
        self._changed = asyncio.Condition()
        self.attempts: list[Attempt] = []

    def start(self) -> list[asyncio.Task[None]]:
        on_sessions = [self._work_on_sessions(n) for n in range(SESSION_HANDLERS)]
        on_anything = [self._work_on_anything(SESSION_HANDLERS + n) for n in range(PLAIN_HANDLERS)]
        return [asyncio.create_task(work) for work in on_sessions + on_anything]

    async def until(self, count: int) -> None:
        """Waits for so many attempts."""

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self.attempts) >= count)

        await asyncio.wait_for(wait(), 60)

    async def _work_on_sessions(self, handler: int) -> None:
        """Takes one session after the other and works through each, in order."""
        while True:
            session = await self._queue.next_session()
            if session is None:
                continue
            async with session:
                async for delivery in session.consume(idle=0):
                    await self._work_on(delivery, handler)

    async def _work_on_anything(self, handler: int) -> None:
        """Takes one message after the other. One of a session holds it until it is settled."""
        async for delivery in self._queue.consume():
            await self._work_on(delivery, handler)

    async def _work_on(self, delivery: qr.Delivery, handler: int) -> None:
        started, reason = perf_counter(), None
        try:
            # Acks when the block ends, nacks when it raises.
            async with delivery:
                try:
                    await handle(delivery)
                finally:
                    ended = perf_counter()
        except TrackerDown as error:
            reason = error
        event = delivery.headers["event"]
        number, handled = delivery.attempt, reason is None
        self.attempts.append(Attempt(delivery.id, event, handler, number, handled, started, ended))
        async with self._changed:
            self._changed.notify_all()


class TrackerDown(Exception):
    """The failure on purpose."""


async def handle(delivery: qr.Delivery) -> None:
    """Reads the webhook and checks that it came whole and in the right session."""
    if session_key(delivery.json()) != delivery.session:
        raise RuntimeError("this payload is of another session")
    # Here a handler waits for a database or a peer, and others go on meanwhile.
    await asyncio.sleep(0)
    if delivery.id == FAILING and "qrt-redrive-count" not in delivery.headers:
        raise TrackerDown("the issue tracker is down")


async def main(path: Path) -> None:
    webhooks = load(path)
    first = next(index for index, webhook in enumerate(webhooks) if webhook.id == FAILING)
    # The failing webhook, and those behind it in its session.
    held_back = [w.id for w in webhooks[first:] if w.session == webhooks[first].session]

    async with qr.connect("memory:") as client:
        queue = client.queue("webhooks", on_failure="park")
        handlers = Handlers(queue)
        tasks = handlers.start()

        sent = {}
        for webhook in webhooks:
            sent[webhook.id] = perf_counter()
            headers = {"event": webhook.event}
            await queue.send(
                json=webhook.payload, id=webhook.id, session=webhook.session, headers=headers
            )
        print_input(webhooks)

        # Everything is handled but what is held back; the failing webhook uses up its budget.
        await handlers.until(len(webhooks) - len(held_back) + BUDGET)
        letters = await queue.dead_letters()
        print_dead_letters(letters, held_back)
        redriven = await queue.redrive()
        await handlers.until(len(webhooks) + BUDGET)

        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = await queue.statistics()

    ensure((len(letters), redriven.redriven) == (1, 1), "there is not one dead letter")
    ensure((left.depth, left.dead) == (0, 0), f"something is left in the queue: {left}")
    attempts = sorted(handlers.attempts, key=lambda attempt: attempt.started)
    check_handled(webhooks, attempts)
    ordered = check_order(webhooks, attempts)
    print_events(attempts)
    print_result(webhooks, attempts, ordered, sent, held_back)


def ensure(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(otherwise)


def check_handled(webhooks: list[Webhook], attempts: list[Attempt]) -> None:
    """Every webhook was handled once, and all but the failing one at the first attempt."""
    handled = Counter((attempt.id, attempt.event) for attempt in attempts if attempt.handled)
    ensure(
        handled == Counter((webhook.id, webhook.event) for webhook in webhooks),
        "what was handled is not what was sent",
    )
    failing = [attempt.number for attempt in attempts if attempt.id == FAILING]
    others = {attempt.number for attempt in attempts if attempt.id != FAILING}
    ensure(failing == [*range(1, BUDGET + 1), 1], f"{FAILING} had the attempts {failing}")
    ensure(others == {1}, "a message was delivered again that had not failed")


def check_order(webhooks: list[Webhook], attempts: list[Attempt]) -> int:
    """In each session messages were handled as sent, and no attempt began before the one before it
    had ended. Answers how many messages that was checked for."""
    session_of = {webhook.id: webhook.session for webhook in webhooks}
    sent: dict[str, list[str]] = {}
    for webhook in webhooks:
        if webhook.session is not None:
            sent.setdefault(webhook.session, []).append(webhook.id)
    seen: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        session = session_of[attempt.id]
        if session is not None:
            seen.setdefault(session, []).append(attempt)
    for session, tried in seen.items():
        # Several attempts at one message in a row are one place in the order.
        ids = [a.id for n, a in enumerate(tried) if n == 0 or tried[n - 1].id != a.id]
        ensure(ids == sent.pop(session), f"{session} was not handled in its order")
        overlap = any(b.started < a.ended for a, b in pairwise(tried))
        ensure(not overlap, f"{session}: two handlers at one time")
    ensure(not sent, f"nothing was handled of {list(sent)}")
    return sum(session is not None for session in session_of.values())


def print_input(webhooks: list[Webhook]) -> None:
    sessions = {webhook.session for webhook in webhooks} - {None}
    free = sum(webhook.session is None for webhook in webhooks)
    print(
        f"Sent {len(webhooks)} webhooks to memory: {len(webhooks) - free} in {len(sessions)} "
        f"sessions (a pull request, an issue, or the rest of a repository), {free} without one"
    )


def print_dead_letters(letters: list[qr.DeadLetter], held_back: list[str]) -> None:
    print("\nDead letters, before they are redriven")
    for letter in letters:
        print(f"  message       {letter.id}")
        print(f"  session       {letter.session}")
        print(f"  reason        {letter.reason}")
        print(f"  description   {letter.description}")
        print(f"  attempts      {letter.attempts}")
        print(f"  waiting       {len(held_back) - 1} messages behind it")


def print_events(attempts: list[Attempt]) -> None:
    columns = 3
    counts = Counter(attempt.event for attempt in attempts if attempt.handled)
    print(f"\nHandled, by event ({len(counts)} events)")
    cells = [f"{event:<30} {count:>3}" for event, count in sorted(counts.items())]
    rows = -(-len(cells) // columns)
    for row in range(rows):
        print("  " + "   ".join(cells[row::rows]))


def print_result(
    webhooks: list[Webhook],
    attempts: list[Attempt],
    ordered: int,
    sent: dict[str, float],
    held_back: list[str],
) -> None:
    sessions = {webhook.session for webhook in webhooks} - {None}
    by_handler = Counter(attempt.handler for attempt in attempts)
    side_by_side = max(
        sum(other.started <= at.started < other.ended for other in attempts) for at in attempts
    )
    ended = {attempt.id: attempt.ended for attempt in attempts if attempt.handled}

    def latency(pick: Callable[[str], bool]) -> str:
        millis = [(ended[id] - at) * 1000 for id, at in sent.items() if pick(id)]
        cuts = statistics.quantiles(millis, n=100, method="inclusive")
        return f"p50 {cuts[49]:.1f}ms, p99 {cuts[98]:.1f}ms"

    total, handlers = len(webhooks), range(SESSION_HANDLERS + PLAIN_HANDLERS)
    print("\nResult")
    print(f"  handled       {len(ended)} of {total}")
    print(f"  in order      {ordered} messages of {len(sessions)} sessions, one at a time in each")
    print(f"  attempts      {len(attempts)}, {len(attempts) - total} failed on purpose")
    print(f"  by handler    {' + '.join(str(by_handler[handler]) for handler in handlers)}")
    print(f"  at one time   up to {side_by_side}")
    print("  dead letters  1")
    print("  redriven      1")
    print(f"  latency       {latency(lambda id: id not in held_back)}")
    print(f"  held back     {latency(lambda id: id in held_back)} (by the dead letter)")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: webhooks.py PAYLOADS.json")
    asyncio.run(main(Path(sys.argv[1])))
