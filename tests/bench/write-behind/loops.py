"""The Python rows of the area write-behind: rows of 1 KiB into PostgreSQL, by this package and by
hand. Prints a JSON object of rounds; all sides run in one process, in turns.

    loops.py postgres://USER@HOST/DATABASE
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import asyncpg
import psycopg

import queue_runtime as qr

ROUNDS = 7
BATCH, BATCHES, ONE_BY_ONE = 1000, 20, 1000
#: Rows of each table, all of which are there before.
HOT = 100_000

#: Random ids; within a batch each comes once, since the server refuses it twice.
IDS = [number * 2_654_435_761 % HOT for number in range(BATCH * BATCHES)]
ROWS = [(id, 7, f"{id:01000}") for id in IDS]
TABLES = ("py_ours", "py_asyncpg", "py_psycopg")


def upsert(table: str, values: str) -> str:
    return (
        f"INSERT INTO {table} (id, version, payload) VALUES ({values}) ON CONFLICT (id) DO UPDATE"
        " SET version = EXCLUDED.version, payload = EXCLUDED.payload"
    )


async def main(url: str) -> None:
    connection = await asyncpg.connect(url)
    one_by_one = psycopg.connect(url, autocommit=True)
    for table in TABLES:
        await connection.execute(
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, version int, payload text);"
            f"INSERT INTO {table} SELECT n, 0, repeat('x', 1000)"
            f" FROM generate_series(0, {HOT} - 1) n"
        )
    opening = qr.WriteBehind.open(url, table="py_ours", key="id", batch_size=BATCH)
    async with opening as write_behind:

        async def ours() -> int:
            for id, version, payload in ROWS:
                await write_behind.enqueue({"id": id, "version": version, "payload": payload})
            await write_behind.flush()
            assert write_behind.metrics().total_failed == 0
            return len(ROWS)

        async def by_asyncpg() -> int:
            statement = upsert("py_asyncpg", "$1, $2, $3")
            for start in range(0, len(ROWS), BATCH):
                await connection.executemany(statement, ROWS[start : start + BATCH])
            return len(ROWS)

        async def by_psycopg() -> int:
            statement = upsert("py_psycopg", "%s, %s, %s")
            for row in ROWS[:ONE_BY_ONE]:
                one_by_one.execute(statement, row)
            return ONE_BY_ONE

        rounds = await turns(connection, ours, by_asyncpg, by_psycopg)
    print(json.dumps(dict(zip(("ours", "asyncpg", "psycopg"), rounds, strict=True))))
    one_by_one.close()
    await connection.close()


async def turns(
    connection: asyncpg.Connection, *sides: Callable[[], Awaitable[int]]
) -> list[list[float]]:
    """Each side once to warm up, then in rounds that begin with another side."""
    samples: list[list[float]] = [[] for _ in sides]
    for number in range(ROUNDS + 1):
        for turn in range(len(sides)):
            which = (number + turn) % len(sides)
            # Each finds its table as the round before found it.
            await connection.execute(f"VACUUM {TABLES[which]}")
            await connection.execute("CHECKPOINT")
            start = time.perf_counter()
            count = await sides[which]()
            if number > 0:
                samples[which].append(count / (time.perf_counter() - start))
    return samples


asyncio.run(main(sys.argv[1]))
