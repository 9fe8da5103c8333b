"""The loops of the area `file` in Python, in turns: ours beside litequeue, one at a time, and beside a
queue by hand on sqlite3, in batches; flushed each time (`commit`) and not (`os`). Prints messages a
second, round by round, as JSON.

    python file.py FOLDER
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from litequeue import LiteQueue

from queue_runtime import Settlement, sync

FOLDER = Path(sys.argv[1])
BODY = b"\x5a" * 1024
TEXT = BODY.decode()
ROUNDS, BATCH = 5, 100
#: Messages of a round, one at a time and in batches.
COUNTS = {"commit": (300, 5_000), "os": (3_000, 20_000)}


@contextlib.contextmanager
def ours(durability: str) -> Iterator[sync.Queue]:
    with sync.connect(f"file://{FOLDER}/{durability}?durability={durability}") as client:
        yield client.queue("bench")


def our_one(queue: sync.Queue, count: int) -> None:
    for _ in range(count):
        queue.send(BODY)
        delivery = queue.receive_one(0)
        assert delivery is not None
        delivery.ack()


def our_batches(queue: sync.Queue, count: int) -> None:
    for _ in range(count // BATCH):
        queue.send_many([BODY] * BATCH).raise_for_errors()
        deliveries = queue.receive(BATCH, 0)
        assert len(deliveries) == BATCH
        settlements = [Settlement.ack(delivery) for delivery in deliveries]
        queue.settle(settlements).raise_for_errors()


def litequeue(durability: str) -> LiteQueue:
    queue = LiteQueue(f"{FOLDER}/litequeue-{durability}.db")
    queue.conn.execute(f"PRAGMA synchronous = {'FULL' if durability == 'commit' else 'OFF'}")
    return queue


def litequeue_one(queue: LiteQueue, count: int) -> None:
    for _ in range(count):
        queue.put(TEXT)
        message = queue.pop()
        queue.done(message.message_id)
    # What is done stays in its table.
    queue.prune()


def by_hand(durability: str) -> sqlite3.Connection:
    path = f"{FOLDER}/sqlite-{durability}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'commit' else 'OFF'}")
    connection.execute("CREATE TABLE q (id INTEGER PRIMARY KEY, body BLOB, locked INTEGER)")
    connection.execute("CREATE INDEX ready ON q (locked, id)")
    return connection


def by_hand_batches(connection: sqlite3.Connection, count: int) -> None:
    for _ in range(count // BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO q (body, locked) VALUES (?, 0)", [(BODY,)] * BATCH)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        found = "SELECT id, body FROM q WHERE locked = 0 ORDER BY id LIMIT ?"
        ids = [(row[0],) for row in connection.execute(found, (BATCH,)).fetchall()]
        until = int(time.time()) + 30
        connection.executemany(f"UPDATE q SET locked = {until} WHERE id = ?", ids)
        connection.execute("COMMIT")
        assert len(ids) == BATCH
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM q WHERE id = ?", ids)
        connection.execute("COMMIT")


def turns(count: int, *sides: Callable[[], None]) -> list[list[float]]:
    """Messages a second: each side once to warm up, then in rounds that begin with another side."""
    samples: list[list[float]] = [[] for _ in sides]
    for side in sides:
        side()
    for number in range(ROUNDS):
        for turn in range(len(sides)):
            which = (number + turn) % len(sides)
            start = time.perf_counter()
            sides[which]()
            samples[which].append(count / (time.perf_counter() - start))
    return samples


def measured(durability: str) -> dict[str, list[float]]:
    one, batches = COUNTS[durability]
    lite, connection = litequeue(durability), by_hand(durability)
    with ours(durability) as queue:
        singles = turns(one, lambda: our_one(queue, one), lambda: litequeue_one(lite, one))
        many = turns(
            batches,
            lambda: our_batches(queue, batches),
            lambda: by_hand_batches(connection, batches),
        )
    return dict(zip(("one", "litequeue", "batches", "sqlite"), singles + many, strict=True))


print(json.dumps({durability: measured(durability) for durability in COUNTS}))
