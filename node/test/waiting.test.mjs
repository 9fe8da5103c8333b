// Calls that wait: woken, given up, closed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ClosedError, connect, QueueError, Runtime } from "queue-runtime";

import { fresh, ready, SOAK, texts } from "./engine.mjs";

test("a receive waits until a message comes", async (t) => {
  const { engine, queue } = await fresh(t);
  const waiting = queue.receive();
  const empty = queue.receive({ wait: 5000 });
  await queue.send("x");
  assert.deepEqual(texts(await waiting), ["x"]);
  await engine.advance(5000);
  assert.deepEqual(await empty, []);
});

test("a wait that is given up rejects with the signal's reason and takes nothing", async (t) => {
  const { queue } = await fresh(t, { maxMessages: 1 });
  const reason = new Error("enough");
  for (const wait of [
    (signal) => queue.receive({ signal }),
    (signal) => queue.acceptNextSession({ signal }),
  ]) {
    const controller = new AbortController();
    const waiting = wait(controller.signal);
    controller.abort(reason);
    await assert.rejects(waiting, reason);
    await assert.rejects(wait(controller.signal), reason, "aborted before");
    await assert.rejects(wait(AbortSignal.timeout(1)), { name: "TimeoutError" });
    await assert.rejects(wait(AbortSignal.abort()), { name: "AbortError" });
  }
  await queue.send("full");
  const controller = new AbortController();
  const send = queue.send("given up", { signal: controller.signal });
  controller.abort();
  await assert.rejects(send, { name: "AbortError" });
  assert.deepEqual(texts(await ready(queue)), ["full"]);
});

test("an abort after the end changes nothing", async (t) => {
  const { queue } = await fresh(t);
  const controller = new AbortController();
  const waiting = queue.receive({ signal: controller.signal });
  await queue.send("x");
  const [delivery] = await waiting;
  controller.abort();
  await delivery.ack();
});

test("many waits may share one signal", async (t) => {
  const { queue } = await fresh(t);
  const warnings = [];
  const warn = (warning) => warnings.push(warning);
  process.on("warning", warn);
  const controller = new AbortController();
  const waits = Array.from({ length: 50 }, () => queue.receive({ signal: controller.signal }));
  controller.abort();
  const ends = await Promise.allSettled(waits);
  assert.ok(ends.every(({ reason }) => reason === controller.signal.reason));
  await new Promise(setImmediate);
  process.off("warning", warn);
  assert.deepEqual(warnings, []);
});

test("closing a client ends its waits, and everything after fails", async (t) => {
  const { client, queue } = await fresh(t);
  const waiting = queue.receive();
  await client.close();
  await assert.rejects(waiting, ClosedError);
  await assert.rejects(queue.send("x"), { code: "closed", name: "ClosedError" });
  await client.close();
});

test("random aborts lose nothing", { timeout: 120_000 * SOAK }, async () => {
  // On the system's clock, where messages and aborts truly race.
  const client = await connect("memory:");
  const queue = client.queue("jobs", { lock: "1h" });
  const count = 2000 * SOAK;
  const seen = new Set();
  let sending = true;
  const receive = async () => {
    while (sending || seen.size < count) {
      const controller = new AbortController();
      const { signal } = controller;
      const maxMessages = 1 + Math.floor(Math.random() * 4);
      const waiting = queue.receive({ maxMessages, signal });
      const turns = Math.floor(Math.random() * 4);
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      controller.abort();
      try {
        for (const delivery of await waiting) {
          assert.equal(delivery.attempt, 1, "nobody is blamed for a wait that was given up");
          assert.ok(!seen.has(delivery.text()), "no message comes twice");
          seen.add(delivery.text());
          await delivery.ack();
        }
      } catch (error) {
        if (error !== signal.reason) throw error;
      }
    }
  };
  const send = async () => {
    for (let number = 0; number < count; number++) {
      await queue.send(`${number}`);
      if (number % 3 === 0) await new Promise(setImmediate);
    }
    sending = false;
  };
  await Promise.all([send(), ...Array.from({ length: 8 }, receive)]);
  assert.equal(seen.size, count);
  const { depth, dead } = await queue.statistics();
  assert.deepEqual([depth, dead], [0, 0]);
  await client.close();
});

test("calls that end at once leave the event loop its turns", async (t) => {
  const { queue } = await fresh(t);
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  for (let number = 0; number < 2000; number++) await queue.send("x");
  running = false;
  assert.ok(turns >= 10, `${turns} turns`);
});

test("a runtime of its own keeps its clients apart", async () => {
  const own = new Runtime({ workerThreads: 1, threadName: "mine" });
  const [here, too, elsewhere] = await Promise.all([
    connect("memory:x", { runtime: own }),
    connect("memory:x", { runtime: own }),
    connect("memory:x"),
  ]);
  await here.queue("q").send("m");
  assert.equal((await too.queue("q").statistics()).ready, 1);
  assert.equal((await elsewhere.queue("q").statistics()).ready, 0);
  assert.match(own.metrics(), /queue_runtime_messages_sent_total/);
  assert.match(here.metrics(), /queue_runtime/);
  assert.throws(() => new Runtime({ workerThreads: 0 }), { code: "invalid_config" });
  assert.throws(() => new Runtime({ threads: 1 }), { name: "TypeError", message: /"threads"/ });
  await Promise.all([here, too, elsewhere].map((client) => client.close()));
});

test("a client that cannot open says why", async () => {
  await assert.rejects(connect("nowhere:"), (error) => {
    assert.ok(error instanceof QueueError);
    assert.deepEqual([error.code, error.field], ["invalid_config", "url"]);
    return true;
  });
  await assert.rejects(connect("memory:", { require: ["defer"] }), {
    code: "unsupported",
    capability: "defer",
  });
  await assert.rejects(connect("memory:", { budget: 0 }), {
    code: "invalid_config",
    field: "budget",
  });
  await assert.rejects(connect(7), { name: "TypeError", message: /"url"/ });
  await assert.rejects(connect("memory:", { runtime: {} }), {
    name: "TypeError",
    message: /"runtime"/,
  });
  await assert.rejects(connect("memory:", { signal: AbortSignal.abort() }), { name: "AbortError" });
  const client = await connect("memory:?budget=3", { lock: "5s" });
  const { provider, support, limits } = client.capabilities;
  assert.deepEqual(
    [provider, support.sessions, support.defer],
    ["memory", "native", "unsupported"],
  );
  assert.equal(typeof limits, "object");
  await client.close();
});
