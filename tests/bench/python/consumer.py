"""The loops of the consumer area in Python: handlers on a worker, beside as many threads or tasks on
the queue that the language has. Prints a JSON object of rounds."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable
from itertools import count

import queue_runtime as qr
from queue_runtime import sync

BODY = b"\x5a" * 1024
ROUNDS = 9
COUNT = 20_000
HANDLERS = 16


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


def worker_of_threads(client: sync.Client) -> float:
    worker, handled = sync.Worker(client, concurrency=HANDLERS), count(1)

    @worker.handler("threads")
    def handle(job: sync.Delivery) -> None:
        if next(handled) == COUNT:
            worker.stop()

    client.queue("threads").send_many([BODY] * COUNT).raise_for_errors()
    start = time.perf_counter()
    worker.run()
    return COUNT / (time.perf_counter() - start)


def threads_on_a_queue() -> float:
    jobs, handled = queue.Queue(), count(1)

    def handle(job: bytes) -> None:
        if next(handled) == COUNT:
            for _ in threads:
                jobs.put(None)

    def work() -> None:
        while (job := jobs.get()) is not None:
            handle(job)
            jobs.task_done()

    for _ in range(COUNT):
        jobs.put(BODY)
    threads = [threading.Thread(target=work) for _ in range(HANDLERS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return COUNT / (time.perf_counter() - start)


async def worker_of_tasks(client: qr.Client) -> float:
    worker, handled = qr.Worker(client, concurrency=HANDLERS), count(1)

    @worker.handler("tasks")
    async def handle(job: qr.Delivery) -> None:
        if next(handled) == COUNT:
            worker.stop()

    (await client.queue("tasks").send_many([BODY] * COUNT)).raise_for_errors()
    start = time.perf_counter()
    await worker.run()
    return COUNT / (time.perf_counter() - start)


async def tasks_on_a_queue() -> float:
    jobs, handled = asyncio.Queue(), count(1)

    async def handle(job: bytes) -> None:
        if next(handled) == COUNT:
            for _ in tasks:
                jobs.put_nowait(None)

    async def work() -> None:
        while (job := await jobs.get()) is not None:
            await handle(job)
            jobs.task_done()

    for _ in range(COUNT):
        jobs.put_nowait(BODY)
    start = time.perf_counter()
    tasks = [asyncio.create_task(work()) for _ in range(HANDLERS)]
    await asyncio.gather(*tasks)
    return COUNT / (time.perf_counter() - start)


def main() -> None:
    with sync.connect("memory:") as client:
        threads, bare_threads = turns(lambda: worker_of_threads(client), threads_on_a_queue)
    with asyncio.Runner() as runner:
        client = runner.run(connected())
        tasks, bare_tasks = turns(
            lambda: runner.run(worker_of_tasks(client)), lambda: runner.run(tasks_on_a_queue())
        )
        runner.run(client.close())
    rounds = {
        "threads": threads,
        "bare_threads": bare_threads,
        "tasks": tasks,
        "bare_tasks": bare_tasks,
    }
    print(json.dumps(rounds))


async def connected() -> qr.Client:
    return await qr.connect("memory:")


main()
