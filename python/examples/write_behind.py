"""Prices that change often, written behind: 10,000 changes of 100 items in batches, into the table
`prices` of the database that the URL names, and into a function of the program. One price that the
table refuses is found and given back. At the end everything must add up, or the program fails.

    python write_behind.py sqlite:prices.db
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from time import perf_counter

import queue_runtime as qr

CHANGES = 10_000
ITEMS = 100


def changes() -> Iterator[dict[str, str | int]]:
    """Changes of prices; the last one is free, which no price may be."""
    for number in range(CHANGES):
        yield {"item": f"item {number % ITEMS}", "cents": number + 1}
    yield {"item": "free", "cents": 0}


async def main(url: str) -> None:
    print("sink       accepted    written  batches  persisted  failed")
    async with qr.WriteBehind.open(url, table="prices", key="item") as prices:
        await run(url.partition(":")[0], prices)

    # Into the program: entries come in batches, and each has its result.
    total = 0

    async def add(entries: list[qr.Entry]) -> list[Exception | None]:
        nonlocal total
        cents = [entry.json()["cents"] for entry in entries]
        total += sum(cents)
        no_price = qr.errors.InvalidMessageError("has no price")
        return [None if price > 0 else no_price for price in cents]

    async with qr.WriteBehind.open(add) as prices:
        await run("program", prices)
    assert total == CHANGES * (CHANGES + 1) / 2, "the prices do not add up"


async def run(sink: str, prices: qr.WriteBehind) -> None:
    start = perf_counter()
    for change in changes():
        await prices.enqueue(change)
    accepted = perf_counter() - start
    await prices.flush()
    written = perf_counter() - start
    metrics = prices.metrics()
    print(
        f"{sink:9} {accepted * 1e3:6.1f} ms {written * 1e3:7.1f} ms  {metrics.total_batches:7}"
        f"  {metrics.total_persisted:9}  {metrics.total_failed:6}"
    )
    assert metrics.total_persisted == CHANGES, "not everything was written"
    given_up = [rejected.entry.json()["item"] for rejected in prices.take_rejected()]
    assert given_up == ["free"], given_up


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: write_behind.py sqlite:FILE or postgres://USER@HOST/DATABASE")
    asyncio.run(main(sys.argv[1]))
