// Prices that change often, written behind: 10,000 changes of 100 items in batches, into the table
// `prices` of the database that the URL names, and into a function of the program. One price that the
// table refuses is found and given back. At the end everything must add up, or the program fails.
//
//     node write-behind.mjs sqlite:prices.db

import assert from "node:assert/strict";

import { InvalidMessageError, WriteBehind } from "queue-runtime";

const CHANGES = 10_000;
const ITEMS = 100;

/** Changes of prices; the last one is free, which no price may be. */
function* changes() {
  for (let n = 0; n < CHANGES; n++) yield { item: `item ${n % ITEMS}`, cents: n + 1 };
  yield { item: "free", cents: 0 };
}

async function main(url) {
  if (url === undefined) {
    throw new Error("usage: write-behind.mjs sqlite:FILE or postgres://USER@HOST/DATABASE");
  }
  console.log("sink       accepted    written  batches  persisted  failed");
  const table = { table: "prices", key: "item" };
  await run(url.split(":")[0], await WriteBehind.open(url, table));

  // Into the program: entries come in batches, and each has its result.
  let total = 0;
  const sink = (entries) =>
    entries.map((entry) => {
      const { item, cents } = entry.json();
      total += cents;
      return cents > 0 ? null : new InvalidMessageError(`${item} has no price`);
    });
  await run("program", await WriteBehind.open(sink));
  assert.equal(total, (CHANGES * (CHANGES + 1)) / 2, "the prices do not add up");
}

async function run(sink, prices) {
  const start = performance.now();
  for (const change of changes()) await prices.enqueue(change);
  const accepted = performance.now() - start;
  await prices.flush();
  const written = performance.now() - start;
  const rejected = prices.takeRejected();
  const report = await prices.close({ deadline: 10_000 });
  const metrics = prices.metrics();
  console.log(
    [
      sink.padEnd(9),
      `${accepted.toFixed(1).padStart(6)} ms`,
      `${written.toFixed(1).padStart(7)} ms `,
      String(metrics.totalBatches).padStart(7),
      String(metrics.totalPersisted).padStart(10),
      String(metrics.totalFailed).padStart(7),
    ].join(" "),
  );
  assert.equal(metrics.totalPersisted, CHANGES, "not everything was written");
  assert.deepEqual(report.unwritten, []);
  assert.deepEqual(
    rejected.map(({ entry }) => entry.json().item),
    ["free"],
  );
}

await main(process.argv[2]);
