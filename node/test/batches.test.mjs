import assert from "node:assert/strict";
import { test } from "node:test";

import { ClosedError, Failure, FullError, InvalidArgumentError } from "queue-runtime";

import { fresh, texts, until, withResolvers } from "./engine.mjs";

test("failed messages leave their batch and come again", async (t) => {
  const { engine, queue: orders } = await fresh(t, { retry: "none" });
  await orders.sendMany(["a", "bad", "c", "broken"]);
  const seen = [];
  const { promise: ended, resolve: end } = withResolvers();
  const worker = orders.processBatches(
    (messages, { signal }) => {
      assert.equal(signal.aborted, false);
      seen.push(texts(messages));
      if (messages.length < 4) return end();
      return new Map([
        [0, undefined],
        [1, new Error("once")],
        [3, Failure.permanent("broken")],
      ]);
    },
    { batchSize: 4, batchLinger: 10 },
  );
  const ticks = setInterval(() => engine.advance(10), 1);
  await ended;
  clearInterval(ticks);
  await worker.drain();
  assert.deepEqual(seen, [["a", "bad", "c", "broken"], ["bad"]]);
  assert.deepEqual(texts(await orders.deadLetters()), ["broken"]);
  assert.equal((await orders.statistics()).depth, 0);
});

for (const [name, end] of [
  ["throws", () => Promise.reject(new Error("all of it"))],
  ["gives too few", () => [undefined]],
  ["names another", () => new Map([[7, new Error("of another batch")]])],
]) {
  test(`a batch handler that ${name} fails all`, async (t) => {
    const { queue: orders } = await fresh(t, { retry: "none", budget: 1 });
    await orders.sendMany(["a", "b"]);
    const errors = [];
    const { promise: failed, resolve: fail } = withResolvers();
    const worker = orders.processBatches(end, {
      batchSize: 2,
      onError: (error) => fail(errors.push(error)),
    });
    await failed;
    await worker.drain();
    assert.equal(errors.length, 1);
    assert.deepEqual(texts(await orders.deadLetters()), ["a", "b"]);
  });
}

test("results may be one for each, and batches wait by the runtime's clock", async (t) => {
  const { engine, queue: orders } = await fresh(t, { retry: "none", lock: 12 * 3_600_000 });
  await orders.sendMany(["a", "b"]);
  const seen = [];
  const worker = orders.processBatches(
    (messages) => {
      seen.push(texts(messages));
      return messages.map((message) => (message.attempt === 1 ? new Error("once") : undefined));
    },
    { batchSize: 3, batchLinger: 60_000 },
  );
  await until(() => worker.status.prefetched === 2);
  assert.deepEqual(seen, []);
  await until(async () => {
    engine.advance(10_000);
    return (await orders.statistics()).depth === 0;
  });
  await worker.drain();
  assert.deepEqual(seen[0], ["a", "b"]);
});

test("a batch that is drained too late is told and goes back", async (t) => {
  const { queue: orders } = await fresh(t);
  await orders.sendMany(["a", "b"]);
  const cancelled = [];
  const { promise: started, resolve: start } = withResolvers();
  const worker = orders.processBatches(
    async (_messages, { signal }) => {
      start();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    { batchSize: 2, onCancel: (message, cause) => cancelled.push([message.text(), cause]) },
  );
  await started;
  assert.deepEqual(await worker.drain(0), { finished: 0, released: 2, abandoned: 0 });
  assert.deepEqual(cancelled, [
    ["a", "drained"],
    ["b", "drained"],
  ]);
});

test("options of batches and producers are named", async (t) => {
  const { queue: orders } = await fresh(t);
  const process = (options) => () => orders.processBatches(() => {}, options);
  assert.throws(process({ batchSize: 0 }), /batchSize/);
  assert.throws(process({ batchConcurrency: 0 }), /batchConcurrency/);
  assert.throws(process({ batchLingers: 1 }), /batchLingers/);
  assert.throws(
    process({ batchSize: 2, minBatchSize: 3, targetBatchDuration: 1 }),
    InvalidArgumentError,
  );
  assert.throws(() => orders.producer({ maxPending: 0 }), InvalidArgumentError);
  assert.throws(() => orders.producer({ onFull: "perhaps" }), /onFull/);
});

test("a producer sends in batches", async (t) => {
  const { queue: orders } = await fresh(t);
  const producer = orders.producer({ batchSize: 10, linger: 60_000 });
  const numbers = Array.from({ length: 10 }, (_, number) => String(number));
  const sent = await Promise.all(numbers.map((number) => producer.send(number)));
  assert.equal(new Set(sent.map(({ id }) => id)).size, 10);
  const late = producer.trySend({ late: true }, { headers: { x: "y" } });
  await producer.flush();
  assert.equal((await late).isDuplicate, false);
  assert.deepEqual(await producer.close(), { sent: 11, failed: 0, unsent: [] });
  const received = await orders.receive({ maxMessages: 11 });
  assert.deepEqual(texts(received), [...numbers, '{"late":true}']);
});

test("what is not sent comes back", async (t) => {
  const { queue: orders } = await fresh(t, { maxMessages: 1 });
  const producer = orders.producer({ batchSize: 1, maxPending: 2, onFull: "error" });
  await producer.send("a");
  const lost = [producer.send("b"), producer.send("c", { session: "s", headers: { x: "y" } })];
  await assert.rejects(producer.send("d"), FullError);
  const results = Promise.allSettled(lost);
  const { sent, unsent } = await producer.close(0);
  assert.equal(sent, 1);
  assert.deepEqual(
    unsent.map(({ body, session }) => [body.toString(), session]),
    [
      ["b", undefined],
      ["c", "s"],
    ],
  );
  assert.deepEqual(unsent[1].headers, { x: "y" });
  for (const { reason } of await results) assert.ok(reason instanceof ClosedError);
  // They can be sent as they are.
  await (await orders.receive())[0].ack();
  (await orders.sendMany(unsent.slice(0, 1))).throwForErrors();
});
