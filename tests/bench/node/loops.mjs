// The loops of the Node area: ours and the yardstick's in turn, round by round. Prints the rounds as
// JSON, in messages a second, and the delay of the event loop in microseconds.
//
//     node loops.mjs YARDSTICK.so

import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread, Worker, workerData } from "node:worker_threads";

import { connect } from "../../../node/dist/index.mjs";

const BODY = Buffer.alloc(1024, 1);
const BATCH = 100;
const ROUNDS = 15;

/** Messages a second while consuming, and for how long. */
const PACE = 50_000;
const SECONDS = 3;
const DELAY_ROUNDS = 3;

function check(holds, what) {
  if (!holds) throw new Error(what);
}

async function oneAtATime(queue, count) {
  for (let number = 0; number < count; number++) {
    await queue.send(BODY);
    const [message] = await queue.receive();
    check(message.body.length === BODY.length, "a body came short");
    await message.ack();
  }
}

async function inBatches(queue, count) {
  const bodies = Array(BATCH).fill(BODY);
  for (let number = 0; number < count; number += BATCH) {
    await queue.sendMany(bodies);
    const messages = await queue.receive({ maxMessages: BATCH });
    check(messages.length === BATCH, "a batch came short");
    for (const message of messages) check(message.body.length === BODY.length, "a body came short");
    await queue.ackMany(messages);
  }
}

async function promises(pass, count) {
  for (let number = 0; number < count; number++) {
    const body = await pass(BODY);
    check(body.length === BODY.length, "a body came short");
  }
}

async function promisesTogether(pass, count) {
  for (let number = 0; number < count; number += BATCH) {
    const bodies = await Promise.all(Array.from({ length: BATCH }, () => pass(BODY)));
    check(bodies.length === BATCH, "a batch came short");
  }
}

/** Every side once to warm up, then in rounds; each round begins with another side. */
async function takeTurns(sides) {
  const rates = sides.map(() => []);
  for (let round = -1; round < ROUNDS; round++) {
    for (let turn = 0; turn < sides.length; turn++) {
      const which = (Math.max(round, 0) + turn) % sides.length;
      const [run, count] = sides[which];
      const start = process.hrtime.bigint();
      await run(count);
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      if (round >= 0) rates[which].push(count / seconds);
    }
  }
  return rates;
}

/** The delay of the event loop, 99 % of the time at most, while another thread sends at a pace. */
async function delay() {
  const client = await connect("memory:bench-delay");
  const queue = client.queue("paced");
  const consumer = queue.consume({ prefetch: 64 });
  const sender = new Worker(new URL(import.meta.url), { workerData: { pace: PACE } });
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  const end = new AbortController();
  let consumed = 0;
  let begun;
  for await (const message of consumer) {
    await message.ack();
    if (consumed === PACE / 2) {
      // Both threads are warm.
      begun = performance.now();
      histogram.enable();
      setTimeout(() => end.abort(), SECONDS * 1000);
    }
    consumed++;
    if (end.signal.aborted) break;
  }
  histogram.disable();
  const rate = (consumed - PACE / 2) / ((performance.now() - begun) / 1000);
  await sender.terminate();
  await client.close();
  check(rate > 0.9 * PACE, `only ${rate.toFixed(0)} messages a second were consumed`);
  return histogram.percentile(99) / 1000;
}

/** The other thread: so many messages a second, a few each millisecond. */
async function sendAtPace(pace) {
  const client = await connect("memory:bench-delay");
  const queue = client.queue("paced");
  const start = performance.now();
  let sent = 0;
  for (;;) {
    const due = Math.floor(((performance.now() - start) / 1000) * pace);
    if (due > sent) await queue.sendMany(Array(due - sent).fill(BODY));
    sent = due;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function main(path) {
  const yardstick = { exports: {} };
  process.dlopen(yardstick, path);
  const { pass } = yardstick.exports;
  const client = await connect("memory:");
  const queue = client.queue("bench");
  const [one, batches, naive, together] = await takeTurns([
    [(count) => oneAtATime(queue, count), 50_000],
    [(count) => inBatches(queue, count), 100_000],
    [(count) => promises(pass, count), 5_000],
    [(count) => promisesTogether(pass, count), 20_000],
  ]);
  await client.close();
  const delays = [];
  for (let round = 0; round < DELAY_ROUNDS; round++) delays.push(await delay());
  console.log(JSON.stringify({ one, batches, naive, together, delays }));
  process.exit(0);
}

if (isMainThread) await main(process.argv[2]);
else await sendAtPace(workerData.pace);
