// The loops of the consumer area in Node: handlers on a worker, beside as many on fastq. Prints the
// rounds as JSON, in messages a second.

import fastq from "fastq";

import { connect } from "../../../node/dist/index.mjs";

const BODY = Buffer.alloc(1024, 1);
const ROUNDS = 15;
const COUNT = 20_000;
const HANDLERS = 16;

async function worker(client) {
  const queue = client.queue("jobs");
  for (let sent = 0; sent < COUNT; sent += 1000) {
    (await queue.sendMany(Array(1000).fill(BODY))).throwForErrors();
  }
  let handled = 0;
  const start = performance.now();
  const worker = queue.process(
    async () => {
      if (++handled === COUNT) worker.drain();
    },
    { concurrency: HANDLERS },
  );
  await worker.done;
  return COUNT / ((performance.now() - start) / 1000);
}

async function bare() {
  let handled = 0;
  const queue = fastq.promise(async () => {
    handled++;
  }, HANDLERS);
  queue.pause();
  for (let sent = 0; sent < COUNT; sent++) queue.push(BODY);
  const start = performance.now();
  queue.resume();
  await queue.drained();
  if (handled !== COUNT) throw new Error(`only ${handled} were handled`);
  return COUNT / ((performance.now() - start) / 1000);
}

/** Every side once to warm up, then in rounds; each round begins with another side. */
async function takeTurns(sides) {
  const rates = sides.map(() => []);
  for (let round = -1; round < ROUNDS; round++) {
    for (let turn = 0; turn < sides.length; turn++) {
      const which = (Math.max(round, 0) + turn) % sides.length;
      const rate = await sides[which]();
      if (round >= 0) rates[which].push(rate);
    }
  }
  return rates;
}

const client = await connect("memory:");
const [handlers, fast] = await takeTurns([() => worker(client), bare]);
await client.close();
console.log(JSON.stringify({ handlers, fast }));
