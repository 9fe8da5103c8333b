// Write-behind: into the program, SQLite and PostgreSQL.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";

import {
  ClosedError,
  Entry,
  FullError,
  InvalidConfigError,
  InvalidMessageError,
  UnwrittenError,
  WriteBehind,
} from "queue-runtime";

import { fresh } from "./engine.mjs";
import { Server } from "./postgres.mjs";

const bad = new InvalidMessageError("no good");

/** A sink that keeps what it gets; `answer` says what it returns, or throws. */
function sinkOf(answer = () => undefined) {
  const batches = [];
  const sink = async (entries) => {
    const bodies = entries.map((entry) => entry.text());
    batches.push(bodies);
    return answer(bodies, batches.length);
  };
  return { sink, batches };
}

function addsUp(metrics) {
  const { totalEnqueued, totalPersisted, totalFailed, currentQueueDepth } = metrics;
  assert.equal(totalEnqueued, totalPersisted + totalFailed + currentQueueDepth);
}

async function open(t, sink, options) {
  const { engine, client, queue } = await fresh(t);
  const writeBehind = await WriteBehind.open(sink, { runtime: engine.runtime, ...options });
  return { engine, client, queue, writeBehind };
}

test("entries come in batches", async (t) => {
  const { sink, batches } = sinkOf();
  const options = { batchSize: 3, flushInterval: "5s", name: "prices" };
  const { engine, writeBehind } = await open(t, sink, options);
  for (const body of ["a", Buffer.from("b"), { c: 1 }, "d"]) await writeBehind.enqueue(body);
  await writeBehind.flush();
  assert.deepEqual(batches, [["a", "b", '{"c":1}'], ["d"]]);
  const metrics = writeBehind.metrics();
  addsUp(metrics);
  assert.equal(metrics.totalPersisted, 4);
  assert.equal(metrics.totalBatches, 2);
  assert.deepEqual(metrics.timestamp, engine.now);
  assert.equal(writeBehind.breakerState, "closed");
  assert.match(engine.runtime.metrics(), /write_behind_persisted_total\{name="prices"\} 4/);
  assert.deepEqual((await writeBehind.close()).unwritten, []);
  await assert.rejects(writeBehind.enqueue("late"), ClosedError);
});

test("the last of a key stands for all", async (t) => {
  const { sink, batches } = sinkOf();
  const { writeBehind } = await open(t, sink);
  await writeBehind.enqueue("old", { key: "k" });
  const accepted = await writeBehind.enqueueMany(["other", new Entry("new", Buffer.from("k"))]);
  assert.deepEqual(
    accepted.throwForErrors().map(({ error }) => error),
    [undefined, undefined],
  );
  await writeBehind.flush();
  // It stands where the first one did.
  assert.deepEqual(batches, [["new", "other"]]);
  assert.equal(writeBehind.metrics().totalPersisted, 3);
});

test("each entry has its result", async (t) => {
  let away = 2;
  const { sink, batches } = sinkOf((bodies) =>
    bodies.map((body) => {
      if (body === "bad") return bad;
      return body === "away" && away-- > 0 ? new Error("later") : null;
    }),
  );
  const { engine, writeBehind } = await open(t, sink, { retry: "none" });
  await writeBehind.enqueueMany(["a", "bad", "away"]);
  await writeBehind.flush();
  assert.deepEqual(batches, [["a", "bad", "away"], ["away"], ["away"]]);
  const [rejected] = writeBehind.takeRejected();
  assert.equal(rejected.entry.text(), "bad");
  assert.equal(rejected.entry.key, undefined);
  assert.equal(rejected.reason, "invalid_message");
  assert.equal(rejected.description, "no good");
  assert.equal(rejected.attempts, 1);
  assert.deepEqual(rejected.enqueuedAt, engine.now);
  assert.ok(!inspect(rejected).includes("bad"), "a log shows no body");
  assert.deepEqual(writeBehind.takeRejected(), []);
  addsUp(writeBehind.metrics());
});

test("a sink in trouble gets the same again, also when its answer makes no sense", async (t) => {
  const answers = [
    () => {
      throw new Error("away");
    },
    () => Promise.reject("away"),
    () => [null],
    () => "all well",
    () => [null, "well"],
  ];
  const { sink, batches } = sinkOf((_, round) => answers[round - 1]?.());
  const { writeBehind } = await open(t, sink, { retry: "none", breaker: "none" });
  await writeBehind.enqueueMany(["a", "b"]);
  await writeBehind.flush();
  assert.deepEqual(batches, Array(6).fill(["a", "b"]));
  assert.equal(writeBehind.metrics().totalRetries, 10);
});

test("a bad entry is found when the whole batch is blamed", async (t) => {
  const { sink } = sinkOf((bodies) => {
    if (bodies.includes('{"id":3}')) throw bad;
  });
  const { writeBehind } = await open(t, sink);
  await writeBehind.enqueueMany(Array.from({ length: 8 }, (_, id) => ({ id })));
  await writeBehind.flush();
  assert.deepEqual(
    writeBehind.takeRejected().map(({ entry }) => entry.json()),
    [{ id: 3 }],
  );
  assert.equal(writeBehind.metrics().totalPersisted, 7);
});

test("a full buffer makes enqueue wait", async (t) => {
  const gate = Promise.withResolvers?.() ?? {};
  gate.promise ??= new Promise((resolve) => (gate.resolve = resolve));
  const { writeBehind } = await open(t, () => gate.promise, { maxEntries: 2, batchSize: 1 });
  await writeBehind.enqueueMany(["a", "b"]);
  await assert.rejects(writeBehind.tryEnqueue("c"), FullError);
  const waiting = writeBehind.enqueue("c");
  const controller = new AbortController();
  const givenUp = writeBehind.enqueue("given up", { signal: controller.signal });
  controller.abort();
  await assert.rejects(givenUp, { name: "AbortError" });
  gate.resolve();
  await waiting;
  await writeBehind.flush();
  assert.equal(writeBehind.metrics().totalEnqueued, 3);
});

test("close gives back what is not written", async (t) => {
  const began = {};
  const begins = new Promise((resolve) => (began.resolve = resolve));
  const ended = {};
  const ends = new Promise((resolve) => (ended.resolve = resolve));
  const hang = (_, { signal }) => {
    began.resolve();
    signal.addEventListener("abort", ended.resolve);
    return new Promise(() => {});
  };
  const { writeBehind } = await open(t, hang, { batchSize: 2 });
  await writeBehind.enqueueMany(["a", new Entry("b", "k"), "c"]);
  await begins;
  const report = await writeBehind.close({ deadline: 0 });
  assert.deepEqual(
    report.unwritten.map((entry) => [entry.text(), entry.key?.toString()]),
    [
      ["a", undefined],
      ["b", "k"],
      ["c", undefined],
    ],
  );
  assert.equal(report.leftInJournal, 0);
  assert.deepEqual(report.rejected, []);
  await ends;
  assert.deepEqual((await writeBehind.close()).unwritten, []);
});

test("the end of a scope drops nothing silently", async (t) => {
  const { sink } = sinkOf(() => {
    throw bad;
  });
  const { writeBehind } = await open(t, sink);
  await writeBehind.enqueue("x");
  await assert.rejects(writeBehind[Symbol.asyncDispose](), (error) => {
    assert.ok(error instanceof UnwrittenError);
    assert.equal(error.code, "unwritten");
    assert.equal(error.report.rejected[0].entry.text(), "x");
    return true;
  });
});

test("a journal keeps what was not written", async (t) => {
  const options = { journal: "memory:journal", name: "prices" };
  const away = () => {
    throw new Error("away");
  };
  const { engine, writeBehind } = await open(t, away, options);
  await writeBehind.enqueueMany(["a", "b"]);
  assert.equal((await writeBehind.close({ deadline: 0 })).leftInJournal, 2);
  const { sink, batches } = sinkOf();
  const next = await WriteBehind.open(sink, { runtime: engine.runtime, ...options });
  await next.flush();
  assert.deepEqual(batches.flat(), ["a", "b"]);
  await next.close();
});

test("a queue feeds and is acked after the write", async (t) => {
  const seen = [];
  const sink = async (entries) => {
    seen.push((await queue.statistics()).depth);
    return entries.map((entry) => (entry.text() === "bad" ? bad : null));
  };
  const { queue, writeBehind } = await open(t, sink);
  await queue.sendMany(["a", "bad", "c"]);
  const feeding = writeBehind.feed(queue);
  while (writeBehind.metrics().totalEnqueued < 3) await new Promise(setImmediate);
  await writeBehind.flush();
  assert.deepEqual(seen, [3]);
  assert.equal((await queue.statistics()).depth, 0);
  const [letter] = await queue.deadLetters();
  assert.equal(letter.text(), "bad");
  const controller = new AbortController();
  const second = writeBehind.feed(queue, { signal: controller.signal });
  controller.abort();
  await assert.rejects(second, { name: "AbortError" });
  await writeBehind.close();
  await feeding;
});

test("what cannot be an entry, a sink or an option is refused", async (t) => {
  const { writeBehind } = await open(t, () => {});
  for (const entry of [5, null, undefined, ["a"], true]) {
    await assert.rejects(writeBehind.enqueue(entry), TypeError);
  }
  await assert.rejects(writeBehind.enqueue("x", { key: 5 }), TypeError);
  await assert.rejects(writeBehind.enqueue("x", { kee: "k" }), TypeError);
  await assert.rejects(writeBehind.enqueue({ deep: [1n] }), TypeError);
  await assert.rejects(writeBehind.feed("jobs"), TypeError);
  await assert.rejects(WriteBehind.open(5), TypeError);
  await assert.rejects(WriteBehind.open("sqlite:x", { tabel: "t" }), TypeError);
  for (const [sink, options, field] of [
    ["nowhere:", {}, "sink"],
    ["sqlite:/no/such/file.db", { key: "id" }, "table"],
    [() => {}, { table: "t" }, "table"],
    [() => {}, { batchSize: 0 }, "batch_size"],
  ]) {
    await assert.rejects(WriteBehind.open(sink, options), (error) => {
      assert.ok(error instanceof InvalidConfigError, String(error));
      assert.equal(error.field, field);
      return true;
    });
  }
});

test("one that is never closed lets the process end", () => {
  const program = `
    import { WriteBehind } from "queue-runtime";
    const rows = await WriteBehind.open(() => { throw new Error("away"); }, { batchSize: 1 });
    await rows.enqueue("x");
    console.log("end");`;
  const args = ["--input-type=module", "--eval", program];
  const cwd = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
  assert.equal(execFileSync(process.execPath, args, { cwd, encoding: "utf8" }), "end\n");
});

test("rows in SQLite", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "queue-runtime-sqlite-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "app.db");
  const sql = (text) => {
    // This Node may have no SQLite of its own.
    const program = `import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
print(*("|".join(map(str, row)) for row in c.execute(sys.argv[2])), sep=";")`;
    return execFileSync("python3", ["-c", program, path, text], { encoding: "utf8" }).trim();
  };
  sql("CREATE TABLE prices (item TEXT PRIMARY KEY, cents INT CHECK (cents > 0), logo BLOB)");
  const prices = await WriteBehind.open(`sqlite:${path}`, { table: "prices", key: "item" });
  await prices.enqueue({ item: "latte", cents: 410 });
  await prices.enqueue({ item: "latte", cents: 420n, logo: Buffer.from([0, 255]) });
  await prices.enqueue({ item: "tea", cents: -1 });
  await prices.flush();
  assert.deepEqual(
    prices.takeRejected().map(({ entry }) => entry.json().item),
    ["tea"],
  );
  assert.equal(sql("SELECT item, cents, hex(logo) FROM prices"), "latte|420|00FF");
  await prices.close();
});

/** @type {Server | undefined} */
let server;
before(async () => {
  server = await Server.start();
});
after(() => server?.close());

test("rows in PostgreSQL", async (t) => {
  if (server === undefined) return t.skip("PostgreSQL is missing: scripts/setup installs it");
  server.ask("CREATE TABLE prices (item text PRIMARY KEY, cents bigint CHECK (cents > 0))");
  const options = { table: "prices", key: ["item"], writers: 2 };
  const prices = await WriteBehind.open(server.url, options);
  const rows = Array.from({ length: 500 }, (_, n) => ({ item: `item ${n % 50}`, cents: n + 1 }));
  (await prices.enqueueMany(rows)).throwForErrors();
  await prices.enqueue({ item: "free", cents: 0 });
  await prices.enqueue({ item: "much", cents: 2n ** 60n });
  await prices.flush();
  const [rejected] = prices.takeRejected();
  assert.equal(rejected.reason, "23514");
  assert.equal(rejected.entry.json().item, "free");
  assert.equal(
    server.ask("SELECT count(*), min(cents), max(cents) FROM prices"),
    `51|451|${2n ** 60n}`,
  );
  await prices.close();
  await assert.rejects(WriteBehind.open(server.url, { table: "nowhere", key: "item" }), {
    name: "InvalidConfigError",
    field: "table",
  });
});

test("a server that is killed loses nothing", async (t) => {
  if (server === undefined) return t.skip("PostgreSQL is missing: scripts/setup installs it");
  server.ask("CREATE TABLE counts (id int PRIMARY KEY, n int)");
  const count = 2000;
  const counts = await WriteBehind.open(server.url, {
    table: "counts",
    key: "id",
    batchSize: 50,
    maxEntries: 200,
    flushInterval: 1,
    retry: "fixed:10ms",
    breaker: "none",
  });
  const enqueueing = (async () => {
    for (let n = 0; n < count; n++) await counts.enqueue({ id: n % 100, n });
  })();
  const turn = () => new Promise(setImmediate);
  while (counts.metrics().totalPersisted < count / 4) await turn();
  await server.kill();
  while (counts.metrics().totalRetries === 0) await turn();
  addsUp(counts.metrics());
  await server.restart();
  await enqueueing;
  await counts.flush();
  assert.deepEqual((await counts.close()).unwritten, []);
  assert.equal(server.ask(`SELECT count(*) FROM counts WHERE n = ${count} - 100 + id`), "100");
});
