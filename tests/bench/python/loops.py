"""The loops of the Python area. Prints a JSON object of rounds; both sides run in one process, in
turns."""

from __future__ import annotations

import asyncio
import json
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import queue_runtime as qr
from queue_runtime import sync

BODY = b"\x5a" * 1024
ROUNDS = 9
ONE, BATCHES, PENDING = 20_000, 50_000, 5_000
IN_FLIGHT = 64


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def turns(*sides: Callable[[], float]) -> list[list[float]]:
    """Each side once to warm up, then in rounds that begin with another side."""
    samples: list[list[float]] = [[] for _ in sides]
    for side in sides:
        side()
    for number in range(ROUNDS):
        for turn in range(len(sides)):
            which = (number + turn) % len(sides)
            samples[which].append(sides[which]())
    return samples


def threads() -> dict[str, list[float]]:
    with sync.connect("memory:") as client:
        jobs, plain = client.queue("jobs"), queue.Queue()

        def one() -> None:
            for _ in range(ONE):
                jobs.send(BODY)
                job = jobs.receive_one(0)
                job.body
                job.ack()

        def batches() -> None:
            for _ in range(BATCHES // 100):
                jobs.send_many([BODY] * 100)
                received = jobs.receive(100, 0)
                for job in received:
                    job.body
                jobs.ack_many(received)

        def standard() -> None:
            for _ in range(ONE):
                plain.put(BODY)
                plain.get()
                plain.task_done()

        names = ("one", "batches", "queue")
        return dict(
            zip(
                names,
                turns(
                    lambda: rate(ONE, one),
                    lambda: rate(BATCHES, batches),
                    lambda: rate(ONE, standard),
                ),
                strict=True,
            )
        )


async def on_the_loop() -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {n: [] for n in ("a_one", "a_queue", "pending", "executor")}
    async with qr.connect("memory:") as client:
        jobs, plain = client.queue("jobs"), asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def one() -> None:
            for _ in range(ONE):
                await jobs.send(BODY)
                job = await jobs.receive_one(0)
                job.body
                await job.ack()

        async def standard() -> None:
            for _ in range(ONE):
                await plain.put(BODY)
                await plain.get()
                plain.task_done()

        # Each finds nothing at its start, so that it must wait.
        async def receiver(count: int) -> None:
            for _ in range(count):
                job = await jobs.receive_one(60)
                await job.ack()

        async def pending() -> None:
            each = PENDING // IN_FLIGHT
            receivers = [asyncio.create_task(receiver(each)) for _ in range(IN_FLIGHT)]
            for _ in range(each):
                await asyncio.sleep(0)
                for _ in range(IN_FLIGHT):
                    await jobs.send(BODY)
            await asyncio.gather(*receivers)

        with sync.connect("memory:") as blocking:
            others = blocking.queue("jobs")

            def receive() -> None:
                others.receive_one(60).ack()

            async def threaded(count: int) -> None:
                for _ in range(count):
                    await loop.run_in_executor(None, receive)

            async def executor() -> None:
                each = PENDING // IN_FLIGHT
                receivers = [asyncio.create_task(threaded(each)) for _ in range(IN_FLIGHT)]
                for _ in range(each):
                    await asyncio.sleep(0)
                    for _ in range(IN_FLIGHT):
                        others.send(BODY)
                await asyncio.gather(*receivers)

            sides = [
                ("a_one", one, ONE),
                ("a_queue", standard, ONE),
                ("pending", pending, PENDING),
                ("executor", executor, PENDING),
            ]
            for number in range(-1, ROUNDS):
                for turn in range(len(sides)):
                    name, work, count = sides[(number + turn) % len(sides)]
                    start = time.perf_counter()
                    await work()
                    if number >= 0:
                        samples[name].append(count / (time.perf_counter() - start))
    return samples


def importing() -> list[float]:
    """Milliseconds that `import queue_runtime` adds to an interpreter that has asyncio."""
    timed = (
        "import asyncio, time; t = time.perf_counter(); import queue_runtime; "
        "print((time.perf_counter() - t) * 1e3)"
    )
    run = [sys.executable, "-c", timed]
    return [float(subprocess.check_output(run)) for _ in range(ROUNDS)]


samples = threads() | asyncio.run(on_the_loop())
samples["import_ms"] = [statistics.median(importing())]
print(json.dumps(samples))
