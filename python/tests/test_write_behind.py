"""Write-behind: into the program, SQLite and PostgreSQL, from asyncio and from threads."""

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
import threading
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import postgres
import pytest
from conftest import PATIENCE

import queue_runtime as qr
from queue_runtime import errors, sync


class Sink:
    """A sink that keeps what it gets, and answers as it is told: with errors for bodies, or by
    raising so many times."""

    def __init__(self, *raises: Exception, **blames: Exception) -> None:
        self.raises = list(raises)
        self.blames = blames
        self.batches: list[list[str]] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, entries: list[qr.Entry]) -> list[Exception | None]:
        self.threads.add(threading.current_thread())
        self.batches.append([entry.text() for entry in entries])
        if self.raises:
            raise self.raises.pop(0)
        return [self.blames.pop(entry.text(), None) for entry in entries]

    @property
    def bodies(self) -> list[str]:
        return [body for batch in self.batches for body in batch]

    async def awaited(self, entries: list[qr.Entry]) -> list[Exception | None]:
        await asyncio.sleep(0)
        return self(entries)


async def turn() -> None:
    """Lets the event loop do what it has to do."""
    await asyncio.sleep(0)


def adds_up(metrics: qr.WriteBehindMetrics) -> bool:
    done = metrics.total_persisted + metrics.total_failed
    return metrics.total_enqueued == done + metrics.current_queue_depth


@pytest.mark.parametrize("kind", ["async", "plain", "object"])
async def test_entries_come_in_batches(qrt_clock, kind):
    sink = Sink()
    function = {"async": sink.awaited, "plain": functools.partial(sink), "object": sink}[kind]
    async with qr.WriteBehind.open(
        function, runtime=qrt_clock, batch_size=3, flush_interval=timedelta(seconds=5)
    ) as prices:
        for body in ("a", b"b", bytearray(b"c"), "d"):
            await prices.enqueue(body)
        await prices.flush()
        assert sink.batches == [["a", "b", "c"], ["d"]]
        metrics = prices.metrics()
        assert adds_up(metrics)
        assert (metrics.total_persisted, metrics.total_batches, metrics.total_retries) == (4, 2, 0)
        assert metrics.timestamp == qrt_clock.now()
        assert prices.breaker_state == "closed"
        assert "queue_runtime_write_behind_persisted_total" in qrt_clock.metrics()
    # A plain function never runs on the event loop's thread, an async one always does.
    assert (threading.main_thread() in sink.threads) == (kind == "async")
    with pytest.raises(errors.ClosedError):
        await prices.enqueue("late")


async def test_the_last_of_a_key_stands_for_all(qrt_clock):
    sink = Sink()
    async with qr.WriteBehind.open(sink.awaited, runtime=qrt_clock) as prices:
        await prices.enqueue("old", key="k")
        accepted = await prices.enqueue_many(["other", qr.Entry(b"new", b"k"), {"id": 1}])
        assert [result.error for result in accepted] == [None] * 3
        await prices.flush()
        # It stands where the first one did.
        assert sink.batches == [["new", "other", '{"id":1}']]
        assert prices.metrics().total_persisted == 4


async def test_each_entry_has_its_result(qrt_clock):
    bad = errors.InvalidMessageError("no good")
    away = RuntimeError("later")
    sink = Sink(bad=bad, away=away)
    async with qr.WriteBehind.open(sink.awaited, runtime=qrt_clock, retry="none") as prices:
        await prices.enqueue_many(["a", "bad", "away"])
        await prices.flush()
        # What is in trouble comes again, what is bad is given up.
        assert sink.batches == [["a", "bad", "away"], ["away"]]
        [rejected] = prices.take_rejected()
        assert rejected.entry == qr.Entry(b"bad")
        assert (rejected.reason, rejected.description) == ("invalid_message", "no good")
        assert (rejected.attempts, rejected.enqueued_at) == (1, qrt_clock.now())
        assert "bad" not in repr(rejected.entry)
        assert prices.take_rejected() == []
        assert adds_up(prices.metrics())
        assert (prices.metrics().total_failed, prices.metrics().total_retries) == (1, 1)


async def test_a_sink_in_trouble_gets_the_same_again(qrt_clock):
    sink = Sink(OSError("away"), errors.UnavailableError("away"), asyncio.CancelledError())
    async with qr.WriteBehind.open(sink.awaited, runtime=qrt_clock, retry="none") as prices:
        await prices.enqueue_many(["a", "b"])
        await prices.flush()
    assert sink.batches == [["a", "b"]] * 4


async def test_a_sink_that_answers_nonsense_is_in_trouble(qrt_clock):
    answers = ["all well", [None], [None, "well"], 5]

    async def sink(entries: list[qr.Entry]) -> object:
        return answers.pop(0) if answers else None

    async with qr.WriteBehind.open(sink, runtime=qrt_clock, retry="none") as prices:
        await prices.enqueue_many(["a", "b"])
        await prices.flush()
        assert prices.metrics().total_retries == 8


async def test_a_bad_entry_is_found_when_the_whole_batch_is_blamed(qrt_clock):
    async def sink(entries: list[qr.Entry]) -> None:
        if any(entry.json()["id"] == 3 for entry in entries):
            raise errors.InvalidMessageError("3 is bad")

    async with qr.WriteBehind.open(sink, runtime=qrt_clock) as prices:
        await prices.enqueue_many([{"id": number} for number in range(8)])
        await prices.flush()
        assert [r.entry.json() for r in prices.take_rejected()] == [{"id": 3}]
        assert prices.metrics().total_persisted == 7


async def test_a_full_buffer_makes_enqueue_wait(qrt_clock):
    gate = asyncio.Event()

    async def sink(entries: list[qr.Entry]) -> None:
        await gate.wait()

    async with qr.WriteBehind.open(sink, runtime=qrt_clock, max_entries=2, batch_size=1) as prices:
        await prices.enqueue_many(["a", "b"])
        with pytest.raises(errors.FullError):
            await prices.try_enqueue("c")
        waiting = asyncio.create_task(prices.enqueue("c"))
        given_up = asyncio.create_task(prices.enqueue("given up"))
        await asyncio.sleep(0)
        assert not waiting.done()
        given_up.cancel()
        gate.set()
        await waiting
        await prices.flush()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert prices.metrics().total_enqueued == 3


async def test_close_gives_back_what_is_not_written(qrt_clock):
    began = asyncio.Event()
    cancelled = []

    async def sink(entries: list[qr.Entry]) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(len(entries))
            raise

    prices = await qr.WriteBehind.open(sink, runtime=qrt_clock, batch_size=2)
    await prices.enqueue_many(["a", qr.Entry(b"b", b"k"), "c"])
    await began.wait()
    report = await prices.close(0)
    assert report.unwritten == [qr.Entry(b"a"), qr.Entry(b"b", b"k"), qr.Entry(b"c")]
    assert (report.left_in_journal, report.rejected) == (0, [])
    assert (await prices.close()).unwritten == []
    await asyncio.sleep(0)
    assert cancelled == [2]


async def test_the_end_of_a_block_drops_nothing_silently(qrt_clock):
    sink = Sink(bad=errors.InvalidMessageError("no good"))
    with pytest.raises(errors.UnwrittenError, match="1 were given up") as raised:
        async with qr.WriteBehind.open(sink.awaited, runtime=qrt_clock) as prices:
            await prices.enqueue("bad")
    assert [r.entry.text() for r in raised.value.report.rejected] == ["bad"]


async def test_a_journal_keeps_what_was_not_written(qrt_clock):
    options = {"runtime": qrt_clock, "journal": "memory:journal", "name": "prices"}
    sink = Sink(*[OSError("away")] * 3)
    prices = await qr.WriteBehind.open(sink.awaited, **options)
    await prices.enqueue_many(["a", "b"])
    assert (await prices.close(0)).left_in_journal == 2
    async with qr.WriteBehind.open((after := Sink()).awaited, **options) as prices:
        await prices.flush()
    assert after.bodies == ["a", "b"]


async def test_a_queue_feeds_and_is_acked_after_the_write(qrt, qrt_clock):
    orders = qrt.queue("orders")
    await orders.send_many(["a", "bad", "c"])
    depths = []
    sink = Sink(bad=errors.InvalidMessageError("no good"))

    async def look_and_write(entries: list[qr.Entry]) -> list[Exception | None]:
        depths.append((await orders.statistics()).depth)
        return await sink.awaited(entries)

    async with qr.WriteBehind.open(look_and_write, runtime=qrt_clock) as rows:
        feeding = asyncio.create_task(rows.feed(orders))
        while rows.metrics().total_enqueued < 3:
            await turn()
        await rows.flush()
    await feeding
    assert sink.batches == [["a", "bad", "c"]]
    assert depths == [3]
    assert (await orders.statistics()).depth == 0
    assert [letter.text() for letter in await orders.dead_letters()] == ["bad"]


async def test_what_can_not_be_an_entry_is_refused(qrt_clock):
    async with qr.WriteBehind.open(Sink(), runtime=qrt_clock) as prices:
        for entry in (5, None, ["a"], object()):
            with pytest.raises(TypeError, match="an entry must be a mapping, bytes or str"):
                prices.enqueue(entry)
        with pytest.raises(TypeError, match="a set has no JSON"):
            prices.enqueue({"id": {1}})
        with pytest.raises(ValueError, match="JSON"):
            prices.enqueue({"id": float("nan")})
    for sink in (5, None):
        with pytest.raises(TypeError, match="sink must be a URL or a function"):
            qr.WriteBehind.open(sink)
        with pytest.raises(TypeError, match="sink must be a URL or a function"):
            sync.WriteBehind.open(sink)
    with pytest.raises(TypeError, match="async sink"):
        sync.WriteBehind.open(Sink().awaited)


@pytest.mark.parametrize(
    ("sink", "options", "field"),
    [
        ("nowhere:", {}, "sink"),
        ("sqlite:/no/such/file.db", {"key": "id"}, "table"),
        (print, {"table": "t"}, "table"),
        (print, {"batch_size": 0}, "batch_size"),
        (print, {"flush_interval": "soon"}, "flush_interval"),
        (print, {"flsuh_interval": 1}, "flsuh_interval"),
    ],
)
async def test_options_that_make_no_sense_are_named(sink, options, field):
    with pytest.raises(errors.InvalidConfigError) as raised:
        await qr.WriteBehind.open(sink, **options)
    assert raised.value.field == field
    with pytest.raises(errors.InvalidConfigError) as raised:
        sync.WriteBehind.open(sink, **options)
    assert raised.value.field == field


def test_threads_write_what_threads_enqueue(qrt_clock):
    sink = Sink(RuntimeError("once"), bad=errors.InvalidMessageError("no good"))
    count, threads = 200, 4
    with sync.WriteBehind.open(
        sink, runtime=qrt_clock, writers=2, max_entries=50, batch_size=10, retry="none"
    ) as prices:

        def enqueue(number: int) -> None:
            for index in range(count):
                prices.enqueue(f"{number}-{index}", key=str(number))

        senders = [threading.Thread(target=enqueue, args=(n,)) for n in range(threads)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(PATIENCE)
        prices.enqueue("bad")
        prices.flush()
        assert [r.entry.text() for r in prices.take_rejected()] == ["bad"]
        assert adds_up(prices.metrics())
        assert prices.metrics().total_persisted == count * threads
    assert threading.main_thread() not in sink.threads
    # The order of each key was kept, and its last entry was written last.
    for number in range(threads):
        seen = [body for body in sink.bodies if body.startswith(f"{number}-")]
        assert seen[-1] == f"{number}-{count - 1}"


def test_threads_find_the_buffer_full(qrt_clock):
    gate = threading.Event()
    prices = sync.WriteBehind.open(
        lambda entries: gate.wait(PATIENCE) and None, runtime=qrt_clock, max_entries=1
    )
    prices.enqueue("a")
    with pytest.raises(errors.FullError):
        prices.try_enqueue("b")
    thread = threading.Thread(target=prices.enqueue, args=("b",))
    thread.start()
    gate.set()
    prices.flush()
    thread.join(PATIENCE)
    assert prices.close().unwritten == []
    assert prices.metrics().total_persisted == 2


def test_threads_feed_from_a_queue(qrt_sync, qrt_clock):
    orders = qrt_sync.queue("orders")
    orders.send_many(["a", "b"])
    rows = sync.WriteBehind.open(sink := Sink(), runtime=qrt_clock)
    feeding = threading.Thread(target=rows.feed, args=(orders,))
    feeding.start()
    while rows.metrics().total_enqueued < 2:
        pass
    rows.close()
    feeding.join(PATIENCE)
    assert sink.bodies == ["a", "b"]
    assert orders.statistics().depth == 0


@pytest.mark.parametrize("face", ["qr", "sync"])
def test_a_program_that_never_closes_it_ends(program, face):
    open_it = "sync.WriteBehind.open(sink, batch_size=2, retry='fixed:10ms')"
    source = f"""
        import asyncio
        import queue_runtime as qr
        from queue_runtime import sync

        def sink(entries):
            raise OSError("away")

        def threads():
            prices = {open_it}
            prices.enqueue("a")

        async def loop():
            prices = await {open_it.replace("sync", "qr")}
            await prices.enqueue("a")

        import logging
        logging.disable()
        {"asyncio.run(loop())" if face == "qr" else "threads()"}
        """
    assert program.run(source) == ""


@pytest.fixture
def database(tmp_path):
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
        yield connection


def url_of(connection: sqlite3.Connection) -> str:
    [(_, _, path)] = connection.execute("PRAGMA database_list")
    return f"sqlite:{path}"


async def test_rows_in_sqlite(database):
    database.execute("CREATE TABLE prices (item TEXT PRIMARY KEY, cents INT CHECK (cents > 0))")
    opening = qr.WriteBehind.open(url_of(database), table="prices", key="item")
    async with opening as prices:
        await prices.enqueue({"item": "latte", "cents": 410})
        await prices.enqueue({"item": "latte", "cents": 420})
        await prices.enqueue({"item": "tea", "cents": -1})
        await prices.flush()
        assert [r.entry.json()["item"] for r in prices.take_rejected()] == ["tea"]
    assert database.execute("SELECT * FROM prices").fetchall() == [("latte", 420)]
    with sync.WriteBehind.open(url_of(database), table="prices", key="item") as prices:
        prices.enqueue({"item": "tea", "cents": 300})
        prices.flush()
        assert database.execute("SELECT count(*) FROM prices").fetchall() == [(2,)]


async def test_values_become_what_columns_take(database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c, d, e BLOB, f)")
    async with qr.WriteBehind.open(url_of(database), table="t", key=["id"]) as rows:
        await rows.enqueue(
            {
                "id": 1,
                "a": Decimal("1.50"),
                "b": datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc),
                "c": date(2026, 1, 2),
                "d": UUID(int=1),
                "e": b"\x00\xff",
                "f": {"grüße": [None, True]},
            }
        )
    [row] = database.execute("SELECT a, b, c, d, e, f FROM t").fetchall()
    assert row[:3] == ("1.50", "2026-01-02T03:04:00+00:00", "2026-01-02")
    assert row[3:5] == (str(UUID(int=1)), b"\x00\xff")
    assert json.loads(row[5]) == {"grüße": [None, True]}


@pytest.fixture(scope="module")
def server():
    with postgres.server() as server:
        yield server


async def test_rows_in_postgresql(server):
    server.ask("CREATE TABLE prices (item text PRIMARY KEY, cents numeric CHECK (cents > 0))")
    opening = qr.WriteBehind.open(server.url, table="prices", key="item", writers=2)
    async with opening as prices:
        results = await prices.enqueue_many(
            {"item": f"item {number % 50}", "cents": Decimal(number + 1)} for number in range(500)
        )
        results.raise_for_errors()
        await prices.enqueue({"item": "free", "cents": 0})
        await prices.flush()
        [rejected] = prices.take_rejected()
        assert (rejected.reason, rejected.entry.json()["item"]) == ("23514", "free")
    assert server.ask("SELECT count(*), min(cents), max(cents) FROM prices") == "50|451|500"
    with sync.WriteBehind.open(server.url, table="prices", key="item") as prices:
        prices.enqueue({"item": "tea", "cents": 300})
    assert server.ask("SELECT cents FROM prices WHERE item = 'tea'") == "300"
    with pytest.raises(errors.InvalidConfigError, match="no table") as raised:
        await qr.WriteBehind.open(server.url, table="nowhere", key="item")
    assert raised.value.field == "table"


async def test_a_server_that_is_killed_loses_nothing(server):
    server.ask("CREATE TABLE counts (id int PRIMARY KEY, n int)")
    count = 2000
    async with qr.WriteBehind.open(
        server.url,
        table="counts",
        key="id",
        batch_size=50,
        max_entries=200,
        flush_interval=0.001,
        retry="fixed:10ms",
        breaker="none",
    ) as counts:

        async def enqueue() -> None:
            for number in range(count):
                await counts.enqueue({"id": number % 100, "n": number})

        enqueueing = asyncio.create_task(enqueue())
        while counts.metrics().total_persisted < count // 4:
            await turn()
        server.kill()
        while counts.metrics().total_retries == 0:
            await turn()
        assert adds_up(counts.metrics())
        server.restart()
        await enqueueing
        await asyncio.wait_for(counts.flush(), PATIENCE)
    assert server.ask(f"SELECT count(*) FROM counts WHERE n = {count} - 100 + id") == "100"
