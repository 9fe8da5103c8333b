// Consumers whose concurrency moves with the load.

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidArgumentError } from "queue-runtime";

import { fresh, until } from "./engine.mjs";

/** Locks that outlast the time that tests let pass, and short cool-downs. */
const OPTIONS = { lock: 3_600_000, maxLockRenewal: 3_600_000, scaleCooldown: 10 };

test("a consumer grows while work waits, and shrinks when it is idle", async (t) => {
  const { client, engine, queue } = await fresh(t);
  await queue.sendMany(["0", "1", "2", "3"]);
  const consumer = queue.consume({ minConcurrency: 1, concurrency: 2, ...OPTIONS });
  const passes = async (limit) => {
    await engine.advance(10);
    return consumer.status.concurrency === limit;
  };
  assert.equal(consumer.status.concurrency, 1);
  const { value: first } = await consumer.next();
  const waiting = consumer.next();
  await until(() => passes(2));
  const { value: second } = await waiting;
  assert.match(client.metrics(), /queue_runtime_consumer_concurrency{/);
  await first.ack();
  await second.ack();
  for (let left = 2; left > 0; left--) await (await consumer.next()).value.ack();
  await until(() => passes(1));
  await consumer.return();
});

test("the lanes of a worker wait for a hand", async (t) => {
  const { engine, queue } = await fresh(t);
  await queue.sendMany(Array.from({ length: 20 }, (_, n) => `${n}`));
  let begun = 0;
  let goOn;
  const open = new Promise((resolve) => {
    goOn = resolve;
  });
  const worker = queue.process(
    async () => {
      begun++;
      await open;
    },
    { minConcurrency: 1, concurrency: 4, ...OPTIONS },
  );
  await until(() => begun === 1);
  for (const hands of [2, 4]) {
    await until(async () => {
      await engine.advance(10);
      return worker.status.concurrency === hands;
    });
    await until(() => begun === hands);
  }
  goOn();
  await until(() => begun === 20);
  assert.equal((await worker.drain()).abandoned, 0);
});

test("options are checked", async (t) => {
  const { queue } = await fresh(t);
  for (const [options, name] of [
    [{ minConcurrency: 5, concurrency: 4 }, /min_concurrency/],
    [{ scaleCooldown: 1 }, /scale_cooldown/],
    [{ minConcurrency: 1, scaleCooldown: 0 }, /scale_cooldown/],
  ]) {
    assert.throws(
      () => queue.consume(options),
      (error) => error instanceof InvalidArgumentError && name.test(error.message),
    );
  }
  assert.throws(() => queue.consume({ minConcurrency: 0 }), TypeError);
  const consumer = queue.consume({ concurrency: 3 });
  assert.equal(consumer.status.concurrency, 3);
  await consumer.return();
});
