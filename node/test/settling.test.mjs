// How deliveries end: each verb, many at once, twice, too late.

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidReceiptError, LockLostError } from "queue-runtime";

import { fresh, ready, texts } from "./engine.mjs";

test("nack counts, release does not, and the budget ends in a dead letter", async (t) => {
  const { engine, queue } = await fresh(t, { budget: 2, retry: "none" });
  await queue.send("x", { session: "s", headers: { a: "b" } });
  const [first] = await queue.receive();
  await first.release();
  const [again] = await queue.receive();
  assert.equal(again.attempt, 1);
  await again.nack("no luck", { delay: 1000 });
  assert.deepEqual(await ready(queue), []);
  await engine.advance(1000);
  const [last] = await queue.receive();
  assert.equal(last.attempt, 2);
  await last.nack("no luck either");

  const [letter] = await queue.deadLetters();
  assert.equal(letter.text(), "x");
  assert.equal(letter.reason, "max_attempts");
  assert.equal(letter.description, "no luck either");
  assert.equal(letter.attempts, 2);
  assert.equal(letter.source, "jobs");
  assert.equal(letter.session, "s");
  assert.deepEqual(letter.headers, { a: "b" });
  assert.ok(letter.deadLetteredAt >= letter.firstDeliveredAt);
});

test("a delivery is settled once", async (t) => {
  const { queue } = await fresh(t);
  await queue.send("x");
  const [delivery] = await queue.receive();
  const both = await Promise.allSettled([delivery.ack(), delivery.nack()]);
  assert.deepEqual(
    both.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
  for (const again of [
    delivery.ack(),
    delivery.release(),
    delivery.deadLetter("r"),
    delivery.extend(1),
  ]) {
    await assert.rejects(again, (error) => {
      assert.ok(error instanceof InvalidReceiptError);
      assert.deepEqual([error.code, error.queue], ["invalid_receipt", "jobs"]);
      return true;
    });
  }
});

test("what is settled too late is somebody else's", async (t) => {
  const { engine, queue } = await fresh(t, { lock: 1000 });
  await queue.send("x");
  const [late] = await queue.receive();
  await engine.advance(1000);
  await assert.rejects(late.ack(), LockLostError);
  assert.equal(late.settled, false);
  const [next] = await queue.receive();
  assert.equal(next.attempt, 2);
  await next.ack();
  await assert.rejects(late.ack(), { code: "lock_lost" });
});

test("extend moves the end of the lock", async (t) => {
  const { engine, queue } = await fresh(t, { lock: "1s" });
  await queue.send("x");
  const [delivery] = await queue.receive();
  await delivery.extend(5000);
  assert.equal(delivery.lockedUntil - engine.now, 5000);
  await engine.advance(4999);
  const [result] = await queue.extendMany([delivery], 10_000);
  assert.equal(result.error, undefined);
  await engine.advance(9999);
  await delivery.ack();
});

test("many are settled at once: result i belongs to entry i", async (t) => {
  const { queue } = await fresh(t, { retry: "none" });
  await queue.sendMany(["a", "b", "c", "d", "e"]);
  const [a, b, c, d, e] = await ready(queue);
  await e.ack();
  const results = await queue.settle([
    { ack: a },
    { nack: b, reason: "no", delay: 1000 },
    { ack: e },
    { release: c },
    { deadLetter: d, reason: "bad", description: "very" },
    { ack: a },
  ]);
  assert.deepEqual(
    results.map(({ error }) => error?.code),
    [undefined, undefined, "invalid_receipt", undefined, undefined, "invalid_receipt"],
  );
  assert.ok([a, b, c, d, e].every((delivery) => delivery.settled));
  assert.throws(() => results.throwForErrors(), InvalidReceiptError);
  const { ready: back, delayed, dead, inFlight } = await queue.statistics();
  assert.deepEqual([back, delayed, dead, inFlight], [1, 1, 1, 0]);

  const [again] = await ready(queue);
  assert.equal((await queue.ackMany([again, again, a])).filter(({ error }) => error).length, 2);
});

test("a delivery of another queue is refused and stays as it was", async (t) => {
  const { client, queue } = await fresh(t);
  await queue.send("x");
  const [delivery] = await queue.receive();
  const [result] = await client.queue("other").settle([{ ack: delivery }]);
  assert.equal(result.error.code, "invalid_receipt");
  assert.equal(delivery.settled, false);
  await delivery.ack();
});

test("at the end of its scope a delivery that was not settled has failed", async (t) => {
  const { queue } = await fresh(t, { retry: "none", budget: 1 });
  await queue.sendMany(["acked", "left"]);
  for (const delivery of await ready(queue)) {
    if (delivery.text() === "acked") await delivery.ack();
    await delivery[Symbol.asyncDispose]();
  }
  const [letter, ...others] = await queue.deadLetters();
  assert.equal(letter.text(), "left");
  assert.equal(others.length, 0);
});

test("dead letters are listed, chosen, sent back and purged", async (t) => {
  const { engine, queue } = await fresh(t);
  await queue.sendMany([
    { body: "a", headers: { kind: "x" } },
    { body: "b", session: "s" },
    { body: "c" },
  ]);
  const deliveries = await ready(queue);
  for (const delivery of deliveries) {
    await engine.advance(1000);
    await delivery.deadLetter(delivery.text() === "c" ? "bad" : "worse");
  }
  const all = await queue.deadLetters();
  assert.deepEqual(texts(all), ["a", "b", "c"]);
  const listed = async (options) => texts(await queue.deadLetters(options));
  assert.deepEqual(await listed({ max: 1 }), ["a"]);
  assert.deepEqual(await listed({ after: all[0].number }), ["b", "c"]);
  assert.deepEqual(await listed({ reason: "bad" }), ["c"]);
  assert.deepEqual(await listed({ session: "s" }), ["b"]);
  assert.deepEqual(await listed({ header: ["kind", "x"] }), ["a"]);
  assert.deepEqual(await listed({ ids: [all[2].id, all[0].id] }), ["a", "c"]);
  assert.deepEqual(await listed({ since: all[1].deadLetteredAt, until: all[2].deadLetteredAt }), [
    "b",
  ]);

  const dry = await queue.redrive({ reason: "worse", dryRun: true });
  assert.deepEqual([dry.matched, dry.redriven], [2, 0]);
  const report = await queue.redrive({ reason: "worse", max: 1 });
  assert.deepEqual(
    [report.matched, report.redriven, report.failed, report.last],
    [1, 1, [], all[0].number],
  );
  const [back] = await queue.receive();
  assert.deepEqual([back.text(), back.headers["qrt-redrive-count"]], ["a", "1"]);
  assert.equal(await queue.purgeDeadLetters({ reason: "bad" }), 1);
  assert.equal(await queue.purgeDeadLetters(), 1);
});

test("dead letters are counted by reason, source and age", async (t) => {
  const { engine, queue } = await fresh(t);
  await queue.sendMany(["a", "bb", "ccc"]);
  const [a, b, c] = await ready(queue);
  await a.deadLetter("bad");
  await engine.advance(5000);
  await b.deadLetter("worse");
  await c.deadLetter("worse");
  const [{ deadLetteredAt: oldest }, { deadLetteredAt: newest }] = await queue.deadLetters();
  await engine.advance(58_000);
  const ages = [60_000, 3_600_000, 86_400_000, 604_800_000, undefined];
  assert.deepEqual(await queue.deadLetterStatistics(), {
    count: 3,
    bytes: 6,
    oldest,
    newest,
    byReason: [
      { name: "worse", count: 2, oldest: newest, newest },
      { name: "bad", count: 1, oldest, newest: oldest },
    ],
    bySource: [{ name: queue.name, count: 3, oldest, newest }],
    byAge: ages.map((upTo, index) => ({ upTo, count: [2, 1, 0, 0, 0][index] })),
  });
  const bad = await queue.deadLetterStatistics({ reason: "bad", until: newest });
  assert.deepEqual([bad.count, bad.byReason.length, bad.newest], [1, 1, oldest]);
  const none = await queue.deadLetterStatistics({ session: "s" });
  assert.deepEqual(
    [none.count, none.bytes, none.oldest, none.newest, none.byReason, none.bySource],
    [0, 0, undefined, undefined, [], []],
  );
});

test("peek and statistics take nothing", async (t) => {
  const { engine, queue } = await fresh(t);
  await queue.send("a", { session: "s" });
  await queue.send("b", { delay: 5000 });
  await queue.receive();
  await engine.advance(100);
  const peeked = await queue.peek();
  assert.deepEqual(
    peeked.map((message) => [message.text(), message.state, message.attempts]),
    [
      ["a", "in_flight", 1],
      ["b", "delayed", 0],
    ],
  );
  assert.deepEqual(texts(await queue.peek({ after: peeked[0].sequence, max: 1 })), ["b"]);
  assert.deepEqual(await queue.statistics(), {
    ready: 0,
    inFlight: 1,
    delayed: 1,
    depth: 2,
    dead: 0,
    bytes: (await queue.statistics()).bytes,
    sessions: 1,
    oldestAge: 100,
  });
});
