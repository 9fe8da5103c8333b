"""The webhooks through one `file:` store that processes in several languages share: Python sends,
the workers whose commands are given handle, and one of them is killed in the middle.

    python webhooks_shared.py PAYLOADS.json COMMAND...

Each COMMAND is a worker, started with the URL of the store. The first one is told to get stuck in
its HANG-th webhook, and then killed with SIGKILL. At the end every webhook must have been handled
once, in order within its session, and the one in the dead worker's hands must have cost an attempt;
or the program fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webhooks import Webhook, load

import queue_runtime as qr

#: The webhook in which the first worker gets stuck.
HANG = 20
#: How long the whole may take, in seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Report:
    """What a worker says of a webhook it has handled."""

    worker: str
    id: str
    attempt: int
    sender: str | None


async def main(payloads: Path, commands: list[str]) -> None:
    webhooks = load(payloads)
    with tempfile.TemporaryDirectory() as folder:
        url = f"file://{folder}"
        async with qr.connect(url) as client:
            reports, killed = await asyncio.wait_for(run(client, url, webhooks, commands), PATIENCE)
            left = await client.queue("webhooks").statistics()
    check(webhooks, reports, killed)
    assert left.depth == left.dead == 0, left
    print_table(webhooks, reports, killed)


async def run(
    client: qr.Client, url: str, webhooks: list[Webhook], commands: list[str]
) -> tuple[list[Report], str]:
    """Sends, lets the workers work and kills one. Gives their reports, and the id of the webhook
    that the killed one had in its hands."""
    queue = client.queue("webhooks")
    half = len(webhooks) // 2
    await queue.send_many(map(message, webhooks[:half]))
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(worker(commands[0], url, str(HANG)))
        others = [await stack.enter_async_context(worker(each, url)) for each in commands[1:]]
        await queue.send_many(map(message, webhooks[half:]))
        killed = await kill_when_stuck(first)
        reports = [await next_report(client.queue("handled")) for _ in webhooks]
        for process in others:
            assert await process.wait() == 0, "a worker failed"
    assert await client.queue("handled").receive_one(0) is None, "a webhook was handled twice"
    return reports, killed


def message(webhook: Webhook) -> qr.Message:
    return qr.Message(json=webhook.payload, id=webhook.id, session=webhook.session)


@contextlib.asynccontextmanager
async def worker(command: str, *arguments: str) -> AsyncIterator[Process]:
    """A worker, which does not outlive this block."""
    process = await asyncio.create_subprocess_exec(*shlex.split(command), *arguments, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def kill_when_stuck(process: Process) -> str:
    """The id of the webhook that it was stuck with."""
    assert process.stdout is not None
    said = (await process.stdout.readline()).decode().split()
    assert said[:2] == ["stuck", "with"], f"the first worker ended with {await process.wait()}"
    process.kill()
    await process.wait()
    return said[2]


async def next_report(handled: qr.Queue) -> Report:
    delivery = await handled.receive_one(PATIENCE)
    assert delivery is not None, "not every webhook was handled"
    async with delivery:
        return Report(**delivery.json())


def check(webhooks: list[Webhook], reports: list[Report], killed: str) -> None:
    by_id = {report.id: report for report in reports}
    assert by_id.keys() == {webhook.id for webhook in webhooks}, "some were not handled"
    for webhook in webhooks:
        sender = (webhook.payload.get("sender") or {}).get("login")
        assert (by_id[webhook.id].sender or None) == sender, f"{webhook.id} came through changed"
    attempts = {report.id: report.attempt for report in reports if report.attempt > 1}
    assert attempts == {killed: 2}, f"{attempts} instead of one crash, with {killed}"
    assert by_session(webhooks, reports) == by_session(webhooks, webhooks), (
        "a session lost its order"
    )


def by_session(webhooks: list[Webhook], ordered: list[Any]) -> dict[str, list[str]]:
    """The ids of each session, in the order of these."""
    sessions = {webhook.id: webhook.session for webhook in webhooks}
    found: dict[str, list[str]] = {}
    for entry in ordered:
        session = sessions[entry.id]
        if session is not None:
            found.setdefault(session, []).append(entry.id)
    return found


def print_table(webhooks: list[Webhook], reports: list[Report], killed: str) -> None:
    print(f"{'worker':10} {'handled':>8} {'sessions':>9}")
    sessions = {webhook.id: webhook.session for webhook in webhooks}
    handled = Counter(report.worker for report in reports)
    for name, count in sorted(handled.items()):
        mine = {sessions[report.id] for report in reports if report.worker == name} - {None}
        print(f"{name:10} {count:8} {len(mine):9}")
    order = by_session(webhooks, webhooks)
    successor = next(report.worker for report in reports if report.id == killed)
    print(f"\n{len(webhooks)} webhooks, each handled once; {len(order)} sessions, each in order.")
    print(f"One worker was killed with {killed} in its hands: {successor} handled it at attempt 2.")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: webhooks_shared.py PAYLOADS.json COMMAND COMMAND...")
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
