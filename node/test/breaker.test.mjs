// Consumers that are held back: by their breaker, by hand, by the memory of the process.

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidArgumentError, InvalidConfigError } from "queue-runtime";
import { TestEngine } from "queue-runtime/testing";

import { fresh, until } from "./engine.mjs";

const PAUSE = 60_000;

test("a breaker opens, tries one, and is closed by hand", async (t) => {
  const { engine, queue } = await fresh(t, { retry: "none" });
  await queue.sendMany(["a", "b", "c"]);
  const consumer = queue.consume({ breaker: "1,60s,2" });
  const { value: first } = await consumer.next();
  const { value: second } = await consumer.next();
  await first.nack();
  assert.equal(consumer.status.breaker, "open");
  assert.equal(consumer.status.openUntil.getTime(), engine.now.getTime() + PAUSE);
  // In hand when it opened: it comes back unblamed.
  await second.nack("not now");
  await engine.advance(PAUSE);
  await until(() => consumer.status.breaker === "half_open");
  assert.equal(consumer.status.openUntil, undefined);
  const { value: probe } = await consumer.next();
  let came = false;
  const waiting = consumer.next().then(({ value }) => {
    came = true;
    return value;
  });
  await new Promise(setImmediate);
  assert.equal(came, false);
  await probe.ack();
  assert.equal(consumer.status.breaker, "half_open");
  consumer.resetBreaker();
  assert.equal(consumer.status.breaker, "closed");
  const seen = [probe, await waiting, (await consumer.next()).value];
  const attempts = seen.map((message) => message.text() + message.attempt).sort();
  assert.deepEqual(attempts, ["a2", "b1", "c1"]);
  await consumer.return();
});

test("a worker with a breaker uses no attempt while it is open", async (t) => {
  const { engine, queue } = await fresh(t, { retry: "none", budget: 2 });
  await queue.sendMany(["0", "1", "2", "3", "4"]);
  let down = true;
  let calls = 0;
  const done = [];
  const worker = queue.process(
    async (message) => {
      if (down) {
        calls++;
        throw new Error("the oven is cold");
      }
      done.push(message.text() + message.attempt);
    },
    { concurrency: 1, breaker: "1,60s,1" },
  );
  for (let minute = 1; minute <= 10; minute++) {
    await until(
      () => calls === minute && worker.status.breaker === "open" && worker.status.inHand === 0,
    );
    down = minute < 10;
    await engine.advance(PAUSE + (down ? 0 : 1000));
  }
  await until(() => done.length === 5);
  assert.deepEqual(done.sort(), ["02", "11", "21", "31", "41"]);
  assert.deepEqual(await queue.deadLetters(), []);
  worker.resetBreaker();
  await worker.drain();
});

test("a paused worker starts nothing", async (t) => {
  const { queue } = await fresh(t);
  const done = [];
  const worker = queue.process((message) => done.push(message.text()), { concurrency: 1 });
  worker.pause();
  worker.pause();
  assert.equal(worker.status.paused, true);
  await queue.sendMany(["a", "b"]);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  assert.deepEqual(done, []);
  worker.resume();
  await until(() => done.length === 2);
  await worker.drain();
});

test("a paused consumer gives back what it fetched", async (t) => {
  const { queue } = await fresh(t);
  await queue.sendMany(["a", "b"]);
  const consumer = queue.consume({ prefetch: 2 });
  consumer.pause();
  await until(async () => (await queue.statistics()).ready === 2);
  consumer.resume();
  const { value } = await consumer.next();
  assert.deepEqual([value.text(), value.attempt], ["a", 1]);
  await value.ack();
  await consumer.return();
});

test("options are checked", async (t) => {
  const { client, queue } = await fresh(t);
  assert.throws(() => queue.consume({ breaker: "sometimes" }), InvalidArgumentError);
  assert.throws(() => client.queue("jobs", { breaker: "5,30s,3" }), InvalidConfigError);
  assert.equal(queue.breakerState, "closed");
  queue.resetBreaker();
});

test("the whole client has one if asked", async (t) => {
  const engine = new TestEngine();
  t.after(() => engine.close());
  const client = await engine.connect("memory:", { clientBreaker: "5,30s,3" });
  await client.queue("jobs").send("a");
  assert.equal(client.breakerState, "closed");
  client.resetBreaker();
  const state = 'queue_runtime_breaker_state{provider="memory",operation="client"} 0';
  assert.ok(client.metrics().includes(state));
  const wrong = { name: "InvalidConfigError", field: "client_breaker", message: /5,30s,3/ };
  await assert.rejects(engine.connect("memory:", { clientBreaker: "sometimes" }), wrong);
});

test("consumers wait for memory", async (t) => {
  const engine = new TestEngine({ memoryLimit: 1 });
  t.after(() => engine.close());
  const queue = (await engine.connect()).queue("jobs");
  const consumer = queue.consume();
  await until(() => consumer.status.overMemory);
  await consumer.return();
});
