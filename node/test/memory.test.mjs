// Memory stays flat over many messages and clients; what is lost is given back.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { fresh, SOAK, until } from "./engine.mjs";

const MIB = 1024 * 1024;
/** More than the noise of allocators, less than what any of these would lose. */
const NOISE = 20 * MIB;
const NOISE_OF_LARGE = 80 * MIB;

/** By how many bytes a program's memory grows in the second half of its work. */
async function growth(work, count) {
  const program = `
    import { connect } from "queue-runtime";
    const client = await connect("memory:");
    const queue = client.queue("jobs");
    const body = Buffer.alloc(1024);
    const work = ${work};
    let since = 0;
    const collectNowAndThen = async () => {
      if (++since % 100 === 0) { gc(); await new Promise(setImmediate); }
    };
    const settle = async () => { for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); } };
    const round = async (count) => { for (let i = 0; i < count; i++) await work(client, queue, body); };
    await round(${count});
    await settle();
    const before = process.memoryUsage.rss();
    await round(${count});
    await settle();
    console.log(process.memoryUsage.rss() - before);
    process.exit(0);`;
  const args = ["--expose-gc", "--input-type=module", "--eval", program];
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
  return Number(stdout);
}

const CASES = {
  "messages of 1 KiB, one at a time": [
    40_000,
    `async (_, queue, body) => {
      await queue.send(body);
      const [delivery] = await queue.receive();
      delivery.body.length;
      await delivery.ack();
    }`,
  ],
  "messages of 1 KiB, in batches": [
    400,
    `async (_, queue, body) => {
      await queue.sendMany(Array(100).fill(body));
      await queue.ackMany(await queue.receive({ maxMessages: 100 }));
    }`,
  ],
  "large messages": [
    50,
    `async (_, queue) => {
      await queue.send(Buffer.alloc(4 * 1024 * 1024));
      const [delivery] = await queue.receive();
      await delivery.ack();
    }`,
    NOISE_OF_LARGE,
  ],
  clients: [
    4000,
    `async () => {
      await collectNowAndThen();
      const client = await connect("memory:");
      await client.queue("jobs").send("x");
      await client.close();
    }`,
  ],
  "clients that are lost": [
    4000,
    `async () => {
      await collectNowAndThen();
      const client = await connect("memory:");
      await client.queue("jobs").send("x");
    }`,
  ],
  "deliveries that are lost": [
    20_000,
    `async (_, queue, body) => {
      const short = (globalThis.short ??= client.queue("short", { lock: 1, budget: 1, maxMessages: 100 }));
      await short.purgeDeadLetters();
      await short.send(body);
      await short.receive();
    }`,
  ],
  "waits that are given up": [
    20_000,
    `async (_, queue) => {
      const controller = new AbortController();
      const wait = queue.receive({ signal: controller.signal });
      controller.abort();
      await wait.catch(() => {});
    }`,
  ],
  "sessions that are lost": [
    20_000,
    `async (_, queue) => {
      globalThis.number = (globalThis.number ?? 0) + 1;
      await queue.acceptSession("s" + globalThis.number);
    }`,
  ],
  consumers: [
    10_000,
    `async (_, queue) => {
      globalThis.sent ??= await queue.send("x");
      const consumer = queue.consume({ idle: 0, prefetch: 2 });
      const { value } = await consumer.next();
      await value.release();
      await consumer.return();
    }`,
  ],
  "consumers that are lost": [
    5000,
    `async (_, queue) => {
      await collectNowAndThen();
      globalThis.sent ??= await queue.send("x");
      const { value } = await queue.consume({ concurrency: 1, prefetch: 0 }).next();
      await value.release();
    }`,
  ],
  "sessions and their consumers": [
    10_000,
    `async (_, queue) => {
      globalThis.sent ??= await queue.send("x", { session: "s" });
      const session = await queue.acceptSession("s");
      for await (const message of session.consume()) {
        await message.release();
        break;
      }
      await session.close();
    }`,
  ],
};

for (const [name, [count, work, noise = NOISE]] of Object.entries(CASES)) {
  test(`memory stays flat over ${name}`, async () => {
    const grown = await growth(work, count * SOAK);
    assert.ok(grown < noise, `it grew by ${(grown / MIB).toFixed(1)} MiB`);
  });
}

test("restarts of a worker handle everything once, and memory stays flat", async (t) => {
  // Delayed messages come due while one worker takes the place of the other, again and again.
  const [count, restarts, longest] = [10_000, 20, 100_000];
  const { engine, queue } = await fresh(t);
  const bodies = Array.from({ length: count }, (_, number) => ({
    body: String(number),
    delay: (number * 10) % longest,
  }));
  (await queue.sendMany(bodies)).throwForErrors();
  const seen = new Map();
  let handled = 0;
  let before;
  for (let restart = 1; restart <= restarts; restart++) {
    await engine.advance(longest / restarts);
    const worker = queue.process(
      async (message) => {
        const text = message.text();
        assert.equal(message.attempt, 1);
        seen.set(text, (seen.get(text) ?? 0) + 1);
        handled++;
      },
      { concurrency: 8 },
    );
    // Half of what is new is left for the next worker.
    const due = bodies.filter(({ delay }) => delay <= (restart * longest) / restarts).length;
    const enough = restart < restarts ? due - count / restarts / 2 : count;
    await until(() => handled >= enough);
    assert.equal((await worker.drain()).abandoned, 0);
    if (restart === restarts / 2) before = process.memoryUsage.rss();
  }
  const grown = process.memoryUsage.rss() - before;
  assert.ok(grown < NOISE, `it grew by ${(grown / MIB).toFixed(1)} MiB`);
  assert.equal(seen.size, count);
  assert.ok([...seen.values()].every((times) => times === 1));
  assert.equal((await queue.statistics()).depth, 0);
});
